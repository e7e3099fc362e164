"""Fixture builders for ELF tests: valid minimal ELF files and ld.so.cache files, in bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from elftools.elf.enums import ENUM_E_MACHINE

PAGE = 0x1000
SYSTEM_DIRS = ("/lib/x86_64-linux-gnu/", "/usr/lib/x86_64-linux-gnu/", "/lib/", "/usr/lib/")
INTERP = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"


@dataclass(frozen=True)
class Shape:
    """What kind of ELF file to write."""

    machine: str = "EM_X86_64"
    bits: int = 64
    little: bool = True
    osabi: int = 0
    flags: int = 0
    kind: int = 3
    flags_1: int = 0


def elf(
    needed: tuple[str, ...] = (),
    *,
    interp: str = "",
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    shape: Shape = Shape(),
    imports: tuple[str, ...] = (),
    extra: bytes = b"",
    dynamic: bool = True,
) -> bytes:
    """Write a minimal ELF file; `extra` bytes follow the string table."""
    table, offsets = b"\0", {}
    for text in (*needed, soname, rpath, runpath, *imports):
        offsets[text] = len(table) if text else 0
        table += text.encode("utf-8", "surrogateescape") + b"\0" if text else b""
    order, wide = "<" if shape.little else ">", shape.bits == 64
    head, row, tag = (64, 56, "qQ") if wide else (52, 32, "iI")
    count = 1 + bool(interp) + dynamic
    at_interp = head + row * count
    at_strings = at_interp + len(interp) + 1
    at_dynamic = at_strings + len(table)
    tags = [(1, offsets[n]) for n in needed]
    tags += [(n, offsets[t]) for n, t in ((14, soname), (15, rpath), (29, runpath)) if t]
    tags += [(0x6FFFFFFB, shape.flags_1)] if shape.flags_1 else []
    tags += [(5, PAGE + at_strings), (10, len(table)), (0, 0)]
    body = b"".join(struct.pack(order + tag, *t) for t in tags) if dynamic else b""
    size = at_dynamic + len(body) + len(extra)
    segments = [(1, 0, size)]
    segments += [(3, at_interp, len(interp) + 1)] if interp else []
    segments += [(2, at_dynamic, len(body))] if dynamic else []
    data = _header(shape, order, count) + b"".join(_segment(order, wide, *s) for s in segments)
    return data + interp.encode() + b"\0" + table + body + extra


def _header(shape: Shape, order: str, count: int) -> bytes:
    wide = shape.bits == 64
    ident = bytes([127, 69, 76, 70, 2 if wide else 1, 1 if shape.little else 2, 1, shape.osabi])
    layout = order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    head, row = (64, 56) if wide else (52, 32)
    machine = ENUM_E_MACHINE[shape.machine]
    numbers = (shape.kind, machine, 1, 0, head, 0, shape.flags, head, row, count, 0, 0, 0)
    return ident.ljust(16, b"\0") + struct.pack(layout, *numbers)


def _segment(order: str, wide: bool, kind: int, offset: int, size: int) -> bytes:
    place = (offset, PAGE + offset, PAGE + offset, size, size)
    if wide:
        return struct.pack(order + "IIQQQQQQ", kind, 5, *place, 8)
    return struct.pack(order + "IIIIIIII", kind, *place, 5, 4)


def loader(dirs: tuple[str, ...] = SYSTEM_DIRS, soname: str = "ld-linux-x86-64.so.2") -> bytes:
    """Write a glibc loader as far as it is looked at: a shared object with its default dirs."""
    strings = b"".join(d.encode() + b"\0" for d in dirs)
    return elf(soname=soname, extra=b"\0/etc/\0/proc/self/exe\0" + strings + b"/var/tmp\0")


def ld_cache(
    rows: list[tuple[str, str, int]],
    *,
    old: bool = False,
    combined: bool = False,
    big: bool = False,
) -> bytes:
    """Write an ld.so.cache of (soname, path, hwcap) rows, in the new format or another."""
    order = ">" if big else "<"
    strings, places = b"", []
    for soname, path, _ in rows:
        places.append((len(strings), len(strings) + len(soname) + 1))
        strings += soname.encode() + b"\0" + path.encode() + b"\0"
    base = 48 + 24 * len(rows)
    new = b"glibc-ld.so.cache1.1" + struct.pack(order + "II", len(rows), len(strings)) + bytes(20)
    for (key, value), (_, _, hwcap) in zip(places, rows, strict=True):
        new += struct.pack(order + "iIIIQ", 0x303, base + key, base + value, 0, hwcap)
    new += strings
    if not (old or combined):
        return new
    out = b"ld.so-1.7.0\0" + struct.pack(order + "I", len(rows))
    for key, value in places:
        out += struct.pack(order + "iII", 3, key, value)
    if combined:
        return out.ljust((len(out) + 7) // 8 * 8, b"\0") + new
    return out + strings
