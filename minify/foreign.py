"""Whether this machine runs programs of another architecture (binfmt_misc with an emulator)."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from minify.errors import MinifyError, Unsupported
from minify.images.platforms import host_platform
from minify.model import Platform
from minify.run import TimedOutError, run

# e_machine, bits, byte order (elf(5), and the processor supplements).
ELF = {
    "amd64": (62, 64, "<"), "386": (3, 32, "<"), "arm64": (183, 64, "<"), "arm": (40, 32, "<"),
    "riscv64": (243, 64, "<"), "loong64": (258, 64, "<"), "ppc64le": (21, 64, "<"),
    "ppc64": (21, 64, ">"), "s390x": (22, 64, ">"), "mips64le": (8, 64, "<"),
    "mips64": (8, 64, ">"), "mipsle": (8, 32, "<"), "mips": (8, 32, ">"),
}  # fmt: skip
# Which kernels run a narrower architecture by themselves.
NARROW = {("amd64", "386"), ("arm64", "arm")}


def check_runs(reference: str, platform: Platform, folder: Path | None = None) -> None:
    """Raise Unsupported when an image's programs cannot be executed on this machine.

    `folder` is for what is tried, else where temporary files go.
    """
    if platform.os != "linux":
        raise Unsupported(f"{reference} is for {platform}: only linux images can be minified")
    here = host_platform().architecture
    there = platform.architecture
    if there == here or (here, there) in NARROW or executes(there, folder):
        return
    raise Unsupported(
        f"{reference} is for {platform}: this machine ({here}) cannot run it",
        hint=f"install an emulator (on Debian: apt-get install qemu-user-static; elsewhere: "
        f"docker run --privileged --rm tonistiigi/binfmt --install {there}); or build without "
        "running it: --from-lock FILE or --evidence FILE, with --no-verify",
    )


def executes(architecture: str, folder: Path | None = None) -> bool:
    """Whether the kernel takes a program of an architecture: asked by handing it one.

    The program is an ELF header alone. Without a matching binfmt_misc entry execve(2) fails with
    ENOEXEC; with one the emulator starts and gives up. (/proc/sys/fs/binfmt_misc would say the
    same, but is seldom mounted in containers.) True for an architecture not known here.
    """
    if architecture not in ELF:
        return True
    with tempfile.TemporaryDirectory(prefix="minify-exec-", dir=folder) as made:
        program = Path(made, "program")
        program.write_bytes(header(*ELF[architecture]))
        program.chmod(0o700)
        try:
            run([str(program)], timeout=10, check=False)
        except TimedOutError:
            return True
        except MinifyError as error:
            return "Exec format" not in error.message
    return True


def header(machine: int, bits: int, order: str) -> bytes:
    """The header of an executable without segments."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if bits == 64 else "I"
    size = 64 if bits == 64 else 52
    rest = struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH", 2, machine, 1, 0, 0, 0, 0, size, 0, 0, 0, 0, 0
    )
    return ident + rest
