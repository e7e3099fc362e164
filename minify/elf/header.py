"""What an ELF file says about how it wants to be loaded (elf(5), gABI chapters 4 and 5).

Only the header, the program headers and the dynamic segment are read: that is all the dynamic
loader looks at, it survives `strip`, and it costs some microseconds per file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from elftools.elf.enums import ENUM_D_TAG, ENUM_E_MACHINE, ENUM_P_TYPE_BASE

MAGIC = b"\x7fELF"
MAX_HEADERS = 4096
MAX_DYNAMIC = 65536
MAX_STRING = 4096
OSABI_SYSV, OSABI_GNU = 0, 3
ET_EXEC, ET_DYN = 2, 3
DF_1_NODEFLIB, DF_1_PIE = 0x800, 0x08000000
MACHINES: dict[int, str] = {v: k for k, v in ENUM_E_MACHINE.items() if isinstance(v, int)}
_P_TYPES = {k: v for k, v in ENUM_P_TYPE_BASE.items() if isinstance(v, int)}
_D_TAGS = {k: v for k, v in ENUM_D_TAG.items() if isinstance(v, int)}
PT_LOAD, PT_DYNAMIC, PT_INTERP = (_P_TYPES[f"PT_{name}"] for name in ("LOAD", "DYNAMIC", "INTERP"))
DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH, DT_FLAGS_1 = (
    _D_TAGS[f"DT_{name}"]
    for name in ("NEEDED", "STRTAB", "STRSZ", "SONAME", "RPATH", "RUNPATH", "FLAGS_1")
)
# e_flags bits that must be equal for two objects to share a process, by machine; a zero on either
# side means "unspecified" where the second number says so (processor supplements of the psABIs).
ABI_FLAGS = {
    "EM_ARM": (0x600, True),  # EF_ARM_ABI_FLOAT_HARD and _SOFT
    "EM_MIPS": (0x420, False),  # EF_MIPS_ABI2 (n32), EF_MIPS_NAN2008
    "EM_PPC64": (0x3, True),  # ABI version: ELFv1, ELFv2
    "EM_RISCV": (0xE, False),  # float ABI, RVE
    "EM_LOONGARCH": (0x7, False),
}


@dataclass(frozen=True)
class ElfFacts:
    """What the loader needs to know of one object.

    `machine` is the EM_ name, `kind` e_type, `flags` e_flags, `dynamic`: it has a dynamic segment.
    `strings` are offset and size, in the file, of the table with all imported and exported names.
    """

    machine: str
    bits: int
    little: bool
    osabi: int = OSABI_SYSV
    flags: int = 0
    kind: int = ET_DYN
    interp: str = ""
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: str = ""
    runpath: str = ""
    flags_1: int = 0
    dynamic: bool = True
    strings: tuple[int, int] = (0, 0)

    @property
    def is_static(self) -> bool:
        """Whether it is a program that runs without a loader (static-pie included)."""
        if self.interp or self.needed:
            return False
        return not self.dynamic or bool(self.flags_1 & DF_1_PIE)

    @property
    def is_program(self) -> bool:
        """Whether the kernel starts it as a dynamic program: it names an interpreter."""
        return bool(self.interp)

    @property
    def libc(self) -> str:
        """The C library (glibc, musl, other; "" unknown), by interpreter or by what it needs."""
        if self.interp:
            name = self.interp.rpartition("/")[2]
            if name.startswith("ld-musl-"):
                return "musl"
            glibc = name.startswith(("ld-linux", "ld64.so", "ld.so.", "ld-2.", "ld-lsb"))
            return "glibc" if glibc else "other"
        if any(n.startswith("libc.so.6") for n in self.needed):
            return "glibc"
        return "musl" if any(n.startswith(("libc.musl-", "libc.so")) for n in self.needed) else ""

    def loads(self, other: ElfFacts) -> bool:
        """Whether the loader accepts `other` into a process of this object.

        As in glibc's open_verify(): same class, byte order and machine, Linux ABI, fitting e_flags.
        """
        same = (self.machine, self.bits, self.little) == (other.machine, other.bits, other.little)
        if not same or other.osabi not in (OSABI_SYSV, OSABI_GNU) or other.kind != ET_DYN:
            return False
        mask, zero_fits = ABI_FLAGS.get(self.machine, (0, True))
        mine, theirs = self.flags & mask, other.flags & mask
        return mine == theirs or (zero_fits and not (mine and theirs))


@dataclass(frozen=True)
class _Header:
    order: str
    bits: int
    kind: int
    machine: int
    flags: int
    table: int
    count: int
    osabi: int


@dataclass(frozen=True)
class Segment:
    """A program header: `kind` its PT_ number, `flags` its PF_ bits, `size` in the file."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int


class _DamagedError(ValueError):
    """Something does not fit; never leaves this file."""


