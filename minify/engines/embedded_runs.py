"""Folders of containers: one per container, owned by a lock, swept when the owner is dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from minify.below import remove
from minify.errors import BuildError
from minify.workspace import make_private

CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def claimed(runs: Path) -> Iterator[Path]:
    """Make a container's folder, held by a lock while in use, removed at the end."""
    folder = runs / secrets.token_hex(8)
    try:
        make_private(runs.parent, runs.name)
        folder.mkdir(mode=0o711)
    except OSError as error:
        raise BuildError(f"cannot make {folder}: {error.strerror}") from error
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder
    finally:
        _remove_cgroups(f"minify-{folder.name}")  # runtimes leave them when a create fails
        remove(folder)
        os.close(lock)


def sweep(runs: Path) -> int:
    """Remove what containers of dead owners left (folders, empty cgroups); returns how many."""
    count = 0
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_cgroups(f"minify-{folder.name}")
                remove(folder)
                count += 1
            finally:
                os.close(lock)
    return count


def _remove_cgroups(name: str) -> None:
    for group in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")):
        with contextlib.suppress(OSError):
            group.rmdir()
