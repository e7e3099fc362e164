"""Walk and remove what is below a folder, whatever an image or a container put there.

No recursion, one descriptor at a time and no path longer than a name: so any depth goes, also
where a path would be too long for the kernel (PATH_MAX). No symlink is followed. What is mounted
below is neither entered nor emptied. A folder that is moved away meanwhile ends the walk: going up
again leads to another folder than the one it came from.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# ioctl_iflags(2): what makes root itself fail to remove a file.
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
IMMUTABLE, APPEND = 0x10, 0x20
MAX_PATH = 4096  # path_resolution(7), PATH_MAX: nothing can be told about what lies deeper
BATCH = 50_000  # names of one folder held at once

Identity = tuple[int, int]


@dataclass(frozen=True)
class Bounds:
    """How much of a tree is looked at: entries, and bytes of one path."""

    entries: int = 500_000
    path: int = MAX_PATH


DEFAULT = Bounds()


@dataclass
class Walk:
    """The walk of a folder: iterate over it once. `cut`: not all was seen."""

    top: Path
    bounds: Bounds = DEFAULT
    cut: bool = False

    def __iter__(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield path (absolute, seen from the top) and lstat(2), folders before their content."""
        try:
            at = os.open(self.top, FOLDER)
        except OSError:
            return
        try:
            yield from self._all(_Place(at))
        except _Moved:
            self.cut = True

    def _all(self, place: _Place) -> Iterator[tuple[str, os.stat_result]]:
        left = self.bounds.entries
        todo: list[tuple[str, Iterator[str]]] = [("", iter(self._names(place)))]
        try:
            while todo:
                prefix, names = todo[-1]
                name = next(names, None)
                if name is None:
                    todo.pop()
                    if todo:
                        place.up()
                    continue
                left -= 1
                if left < 0:
                    self.cut = True
                    return
                with contextlib.suppress(OSError):  # gone meanwhile
                    found = os.stat(name, dir_fd=place.fd, follow_symlinks=False)
                    path = f"{prefix}/{name}"
                    yield path, found
                    if stat.S_ISDIR(found.st_mode) and self._enter(place, name, path):
                        todo.append((path, iter(self._names(place))))
        finally:
            place.close()

    def _enter(self, place: _Place, name: str, path: str) -> bool:
        if len(path) + 256 > self.bounds.path:
            self.cut = True
            return False
        return place.down(name)

    def _names(self, place: _Place) -> list[str]:
        names, more = place.names(self.bounds.entries)
        self.cut = self.cut or more
        return sorted(names)


class _Moved(Exception):  # noqa: N818 - a finding, not a fault
    """A folder on the way was moved."""


@dataclass
class _Place:
    """Where a walk is: one descriptor, and which folders lead back to the top."""

    fd: int
    way: list[Identity] = field(default_factory=list)
    mount: str = ""

    def down(self, name: str) -> bool:
        """Enter a folder, unless something is mounted there; returns whether it was entered."""
        here = os.fstat(self.fd)
        try:
            below = os.open(name, FOLDER, dir_fd=self.fd)
        except PermissionError:
            if not _permit(self.fd, name):
                return False
            below = os.open(name, FOLDER, dir_fd=self.fd)
        self.mount = self.mount or _mount_id(self.fd)
        # Also where the same device is bound once more.
        if os.fstat(below).st_dev != here.st_dev or _mount_id(below) != self.mount:
            os.close(below)
            return False
        os.close(self.fd)
        self.way.append((here.st_dev, here.st_ino))
        self.fd = below
        return True

    def up(self) -> None:
        """Go back to the folder it came from; raises _Moved where `..` is another one."""
        above = os.open("..", FOLDER, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = above
        found = os.fstat(above)
        if (found.st_dev, found.st_ino) != self.way.pop():
            raise _Moved

    def names(self, most: int) -> tuple[list[str], bool]:
        """Up to so many names in the folder, and whether there are more."""
        found: list[str] = []
        with os.scandir(self.fd) as listing:
            for entry in listing:
                if len(found) >= most:
                    return found, True
                found.append(entry.name)
        return found, False

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def _mount_id(fd: int) -> str:
    """Which mount a descriptor is of (proc(5), fdinfo)."""
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{fd}") as lines:
        return next((line for line in lines if line.startswith("mnt_id")), "")
    return ""


def _permit(parent: int, name: str) -> bool:
    """Let the owner of a folder enter it, as root always may; returns whether that was possible."""
    with contextlib.suppress(OSError):
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{fd}", 0o700)
            return True
        finally:
            os.close(fd)
    return False


# ------------------------------------------------------------------------------------- removing


@dataclass
class _Level:
    """One folder under removal: its name, folders still to be emptied, and what would not go."""

    name: str
    todo: list[str] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)
    listed: bool = False


