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
from collections.abc import Iterator

from minify.resolvers.calls_text import NAME

STARTS = b"os/exec.(*Cmd)."  # a method's name, which a stripped program has too
MACHINE = struct.pack("<H", 62)  # EM_X86_64
LOAD, EXECUTABLE = 1, 1  # PT_LOAD, PF_X
LONGEST = 100
# LEA RAX, [RIP+x]; MOV EBX, length. Or: both stored where the callee finds its arguments.
PASSED = re.compile(
    rb"\x48\x8d\x05(.{4})(?:\xbb|\x48\x89\x04\x24\x48\xc7\x44\x24\x08)(.{4})", re.DOTALL
)
REACH = 96  # bytes of code in which the call comes
CALL = 0xE8

_Segment = tuple[int, int, int, int]  # flags, offset, address, size


def commands(data: bytes) -> frozenset[str]:
    """Names that may be commands; empty for what is no Go program that starts others.

    A function counts when everything it is given looks like a name: others get messages too.
    """
    if data[:6] != b"\x7fELF\x02\x01" or data[18:20] != MACHINE or STARTS not in data:
        return frozenset()
    given: dict[int, set[bytes]] = defaultdict(set)
    try:
        for callee, text in _calls(data, list(_segments(data))):
            given[callee].add(text)
    except struct.error:  # cut short
        return frozenset()
    texts = [[t.decode("latin-1") for t in group] for group in given.values()]
    plain = (group for group in texts if all(NAME.fullmatch(text) for text in group))
    return frozenset(text for group in plain for text in group)


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


def _calls(data: bytes, segments: list[_Segment]) -> Iterator[tuple[int, bytes]]:
    """The address of each function that is called with a constant first, and the constant."""
    for flags, offset, address, size in segments:
        if not flags & EXECUTABLE:
            continue
        code = memoryview(data)[offset : offset + size]
        for match in PASSED.finditer(code):
            away, length = struct.unpack("<i", match[1])[0], struct.unpack("<I", match[2])[0]
            end = match.end()
            callee = _callee(bytes(code[end : end + REACH]))
            text = _at(data, segments, address + match.start() + 7 + away, length)
            if text and callee is not None:
                yield address + end + callee, text


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