def read_elf(source: BinaryIO | bytes) -> ElfFacts | None:
    """Read the facts of an ELF program or shared object; None when it is none, or is damaged."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        head = stream.read(64)
        if len(head) < 52 or not head.startswith(MAGIC):
            return None
        header = _header(head)
        return _facts(stream, header, list(_segments(stream, header)))
    except (OSError, EOFError, ValueError, OverflowError, struct.error):
        return None


def read_segments(data: bytes) -> tuple[Segment, ...]:
    """Read the program headers; none of what is no ELF file, or one that the kernel refuses."""
    try:
        return tuple(_segments(io.BytesIO(data), _header(data[:64])))
    except (ValueError, OverflowError, struct.error):
        return ()


def _header(head: bytes) -> _Header:
    bits = {1: 32, 2: 64}.get(head[4], 0)
    order = {1: "<", 2: ">"}.get(head[5], "")
    if not bits or not order:
        raise _DamagedError("class or byte order")
    layout = order + ("HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH")
    kind, machine, _, _, table, _, flags, _, size, count, *_ = struct.unpack_from(layout, head, 16)
    if count and (size != (56 if bits == 64 else 32) or count > MAX_HEADERS):
        raise _DamagedError("program headers")
    return _Header(order, bits, kind, machine, flags, table, count, head[7])


def _segments(stream: BinaryIO, header: _Header) -> Iterator[Segment]:
    wide = header.bits == 64
    layout = struct.Struct(header.order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    raw = _read_at(stream, header.table, header.count * layout.size)
    for row in layout.iter_unpack(raw):
        # 64: type flags offset vaddr paddr filesz …; 32: type offset vaddr paddr filesz …
        offset, address, _, size = row[2:6] if wide else row[1:5]
        yield Segment(row[0], row[1] if wide else row[6], offset, address, size)


def _read_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    data = stream.read(size)
    if len(data) != size:
        raise _DamagedError("cut off")
    return data


def _facts(stream: BinaryIO, header: _Header, segments: list[Segment]) -> ElfFacts:
    interp, tags, dynamic = "", dict[int, list[int]](), False
    for segment in segments:
        if segment.kind == PT_INTERP:
            raw = _read_at(stream, segment.offset, min(segment.size, MAX_STRING))
            interp = _text(raw.partition(b"\0")[0])
        elif segment.kind == PT_DYNAMIC and segment.size:
            dynamic = True
            tags = _tags(stream, header, segment)
    base, limit = _string_table(segments, tags)
    texts = _strings(stream, (base, limit), tags)

    def one(tag: int) -> str:
        return next(iter(texts(tag)), "")

    return ElfFacts(
        machine=MACHINES.get(header.machine, f"EM_{header.machine}"),
        bits=header.bits,
        little=header.order == "<",
        osabi=header.osabi,
        flags=header.flags,
        kind=header.kind,
        interp=interp,
        flags_1=tags.get(DT_FLAGS_1, [0])[0],
        dynamic=dynamic,
        soname=one(DT_SONAME),
        needed=texts(DT_NEEDED),
        rpath=one(DT_RPATH),
        runpath=one(DT_RUNPATH),
        strings=(base, limit),
    )


def _tags(stream: BinaryIO, header: _Header, segment: Segment) -> dict[int, list[int]]:
    layout = struct.Struct(header.order + ("qQ" if header.bits == 64 else "iI"))
    size = min(segment.size, MAX_DYNAMIC) // layout.size * layout.size
    tags: dict[int, list[int]] = {}
    for tag, value in layout.iter_unpack(_read_at(stream, segment.offset, size)):
        if tag == 0:
            break
        tags.setdefault(tag, []).append(value)
    return tags


def _string_table(segments: list[Segment], tags: dict[int, list[int]]) -> tuple[int, int]:
    """Find the dynamic string table in the file: offset and size, or nothing (size 0)."""
    address, limit = tags.get(DT_STRTAB, [0])[0], tags.get(DT_STRSZ, [0])[0]
    for s in segments:
        if s.kind == PT_LOAD and s.address <= address < s.address + s.size:
            return s.offset + address - s.address, limit
    return 0, 0


def _strings(
    stream: BinaryIO, table: tuple[int, int], tags: dict[int, list[int]]
) -> Callable[[int], tuple[str, ...]]:
    """Make a look-up of a dynamic tag's strings."""
    base, limit = table

    def text(offset: int) -> str:
        if offset >= limit:
            raise _DamagedError("string outside of its table")
        stream.seek(base + offset)
        raw = stream.read(min(MAX_STRING, limit - offset))
        return _text(raw.partition(b"\0")[0])

    return lambda tag: tuple(dict.fromkeys(text(offset) for offset in tags.get(tag, [])))


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    if any(ord(c) < 32 for c in text):
        raise _DamagedError("control character in a name")
    return text
