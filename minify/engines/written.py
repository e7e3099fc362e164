"""What a run wrote, read from the upper directory of its overlay where that is on this disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from minify.below import Walk

TOO_MANY = "it wrote more files than are told, or deeper ones"


def changes(top: Path) -> tuple[dict[str, int], bool]:
    """Every path below an upper directory, absolute as the container sees it, with its ctime.

    And whether there are more than are told.
    """
    walk = Walk(top)
    return {path: found.st_ctime_ns for path, found in walk}, walk.cut


def leaves(paths: Iterable[str], ignored: Iterable[str]) -> Iterator[str]:
    """Paths, sorted, without the directories on the way to others and without what is ignored."""
    found, spared = sorted(paths), tuple(ignored)
    for path, following in zip(found, [*found[1:], ""], strict=False):
        inside = any(path == i or path.startswith(i + "/") for i in spared)
        if not inside and not following.startswith(path + "/"):
            yield path
