"""Which commands does a Go program start? By the constants its code hands to functions.

Go's strings lie side by side without an end, so they cannot be told apart as text. But where code
passes a constant to a function, address and length stand in two instructions (Go's internal ABI,
abi-internal.md; before Go 1.17 on the stack). That is how `exec.Command("convert")` looks, and
`tool.run(ctx, "convert")` too. Only x86-64 is read; of other machines nothing is found.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from minify.elf.header import PT_LOAD, Segment, read_segments
from minify.resolvers.calls_text import NAME
from minify.resolvers.shell_data import SHELLS
from minify.resolvers.shell_parse import first_words

STARTS = b"os/exec.(*Cmd)."  # a method's name, which a stripped program has too
MACHINE = struct.pack("<H", 62)  # EM_X86_64
EXECUTABLE = 1  # PF_X
LONGEST = 1000  # bytes of a constant
ORDER = (0, 3, 1, 7, 6, 8, 9, 10, 11)  # registers of arguments: RAX, RBX, RCX, RDI, RSI, R8...
POSITIONS = 5  # a name's first register is one of so many: receiver, context and folder come before
STACK = rb"|\x48\x89\x04\x24\x48\xc7\x44\x24\x08(.{4})"  # MOV [RSP], RAX; MOV [RSP+8], length


def _lea(register: int) -> bytes:
    return re.escape(bytes([0x48 | register >> 3 << 2, 0x8D, (register & 7) << 3 | 5]))


def _number(register: int) -> bytes:
    return re.escape(bytes([0x41] * (register >> 3) + [0xB8 | register & 7]))


def _copy(to: int, of: int) -> bytes:
    last = 0xC0 | (of & 7) << 3 | to & 7
    return re.escape(bytes([0x48 | of >> 3 << 2 | to >> 3, 0x89, last]))


def _passed(position: int) -> re.Pattern[bytes]:
    """LEA address, [RIP+x] and MOV length, in any order, of an argument and the next register.

    Or the length comes from a register that has the same number for the slice after it.
    """
    address, length, _, count, room = ORDER[position : position + 5]
    lea, number = _lea(address), _number(length)
    before = b"|(?<=" + number + b"(.{4})" + lea + b".{4})"
    shared = b"|(?<=" + _number(count) + b"(.{4})" + _copy(room, count) + lea + b".{4})"
    copied = b"(?:" + _copy(length, count) + b"|" + _copy(length, room) + b")"
    after = number + b"(.{4})" + (STACK if position == 0 else b"")
    # The last writer of a register decides, so what comes after the LEA is tried first.
    return re.compile(lea + b"(.{4})(?:" + after + shared + copied + before + b")", re.DOTALL)


# Group 1 is the address, counted from its end; the last that matched is the length.
PASSED = tuple(_passed(position) for position in range(POSITIONS))
# A constant that stands in for an empty one: MOV length (group 1), CMOVcc, LEA address (group 2),
# CMOVcc; between them the address that it stands in for may come from the stack.
CHOSEN = re.compile(
    rb"\x0f[\x44\x45].(?<=[\xb8-\xbf](.{4})[\x48\x49\x4c\x4d].{3})"
    rb"(?:[\x48\x4c]\x8b(?:[\x44-\x7c]\x24.|[\x84-\xbc]\x24.{4}))?"
    rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})[\x48\x49\x4c\x4d]\x0f[\x44\x45].",
    re.DOTALL,
)
# A constant becomes an element of a slice on the stack: LEA, MOV its address, MOV its length.
STORED = re.compile(
    rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})[\x48\x4c]\x89"
    rb"(?:[\x44\x4c\x54\x5c\x64\x6c\x74\x7c]\x24.|[\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]\x24.{4})"
    rb"\x48\xc7(?:\x44\x24.|\x84\x24.{4})(.{4})",
    re.DOTALL,
)
BEFORE = 160  # bytes of code in which the other arguments are put together
MOST = 2  # executable segments that are read
REACH = 96  # bytes of code in which the call comes
CALL = re.compile(rb"\xe8(?=(.{4}))|\xff[\xd0-\xd7]", re.DOTALL)  # of an address, of a register's
ALIGNED = 16  # a function begins at a multiple of it (cmd/internal/obj/x86, and so do C's)
COMMANDS = 4  # of so many names one is a command: of headers and options it is one of 10 to 50
ANY = -1  # a constant that stands in for an empty one: which argument it becomes, is not looked at


def commands(data: bytes, known: Callable[[str], object]) -> frozenset[str]:
    """Names that may be commands; empty for what is no Go program that starts others.

    An argument of a function counts when all it is given look like names: others are messages too.
    """
    if data[:6] != b"\x7fELF\x02\x01" or data[18:20] != MACHINE or STARTS not in data:
        return frozenset()
    given: dict[tuple[int, int], list[_Call]] = defaultdict(list)
    for call in _calls(data, [s for s in read_segments(data) if s.kind == PT_LOAD]):
        given[call.position, call.callee].append(call)
    plain = (group for (n, _), group in given.items() if _names(n, {c.text for c in group}, known))
    return frozenset(word for group in plain for call in group for word in (call.text, *call.more))


def _names(position: int, texts: set[str], known: Callable[[str], object]) -> bool:
    """Whether an argument is a command's name by all that it is given somewhere.

    What is no first argument is often a header, an option or a field, of which some (`date`, `id`)
    are called like commands. `exec.Command` itself names first what an image may well be without.
    """
    if not all(NAME.fullmatch(text) for text in texts):
        return False
    return position == 0 or sum(bool(known(text)) for text in texts) * COMMANDS >= len(texts)


@dataclass(frozen=True)
class _Call:
    """A call with a constant as an argument; `more`: of a shell's, the commands in its text."""

    position: int
    callee: int
    text: str
    more: tuple[str, ...] = ()


