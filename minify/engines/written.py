"""What a run wrote, read from the upper directory of its overlay where that is on this disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from minify.below import Walk

TOO_MANY = "it wrote more files than are told, or deeper ones"


class Changes:
    """What is below an upper directory; `cut` once it was gone through: there is more than that."""

    def __init__(self, top: Path) -> None:
        self._walk = Walk(top)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield every path, absolute as the container sees it, with its ctime."""
        return ((path, found.st_ctime_ns) for path, found in self._walk)

    @property
    def cut(self) -> bool:
        """Whether there is more than was told."""
        return self._walk.cut


def changes(top: Path) -> Changes:
    """Every path below an upper directory, absolute as the container sees it, with its ctime."""
    return Changes(top)


def leaves(paths: Iterable[str], ignored: Iterable[str]) -> Iterator[str]:
    """Paths, sorted, without the directories on the way to others and without what is ignored."""
    found, spared = sorted(paths), tuple(ignored)
    for path, following in zip(found, [*found[1:], ""], strict=False):
        inside = any(path == i or path.startswith(i + "/") for i in spared)
        if not inside and not following.startswith(path + "/"):
            yield path
