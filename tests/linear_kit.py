"""Is a reader linear? Text that is hard to read, made to any length, and a clock for readers."""

from __future__ import annotations

import gc
import re
import re._parser as sre  # type: ignore[import-not-found]
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

FREE = 0.01  # CPU seconds too short to tell anything
FACTOR = 3.0  # of the time that twice the text may take: 2 is linear, 4 quadratic
CEILING = 3.0  # CPU seconds after which nobody has to be asked

# What runs of these cost tells: blanks, blank lines, words, brackets, quotes, and starts of what
# readers look for that never end.
PUMPS = (
    b' ', b'\n', b'\t', b'a', b'A', b'0', b'f', b'/', b'\\', b'(', b'[', b'{', b"'", b'"', b'`',
    b'$', b'#', b'%', b'=', b'*', b'\x00', b'\xff', b'a ', b'a.', b'a/', b'a,', b'a::', b"a'",
    b'a|', b'a=', b'a;\n', b'$(', b'${a:-', b'"$', b'a(', b'a)', b'a\n', b'#a\n', b'a\\\n',
    b'\\\\', b'[[', b'<a ', b'<!--', b'a=a\n', b'a: a\n', b'- a\n', b' a:\n', b'a+', b'a.a(',
    b'{a,', b'/a\n', b'\x00/a', b'\x00/', b'a a\n',
)  # fmt: skip
STARTS = (
    b'exec ', b'import ', b'from a import (', b'from . ', b"import_module('", b"require '",
    b'require ', b'gem ', b'add_dependency ', b'add_dependency%q<', b'.executables=[',
    b'use base ', b'use a ', b'do "', b'qw(', b'qx{', b'%w[', b'<?php include ', b'$a=$a.',
    b'require(', b'require(/*', b'case a in a) ', b'if a; then ', b'<<A\n', b'for a in a; do ',
    b'system("', b'=pod\n', b"/bin/sh -c '", b'A=$A$A\n', b'a = a + a\n', b'x.y(', b'def a\n',
    b'class A ', b'function a(){', b'url(', b"@import '", b'<a href=', b'{a,[', b'lib',
    b'find_library ', b'GNU C Library ', b'run-parts ', b'command=', b'[program:', b'a::b::$',
    b'zaaaa', b'from a import a;', b'session=<', b'id=', b'02:42:', b'Jan', b'%a%',
)  # fmt: skip


class Slow(Exception):  # noqa: N818 - what it is
    """A reader that needs more than CEILING."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Slow


def cpu(work: Callable[[], object], ceiling: float = CEILING) -> float:
    """The CPU seconds of some work; `ceiling` where it takes longer."""
    before = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, ceiling)
    began = time.process_time()
    try:
        work()
        return time.process_time() - began
    except Slow:
        return ceiling
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def growth(work: Callable[[int], Callable[[], object]], size: int) -> float:
    """How many times longer `work(2 * size)` takes than `work(size)`; 0 where both are too short.

    The shortest of several times: what else the machine does only ever adds.
    """
    long, short = work(2 * size), work(size)
    twice = cpu(long)
    if twice < FREE:
        return 0.0
    once = min(cpu(short), cpu(short))
    for _ in range(4):
        if twice <= FACTOR * max(once, FREE / 4) or twice >= CEILING:
            break
        gc.collect()
        once, twice = min(once, cpu(short)), min(twice, cpu(long))
    return twice / max(once, FREE / 4)


def pump(token: bytes, size: int, start: bytes = b"") -> bytes:
    """A token again and again, `size` bytes of it."""
    return (start + token * (size // len(token) + 1))[:size]


def tokens(pattern: re.Pattern[Any]) -> list[bytes]:
    """The literals of a regular expression, and one of each kind of character it names."""
    found = {
        bytes(c & 255 for c in run) for run in _runs(sre.parse(pattern.pattern, pattern.flags))
    }
    return sorted(found, key=lambda t: (len(t), t))[:12]


CATEGORIES = {"CATEGORY_DIGIT": 48, "CATEGORY_SPACE": 32, "CATEGORY_WORD": 97}


def _runs(parsed: Any) -> Iterator[tuple[int, ...]]:
    run: list[int] = []
    for op, value in parsed:
        if str(op) == "LITERAL":
            run.append(value)
            continue
        if run:
            yield tuple(run)
            run = []
        if str(op) == "IN":
            yield from _members(value)
        for inside in _inside(str(op), value):
            yield from _runs(inside)
    if run:
        yield tuple(run)


def _inside(name: str, value: Any) -> list[Any]:
    if name.endswith("_REPEAT"):
        return [value[2]]
    if name == "BRANCH":
        return list(value[1])
    if name == "SUBPATTERN":
        return [value[3]]
    if name == "ATOMIC_GROUP":
        return [value]
    return [value[1]] if name.startswith("ASSERT") else []


def _members(items: Any) -> Iterator[tuple[int, ...]]:
    for op, value in items:
        if str(op) == "LITERAL":
            yield (value,)
        elif str(op) == "RANGE":
            yield (value[0],)
        elif str(op) == "CATEGORY":
            yield (CATEGORIES.get(str(value), 33),)
