"""Which architectures this machine runs, and what is said where it does not."""

from __future__ import annotations

import io
import os

import pytest
from elftools.elf.elffile import ELFFile

from minify import foreign
from minify.errors import MinifyError, Unsupported
from minify.foreign import ELF, check_runs, executes, header
from minify.images.platforms import host_platform
from minify.model import Platform

NAMES = {"amd64": "EM_X86_64", "386": "EM_386", "arm64": "EM_AARCH64", "arm": "EM_ARM",
         "riscv64": "EM_RISCV", "loong64": "EM_LOONGARCH", "ppc64le": "EM_PPC64",
         "ppc64": "EM_PPC64", "s390x": "EM_S390", "mips64le": "EM_MIPS", "mips64": "EM_MIPS",
         "mipsle": "EM_MIPS", "mips": "EM_MIPS"}  # fmt: skip


@pytest.mark.parametrize("architecture", ELF)
def test_the_header_is_that_of_the_architecture(architecture: str) -> None:
    made = ELFFile(io.BytesIO(header(*ELF[architecture])))
    assert made["e_type"] == "ET_EXEC" and made["e_machine"] == NAMES[architecture]
    assert made.elfclass == ELF[architecture][1]
    assert made.little_endian == (ELF[architecture][2] == "<")
    assert made["e_ehsize"] == len(header(*ELF[architecture]))


def refuse(*_: object, **__: object) -> None:
    raise MinifyError("cannot start /x: Exec format error")


def test_an_image_that_cannot_be_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "run", refuse)
    there = "s390x" if os.uname().machine != "s390x" else "riscv64"
    with pytest.raises(Unsupported, match="cannot run it") as caught:
        check_runs("app", Platform("linux", there))
    assert "--from-lock" in caught.value.hint and f"--install {there}" in caught.value.hint
    check_runs("app", host_platform())


def test_an_emulator_makes_it_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "run", lambda *_, **__: None)
    check_runs("app", Platform("linux", "s390x"))


def test_what_is_not_known_is_left_to_the_engine() -> None:
    assert executes("vax")


def test_windows_images() -> None:
    with pytest.raises(Unsupported, match="only linux"):
        check_runs("app", Platform("windows", "amd64"))


def test_the_kernel_is_really_asked() -> None:
    """A header of no machine at all: nobody has an emulator for it."""
    ELF["none"] = (0xFEED, 64, "<")
    try:
        assert not executes("none")
    finally:
        del ELF["none"]
