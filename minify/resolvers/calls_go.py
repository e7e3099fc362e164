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

from minify.elf.header import PT_LOAD, Segment, read_segments
from minify.resolvers.calls_text import NAME
from minify.resolvers.shell_data import SHELLS
from minify.resolvers.shell_parse import first_words

STARTS = b"os/exec.(*Cmd)."  # a method's name, which a stripped program has too
MACHINE = struct.pack("<H", 62)  # EM_X86_64
EXECUTABLE = 1  # PF_X
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


def commands(data: bytes) -> frozenset[str]:
    """Names that may be commands; empty for what is no Go program that starts others.

    A function counts when everything it is given looks like a name: others get messages too.
    """
    if data[:6] != b"\x7fELF\x02\x01" or data[18:20] != MACHINE or STARTS not in data:
        return frozenset()
    given: dict[int, list[_Call]] = defaultdict(list)
    for call in _calls(data, [s for s in read_segments(data) if s.kind == PT_LOAD]):
        given[call.callee].append(call)
    plain = (group for group in given.values() if all(NAME.fullmatch(c.text) for c in group))
    return frozenset(word for group in plain for call in group for word in (call.text, *call.more))


@dataclass(frozen=True)
class _Call:
    """A call with a constant as first argument; `more`: of a shell's, the commands in its text."""

    callee: int
    text: str
    more: tuple[str, ...] = ()


def _calls(data: bytes, segments: list[Segment]) -> Iterator[_Call]:
    # Go's linker makes one; a program made to keep us busy may name thousands.
    executable = [s for s in segments if s.flags & EXECUTABLE]
    for segment in executable[:MOST]:
        address, end = segment.address, segment.offset + segment.size
        code = memoryview(data)[segment.offset : end]
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


def _constant(data: bytes, segments: list[Segment], address: int, match: re.Match[bytes]) -> str:
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


def _at(data: bytes, segments: list[Segment], address: int, length: int) -> bytes:
    if 0 < length <= LONGEST:
        for s in segments:
            if s.address <= address and address + length <= s.address + s.size:
                begin = s.offset + address - s.address
                return data[begin : begin + length]
    return b""
