"""What a run wrote, read from the upper directory of its overlay where that is on this disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def changes(top: Path) -> Iterator[tuple[str, int]]:
    """Every path below an upper directory, absolute as the container sees it, with its ctime."""
    start = str(top)
    for folder, folders, files in os.walk(start):
        for name in (*folders, *files):
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                yield path[len(start) :], os.lstat(path).st_ctime_ns


def leaves(paths: Iterable[str], ignored: Iterable[str]) -> Iterator[str]:
    """Paths, sorted, without the directories on the way to others and without what is ignored."""
    found, spared = sorted(paths), tuple(ignored)
    for path, following in zip(found, [*found[1:], ""], strict=False):
        inside = any(path == i or path.startswith(i + "/") for i in spared)
        if not inside and not following.startswith(path + "/"):
            yield path