def remove(path: Path | str, *, dir_fd: int | None = None) -> bool:
    """Remove a file, or a folder with all below it; returns whether it is gone.

    Never raises: what cannot be removed stays. What is mounted below stays as it is.
    """
    parent, name = os.path.split(os.fspath(path).rstrip("/"))
    try:
        above = os.open(parent or ".", FOLDER & ~os.O_NOFOLLOW, dir_fd=dir_fd)
    except OSError:
        return not os.path.lexists(path)
    try:
        return _remove(above, name)
    except (OSError, _Moved):
        return False
    finally:
        os.close(above)


def _remove(above: int, name: str) -> bool:
    if _unlink(above, name):
        return True
    place = _Place(os.dup(above))
    levels = [_Level("")]
    try:
        if not place.down(name):
            return False
        levels.append(_Level(name))
        while len(levels) > 1:
            level = levels[-1]
            child = _next(place, level)
            if child is not None:
                if _enterable(place, child):
                    levels.append(_Level(child))
                else:
                    level.stuck.add(child)
                continue
            levels.pop()
            place.up()
            if not _rmdir(place.fd, level.name):
                levels[-1].stuck.add(level.name)
        return not levels[0].stuck
    finally:
        place.close()


def _enterable(place: _Place, name: str) -> bool:
    with contextlib.suppress(OSError):
        return place.down(name)
    return False


def _next(place: _Place, level: _Level) -> str | None:
    """Remove the files of a folder; returns a folder in it to be emptied next, None when done."""
    while not level.todo:
        if level.listed:
            return None
        names, more = place.names(BATCH + len(level.stuck))
        fresh = [name for name in names if name not in level.stuck]
        level.listed = not more or not fresh
        for name in fresh:
            # Most are files: asking what they are first would cost as much as trying.
            if not _unlink(place.fd, name):
                level.todo.append(name)
    return level.todo.pop()


def _unlink(parent: int, name: str) -> bool:
    """Remove a file, or an empty folder; returns whether it is gone. Raises nothing."""
    for attempt in range(2):
        try:
            os.unlink(name, dir_fd=parent)
            return True
        except FileNotFoundError:
            return True
        except IsADirectoryError:
            return _rmdir(parent, name)
        except OSError as error:
            if attempt or error.errno not in (errno.EPERM, errno.EACCES):
                return False
            if _is_folder(parent, name):  # some kernels say EPERM for a folder (unlink(2), POSIX)
                return _rmdir(parent, name)
            _thaw(parent, name)
    return False


def _rmdir(parent: int, name: str) -> bool:
    for attempt in range(2):
        try:
            os.rmdir(name, dir_fd=parent)
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if attempt or error.errno not in (errno.EPERM, errno.EACCES):
                return False
            _thaw(parent, name)
    return False


def _is_folder(parent: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False


def _thaw(parent: int, name: str) -> None:
    """Take away what keeps the owner from removing a name: chattr(1)'s flags, its folder's mode."""
    with contextlib.suppress(OSError):
        if not os.fstat(parent).st_mode & stat.S_IWUSR:
            os.fchmod(parent, 0o700)
    _without_flags(parent)
    with contextlib.suppress(OSError):
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return  # opening a device may do something
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=parent)
        try:
            _without_flags(fd)
        finally:
            os.close(fd)


def _without_flags(fd: int) -> None:
    with contextlib.suppress(OSError):
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, GET_FLAGS, struct.pack("l", 0)))
        if flags & (IMMUTABLE | APPEND):
            fcntl.ioctl(fd, SET_FLAGS, struct.pack("l", flags & ~(IMMUTABLE | APPEND)))


def size_of(path: Path) -> int:
    """The bytes on disk of the files below a folder (of as many as a walk shows)."""
    return sum(f.st_blocks * 512 for _, f in Walk(path) if not stat.S_ISDIR(f.st_mode))
