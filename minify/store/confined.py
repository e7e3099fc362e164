"""Walk folders below one descriptor and never leave it, whatever symlinks lie on the way.

Each name is opened from its parent's descriptor with O_NOFOLLOW (openat(2)); a symlink is read and
resolved here, its `/` being the folder we started from. Also safe while somebody else changes it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

from minify.below import remove
from minify.errors import EngineError
from minify.tree import MAX_LINKS

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_DIRS = 64
DEPTH_MAX = 512

Parts = tuple[bytes, ...]


@dataclass
class _Below:
    """Folders by their parents, so that those below one are found without looking at all others."""

    children: dict[Parts, set[Parts]] = field(default_factory=dict)

    def add(self, path: Parts) -> None:
        """Note a folder, and so those it lies in."""
        while path:
            known = self.children.setdefault(path[:-1], set())
            if path in known:
                return
            known.add(path)
            path = path[:-1]

    def take(self, path: Parts) -> Iterator[Parts]:
        """Yield and forget a folder and all below it."""
        self.children.get(path[:-1], set()).discard(path)
        todo = [path]
        while todo:
            at = todo.pop()
            yield at
            todo.extend(self.children.pop(at, ()))


@dataclass
class Confined:
    """A folder as a root. Descriptors it returns stay open until some later call: use them at once.

    `made` are the directories it had to make itself.
    """

    path: bytes
    make: bool = True
    root: int = -1
    made: set[Parts] = field(default_factory=set)
    _below: _Below = field(default_factory=_Below)
    _open: OrderedDict[Parts, int] = field(default_factory=OrderedDict)

    def __enter__(self) -> Confined:
        self.root = os.open(self.path, FOLDER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.forget(())
        os.close(self.root)

    def folder(self, parts: Parts) -> tuple[int, Parts]:
        """Open a folder; returns its descriptor and its real place.

        What is missing is made (with `make`), else FileNotFoundError is raised.

        Raises EngineError for a symlink loop, and where a file is in the way.
        """
        if not parts:
            return self.root, ()
        if (known := self._open.get(parts)) is not None:
            self._open.move_to_end(parts)
            return known, parts
        at: Parts = ()
        todo, fd, links = list(parts[::-1]), self.root, 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                at = at[:-1]
                fd, at = self.folder(at)
                continue
            found = self._step(fd, (*at, name))
            if isinstance(found, int):
                fd, at = found, (*at, name)
                if len(at) > DEPTH_MAX:  # by symlinks, each to the end of what the last one made
                    raise EngineError(f"a layer nests too deep: {shown(b'/'.join(parts))}")
                continue
            links += 1
            if links > MAX_LINKS:
                raise EngineError(f"symlink loop in a layer at {shown(b'/'.join(parts))}")
            todo.extend(found.split(b"/")[::-1])
            fd, at = self.folder(() if found.startswith(b"/") else at)
        return fd, at

    def _step(self, parent: int, path: Parts) -> int | bytes:
        """Enter one name of a real folder: a descriptor, or the text of the symlink it is."""
        if (known := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return known
        name = path[-1]
        try:
            fd = os.open(name, FOLDER, dir_fd=parent)
        except FileNotFoundError:
            if not self.make:
                raise
            os.mkdir(name, 0o755, dir_fd=parent)
            os.chmod(name, 0o755, dir_fd=parent)
            self.made.add(path)
            self.note(path)
            fd = os.open(name, FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISLNK(found.st_mode):
                raise EngineError(
                    f"a layer puts a file below another file: {shown(b'/'.join(path))}"
                ) from error
            return os.readlink(name, dir_fd=parent)
        self._open[path] = fd
        if len(self._open) > OPEN_DIRS:
            for old in list(self._open)[: OPEN_DIRS // 2]:
                if old != path[: len(old)]:  # not an ancestor of what is about to be used
                    os.close(self._open.pop(old))
        return fd

    def note(self, path: Parts) -> None:
        """Remember a folder that is there, so that `remove` can tell what went with it."""
        self._below.add(path)

    def forget(self, path: Parts) -> None:
        """Close the descriptors of a folder and of all below it."""
        for known in [k for k in self._open if k[: len(path)] == path]:
            os.close(self._open.pop(known))

    def remove(self, parent: int, path: Parts) -> tuple[Parts, ...]:
        """Remove a name and all below it; returns the folders that are gone, as far as noted."""
        if not stat.S_ISDIR(os.stat(path[-1], dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(path[-1], dir_fd=parent)
            return ()
        self.forget(path)
        if not remove(os.fsdecode(path[-1]), dir_fd=parent):
            raise EngineError(f"cannot replace a folder of a layer: {shown(path[-1])}")
        gone = tuple(self._below.take(path))
        self.made.difference_update(gone)
        return gone


def shown(name: bytes) -> str:
    """A name from an image, made harmless for a message."""
    return ascii(name[:200].decode("utf-8", "backslashreplace"))
