"""What is read out of an ELF file, and that nothing hostile gets through."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from minify.elf.header import read_elf
from tests.elf_kit import INTERP, MUSL, Shape, elf

HOST = sorted(p for p in Path("/usr/bin").glob("*") if p.is_file() and os.access(p, os.R_OK))[:150]


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("little", [True, False])
def test_reads_all_facts_in_every_class_and_byte_order(bits: int, little: bool) -> None:
    shape = Shape("EM_MIPS", bits, little, osabi=3, flags=0x20)
    facts = read_elf(
        elf(("liba.so", "libb.so.2"), interp="/lib/ld.so.1", soname="me.so", rpath="/a:/b",
            runpath="$ORIGIN", shape=shape)
    )  # fmt: skip
    assert facts is not None
    assert (facts.machine, facts.bits, facts.little) == ("EM_MIPS", bits, little)
    assert (facts.osabi, facts.flags, facts.interp) == (3, 0x20, "/lib/ld.so.1")
    assert (facts.needed, facts.soname) == (("liba.so", "libb.so.2"), "me.so")
    assert (facts.rpath, facts.runpath) == ("/a:/b", "$ORIGIN")


@pytest.mark.parametrize(
    ("data", "libc"),
    [
        (elf(interp=INTERP), "glibc"),
        (elf(interp="/lib/ld-linux-aarch64.so.1"), "glibc"),
        (elf(interp=MUSL), "musl"),
        (elf(interp="/system/bin/linker64"), "other"),
        (elf(("libc.so.6",)), "glibc"),
        (elf(("libc.musl-x86_64.so.1",)), "musl"),
        (elf(("libfoo.so",)), ""),
    ],
)
def test_libc(data: bytes, libc: str) -> None:
    facts = read_elf(data)
    assert facts is not None
    assert facts.libc == libc


def test_static_programs() -> None:
    plain = read_elf(elf(dynamic=False, shape=Shape(kind=2)))
    pie = read_elf(elf(shape=Shape(flags_1=0x08000000)))
    library = read_elf(elf(soname="x.so"))
    assert plain is not None and plain.is_static
    assert pie is not None and pie.is_static
    assert library is not None and not library.is_static


@pytest.mark.parametrize(
    ("mine", "theirs", "fits"),
    [
        (Shape(), Shape(), True),
        (Shape(), Shape(osabi=3), True),
        (Shape(), Shape(osabi=9), False),  # FreeBSD
        (Shape(), Shape(kind=2), False),  # not a shared object
        (Shape(), Shape("EM_X86_64", 32), False),  # x32
        (Shape(), Shape("EM_386", 32), False),
        (Shape("EM_ARM", 32, flags=0x400), Shape("EM_ARM", 32, flags=0x200), False),
        (Shape("EM_ARM", 32, flags=0x400), Shape("EM_ARM", 32), True),
        (Shape("EM_MIPS", 32, flags=0x20), Shape("EM_MIPS", 32), False),
        (Shape("EM_RISCV", flags=4), Shape("EM_RISCV", flags=5), True),  # RVC only
        (Shape("EM_RISCV", flags=4), Shape("EM_RISCV", flags=0), False),  # soft float
    ],
)
def test_which_objects_fit_together(mine: Shape, theirs: Shape, fits: bool) -> None:
    one, other = read_elf(elf(shape=mine)), read_elf(elf(shape=theirs))
    assert one is not None and other is not None
    assert one.loads(other) is fits


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\x7fELF" + b"\xff" * 60])
def test_what_is_no_elf_file(data: bytes) -> None:
    assert read_elf(data) is None


def test_a_control_character_in_a_name_is_damage() -> None:
    assert read_elf(elf(("lib\x01.so",))) is None


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damage_never_raises(data: st.DataObject) -> None:
    raw = bytearray(elf(("liba.so",), interp=INTERP, soname="s", runpath="/x"))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    facts = read_elf(bytes(raw[:cut] if data.draw(st.booleans()) else raw))
    assert facts is None or all("\0" not in name for name in facts.needed)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_behind_the_magic_never_raises(noise: bytes) -> None:
    for head in (b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"):
        facts = read_elf(head + noise)
        assert facts is None or facts.bits in (32, 64)


def test_a_reader_that_fails_is_damage() -> None:
    class Broken(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise OSError("broken")

    assert read_elf(Broken(elf(("liba.so",)))) is None


def test_agrees_with_pyelftools_on_host_files() -> None:
    compared = 0
    for path in HOST:
        data = path.read_bytes()
        facts = read_elf(data)
        if not data.startswith(b"\x7fELF"):
            assert facts is None
            continue
        assert facts is not None
        oracle = ELFFile(io.BytesIO(data))
        needed, interp = [], ""
        for segment in oracle.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                interp = segment.get_interp_name()
            elif segment["p_type"] == "PT_DYNAMIC":
                needed = [t.needed for t in segment.iter_tags() if t.entry.d_tag == "DT_NEEDED"]
        assert (facts.machine, facts.interp) == (oracle["e_machine"], interp)
        assert list(facts.needed) == list(dict.fromkeys(needed))
        compared += 1
    assert compared or not HOST
