"""Words that findings of several resolvers share."""

from __future__ import annotations

from collections.abc import Sequence

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
