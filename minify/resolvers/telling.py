"""Words that findings of several resolvers share."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from minify.model import Entry, Finding

HEAVY = 8 << 20  # a library of that many bytes is worth telling about


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of some names in a line of text, and whether there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def heavy(rule: str, path: str, there: Entry, because: str) -> tuple[Finding, ...]:
    """Tell of a library that is kept at `path` for its name alone, where it is a large one."""
    if there.size <= HEAVY:
        return ()
    return (Finding(rule, path, f"kept {there.size >> 20} MB because {because} names it"),)


@dataclass(frozen=True, slots=True, order=True)
class LeftOut(Finding):
    """A finding that holds for what no other rule keeps: each path, and the words for it.

    It is void where `unless` is kept.
    """

    what: str = ""
    parts: tuple[tuple[str, str], ...] = ()
    unless: str = ""

    def when(self, kept: Container[str]) -> Finding | None:
        """What is left to tell when it is known what is kept."""
        parts = tuple(part for part in self.parts if part[0] not in kept)
        if not parts or self.unless in kept:
            return None
        left = tuple(sorted(path for path, _ in parts))
        return Finding(self.rule, self.path, _text(self.what, parts), left)


def left_out(
    rule: str, because: str, what: str, parts: Sequence[tuple[str, str]], *, unless: str = ""
) -> LeftOut:
    """Tell what was left out: paths with the words for them, in the order to tell them."""
    return LeftOut(rule, because, _text(what, parts), (), what, tuple(parts), unless)


def _text(what: str, parts: Sequence[tuple[str, str]]) -> str:
    return f"left out {len(parts)} {what}: {some([words for _, words in parts])}"
