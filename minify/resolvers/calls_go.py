"""Which commands does a Go program start? By the constants its code hands to functions.

Go's strings lie side by side without an end, so they cannot be told apart as text. But where code
passes a constant as a function's first argument, address and length stand in two instructions (Go's
internal ABI, abi-internal.md; before Go 1.17 on the stack). That is how `exec.Command("convert")`
looks. Only x86-64 is read; of other machines nothing is found.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minify.resolvers.calls_text import NAME
from minify.resolvers.shell_data import SHELLS
from minify.resolvers.shell_parse import first_words

STARTS = b"os/exec.(*Cmd)."  # a method's name, which a stripped program has too
MACHINE = struct.pack("<H", 62)  # EM_X86_64
LOAD, EXECUTABLE = 1, 1  # PT_LOAD, PF_X
LONGEST = 1000  # bytes of a constant
# LEA RAX, [RIP+x] with MOV EBX, length; or both stored where the callee finds its arguments; or the
# length taken from a register that has the same number for another argument.
PASSED = re.compile(
    rb"\x48\x8d\x05(.{4})(?:\xbb|\x48\x89\x04\x24\x48\xc7\x44\x24\x08)(.{4})"
    rb"|[\xbe\xbf](.{4})\x48\x89[\xfe\xf7]\x48\x8d\x05(.{4})\x48\x89[\xf3\xfb]",
    re.DOTALL,
)
# A constant becomes an element of a slice on the stack: LEA, MOV its address, MOV its length.
STORED = re.compile(
    rb"\x48\x8d[\x05\x0d\x15\x1d\x35\x3d](.{4})"
    rb"\x48\x89(?:[\x44\x4c\x54\x5c\x74\x7c]\x24.|[\x84\x8c\x94\x9c\xb4\xbc]\x24.{4})"
    rb"\x48\xc7(?:\x44\x24.|\x84\x24.{4})(.{4})",
    re.DOTALL,
)
BEFORE = 160  # bytes of code in which the other arguments are put together
MOST = 2  # executable segments that are read
REACH = 96  # bytes of code in which the call comes
CALL = 0xE8

_Segment = tuple[int, int, int, int]  # flags, offset, address, size


def commands(data: bytes) -> frozenset[str]:
    """Names that may be commands; empty for what is no Go program that starts others.

    A function counts when everything it is given looks like a name: others get messages too.
    """
    if data[:6] != b"\x7fELF\x02\x01" or data[18:20] != MACHINE or STARTS not in data:
        return frozenset()
    given: dict[int, list[_Call]] = defaultdict(list)
    try:
        for call in _calls(data, list(_segments(data))):
            given[call.callee].append(call)
    except struct.error:  # cut short
        return frozenset()
    plain = (group for group in given.values() if all(NAME.fullmatch(c.text) for c in group))
    return frozenset(word for group in plain for call in group for word in (call.text, *call.more))


@dataclass(frozen=True)
class _Call:
    """A call with a constant as first argument; `more`: of a shell's, the commands in its text."""

    callee: int
    text: str
    more: tuple[str, ...] = ()


def _segments(data: bytes) -> Iterator[_Segment]:
    """The parts that are mapped (elf(5), Elf64_Phdr)."""
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, flags, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", data, table + number * size
        )
        if kind == LOAD:
            yield flags, offset, address, length


def _calls(data: bytes, segments: list[_Segment]) -> Iterator[_Call]:
    # Go's linker makes one; a program made to keep us busy may name thousands.
    executable = [s for s in segments if s[0] & EXECUTABLE]
    for _, offset, address, size in executable[:MOST]:
        code = memoryview(data)[offset : offset + size]
        for match in PASSED.finditer(code):
            text = _constant(data, segments, address, match)
            callee = _callee(bytes(code[match.end() : match.end() + REACH]))
            if not text or callee is None:
                continue
            more: tuple[str, ...] = ()
            if text.rpartition("/")[2] in SHELLS:
                start = max(0, match.start() - BEFORE)
                others = STORED.finditer(code, start, match.start())
                more = tuple(_shell_words(_constant(data, segments, address, m) for m in others))
            yield _Call(address + match.end() + callee, text, more)


def _shell_words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (w for w in first_words(text.encode("latin-1")) if NAME.fullmatch(w))


def _constant(data: bytes, segments: list[_Segment], address: int, match: re.Match[bytes]) -> str:
    """The string whose address, counted from the LEA's end, and length are in some code."""
    at, size = (1, 2) if match[1] is not None else (4, 3)
    (away,), (length,) = struct.unpack("<i", match[at]), struct.unpack("<I", match[size])
    return _at(data, segments, address + match.end(at) + away, length).decode("latin-1")


def _callee(code: bytes) -> int | None:
    """Where the next call leads, counted from the beginning of some code."""
    at = code.find(CALL)
    if at < 0 or at + 5 > len(code):
        return None
    return at + 5 + int(struct.unpack_from("<i", code, at + 1)[0])


def _at(data: bytes, segments: list[_Segment], address: int, length: int) -> bytes:
    if 0 < length <= LONGEST:
        for _, offset, start, size in segments:
            if start <= address and address + length <= start + size:
                begin = offset + address - start
                return data[begin : begin + length]
    return b""