def _calls(data: bytes, segments: list[Segment]) -> Iterator[_Call]:
    # Go's linker makes one; a program made to keep us busy may name thousands.
    executable = [s for s in segments if s.flags & EXECUTABLE]
    for segment in executable[:MOST]:
        code = memoryview(data)[segment.offset : segment.offset + segment.size]
        for position, pattern in ((ANY, CHOSEN), *enumerate(PASSED)):
            for match in pattern.finditer(code):
                text = _constant(data, segments, segment.address, match)
                callee = _callee(code, match.end(), segment.address) if text else None
                if callee is None:
                    continue
                more: tuple[str, ...] = ()
                if text.rpartition("/")[2] in SHELLS:
                    others = STORED.finditer(code, max(0, match.start() - BEFORE), match.start())
                    texts = (_constant(data, segments, segment.address, m) for m in others)
                    more = tuple(_shell_words(texts))
                yield _Call(position, callee, text, more)


def _shell_words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (w for w in first_words(text.encode("latin-1")) if NAME.fullmatch(w))


def _constant(data: bytes, segments: list[Segment], address: int, match: re.Match[bytes]) -> str:
    """The string whose address, counted from the LEA's end, and length are in some code."""
    at, size = (2, 1) if match.re is CHOSEN else (1, match.lastindex or 1)
    (away,), (length,) = struct.unpack("<i", match[at]), struct.unpack("<I", match[size])
    return _at(data, segments, address + match.end(at) + away, length).decode("latin-1")


def _callee(code: memoryview, start: int, address: int) -> int | None:
    """Where the next call leads; None for one that only the running program knows.

    A byte that looks like a call's but leads to no function is part of some number.
    """
    for match in CALL.finditer(code, start, start + REACH):
        if match[1] is None:
            return None
        callee = match.end() + 4 + int(struct.unpack("<i", match[1])[0])
        if 0 <= callee < len(code) and (address + callee) % ALIGNED == 0:
            return address + callee
    return None


def _at(data: bytes, segments: list[Segment], address: int, length: int) -> bytes:
    if 0 < length <= LONGEST:
        for s in segments:
            if s.address <= address and address + length <= s.address + s.size:
                begin = s.offset + address - s.address
                return data[begin : begin + length]
    return b""
