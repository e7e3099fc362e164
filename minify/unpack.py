"""Unpack a layer tar into a folder as an overlayfs layer, never writing outside that folder.

Every name is walked component by component from a descriptor of the folder, without following a
symlink in the kernel (openat(2), O_NOFOLLOW): a symlink on the way is read and resolved by us, inside
the folder. Whiteouts (image-spec, layer.md) become overlayfs's own: a char device 0:0, and the xattr
`overlay.opaque` (Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from minify.errors import BuildError, EngineError, Unsupported

CHUNK = 1 << 20
OPEN_DIRS = 64
MAX_LINKS = 40
MAX_ID = 2**32 - 2
XATTR = "SCHILY.xattr."
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Overlayfs's own marks would redirect it, the others describe a host and not an image.
NEVER_SET = ("trusted.overlay.", "user.overlay.", "security.selinux", "security.ima",
             "security.evm", "security.apparmor", "security.SMACK64")  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """How much a layer may hold, so that a bomb ends early: bytes, names, depth of folders."""

    size: int = 64 << 30
    names: int = 5_000_000
    depth: int = 256


@dataclass
class _Target:
    """A folder being filled: open directories by path, and the times to set at the end."""

    root: int
    opaque: str
    privileged: bool
    bounds: Bounds
    open_dirs: OrderedDict[str, int] = field(default_factory=OrderedDict)
    times: dict[str, int] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    size: int = 0
    names: int = 0


def unpack(stream: BinaryIO, folder: Path, *, rootless: bool = False, bounds: Bounds) -> int:
    """Unpack an uncompressed layer tar from a forward-only stream; returns the bytes of its files.

    `rootless` marks opaque folders for mounts in a user namespace. Raises EngineError for a layer
    that is damaged, hostile or too big, BuildError when the device is full.
    """
    root = os.open(folder, FOLDER)
    opaque = "user.overlay.opaque" if rootless else "trusted.overlay.opaque"
    target = _Target(root, opaque, not rootless, bounds)
    name = "?"
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, errorlevel=2) as archive:
            while (member := archive.next()) is not None:
                name = member.name
                _count(target, member)
                _member(target, archive, member)
                archive.members = []  # it would keep them all; type: ignore[attr-defined]
        _set_times(target)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise EngineError(f"damaged layer, after {_shown(name)}: {error}") from error
    except OSError as error:
        raise _explained(error, name) from error
    finally:
        _forget_dirs(target)
        os.close(root)
    return target.size


def _explained(error: OSError, name: str) -> EngineError | BuildError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildError(
            "no space left in the layer store", hint="make room, or run: minify gc"
        )
    return EngineError(f"cannot unpack {_shown(name)}: {error.strerror or error}")


def _shown(name: str) -> str:
    return repr(name[:200])


def _hostile(name: str, why: str) -> EngineError:
    return EngineError(f"refused layer entry {_shown(name)}: {why}")


def _count(target: _Target, member: tarfile.TarInfo) -> None:
    target.names += 1
    if member.isreg():
        target.size += member.size
    if target.size > target.bounds.size or target.names > target.bounds.names:
        raise EngineError(
            f"layer is bigger than the limit of {target.bounds.size} bytes "
            f"or {target.bounds.names} names"
        )


def _member(target: _Target, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    parts = _parts(target, member.name)
    if not parts:
        if member.isdir():
            _dress(target, target.root, member)
            target.times[""] = _mtime(member)
        return
    name = parts[-1]
    parent, where = _folder(target, parts[:-1])
    path = f"{where}/{name}"
    if name.startswith(WHITEOUT):
        _whiteout(target, parent, where, name)
    elif member.isdir():
        _directory(target, parent, path, member)
    else:
        _other(target, archive, member, (parent, name, path))


def _parts(target: _Target, name: str) -> list[str]:
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise _hostile(name, "it leads out of the layer")
    if len(parts) > target.bounds.depth:
        raise _hostile(name, "too many folders deep")
    return parts


# ------------------------------------------------------------------ walking


def _folder(target: _Target, parts: list[str]) -> tuple[int, str]:
    """Open a folder in the layer, making what is missing; returns it and its real path."""
    path = "".join(f"/{p}" for p in parts)
    if not parts:
        return target.root, ""
    if (known := target.open_dirs.get(path)) is not None:
        target.open_dirs.move_to_end(path)
        return known, path
    todo, at, links = parts[::-1], list[str](), 0
    fd = target.root
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = at[:-1]
            fd, _ = _folder(target, at)
            continue
        link = _step(target, fd, at, name)
        if isinstance(link, int):
            fd, at = link, [*at, name]
            continue
        links += 1
        if links > MAX_LINKS:
            raise _hostile(path, "too many symlinks")
        at = [] if link.startswith("/") else at
        todo.extend(link.split("/")[::-1])
        fd, _ = _folder(target, at)
    return fd, "".join(f"/{p}" for p in at)


def _step(target: _Target, parent: int, at: list[str], name: str) -> int | str:
    """Enter one name of a real folder: a descriptor, or the text of the symlink it is."""
    path = "".join(f"/{p}" for p in (*at, name))
    if (known := target.open_dirs.get(path)) is not None:
        return known
    try:
        fd = os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            raise _hostile(path, "a file is used as a folder") from error
        return os.readlink(name, dir_fd=parent)
    target.open_dirs[path] = fd
    if len(target.open_dirs) > OPEN_DIRS:
        _close_oldest(target, path)
    return fd


def _close_oldest(target: _Target, path: str) -> None:
    for old in list(target.open_dirs)[: OPEN_DIRS // 2]:
        if not (path + "/").startswith(old + "/"):
            os.close(target.open_dirs.pop(old))


def _forget_dirs(target: _Target) -> None:
    while target.open_dirs:
        os.close(target.open_dirs.popitem()[1])


# ------------------------------------------------------------------ making


def _whiteout(target: _Target, parent: int, where: str, name: str) -> None:
    if name == OPAQUE:
        os.setxattr(parent, target.opaque, b"y")
        return
    hidden = name.removeprefix(WHITEOUT)
    if hidden.startswith(WHITEOUT):
        return  # aufs's own book-keeping
    if hidden in ("", ".", ".."):
        raise _hostile(f"{where}/{name}", "a whiteout of the folder itself")
    target.hidden.add(f"{where}/{hidden}")
    try:
        # The kernel lets anybody make this one device (mknod(2)).
        os.mknod(hidden, stat.S_IFCHR | 0o000, os.makedev(0, 0), dir_fd=parent)
    except FileExistsError:
        # It hides what is below this layer only; the layer's own file of that name stays.
        found = os.stat(hidden, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            with _opened(parent, hidden) as fd:
                os.setxattr(fd, target.opaque, b"y")


@contextlib.contextmanager
def _opened(parent: int, name: str):  # type: ignore[no-untyped-def]
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _directory(target: _Target, parent: int, path: str, member: tarfile.TarInfo) -> None:
    name = path.rpartition("/")[2]
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
    with _opened(parent, name) as fd:
        _dress(target, fd, member)
        if path in target.hidden:
            os.setxattr(fd, target.opaque, b"y")
    target.times[path] = _mtime(member)


def _other(
    target: _Target,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    place: tuple[int, str, str],
) -> None:
    parent, name, path = place
    for attempt in (1, 2):
        try:
            if member.isreg():
                _file(target, archive, member, parent, name)
            elif member.islnk():
                _hard_link(target, member, parent, name)
            elif member.issym():
                os.symlink(member.linkname, name, dir_fd=parent)
                _dress_at(target, member, parent, name)
            else:
                _special(target, member, parent, name)
            return
        except FileExistsError:
            if attempt == 2:
                raise
            _remove(target, parent, name, path)


def _remove(target: _Target, parent: int, name: str, path: str) -> None:
    """Make room for a later entry of the same name: the last one counts."""
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        below = [known for known in target.open_dirs if (known + "/").startswith(path + "/")]
        for known in below:
            os.close(target.open_dirs.pop(known))
        shutil.rmtree(name, dir_fd=parent)
        for known in [t for t in target.times if (t + "/").startswith(path + "/")]:
            del target.times[known]
    else:
        os.unlink(name, dir_fd=parent)


def _file(
    target: _Target, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str
) -> None:
    fd = os.open(name, CREATE, 0o600, dir_fd=parent)
    try:
        if member.size:
            _content(archive, member, fd)
        _dress(target, fd, member)
        seconds = _mtime(member)
        os.utime(fd, ns=(seconds, seconds))
    finally:
        os.close(fd)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, fd: int) -> None:
    source = archive.extractfile(member)
    if source is None:
        return
    raw = source.raw if hasattr(source, "raw") else source
    left = member.size
    while left:
        data = raw.read(min(left, CHUNK))
        if not data:
            raise EOFError("unexpected end of data")
        left -= len(data)
        if member.sparse and not any(data):
            os.lseek(fd, len(data), os.SEEK_CUR)
            continue
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    if member.sparse:
        os.ftruncate(fd, member.size)


def _hard_link(target: _Target, member: tarfile.TarInfo, parent: int, name: str) -> None:
    parts = _parts(target, member.linkname)
    if not parts:
        raise _hostile(member.name, "a hard link to the root")
    source, _ = _folder(target, parts[:-1])
    # Opening the other folder may have closed ours.
    parent, _ = _folder(target, _parts(target, member.name)[:-1])
    try:
        found = os.stat(parts[-1], dir_fd=source, follow_symlinks=False)
    except FileNotFoundError as error:
        raise _hostile(member.name, "a hard link to a file the layer does not have") from error
    if stat.S_ISDIR(found.st_mode):
        raise _hostile(member.name, "a hard link to a folder")
    if parts == _parts(target, member.name):
        return
    os.link(parts[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)


def _special(target: _Target, member: tarfile.TarInfo, parent: int, name: str) -> None:
    if member.isfifo():
        kind, device = stat.S_IFIFO, 0
    elif member.ischr() or member.isblk():
        kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
        device = os.makedev(member.devmajor, member.devminor)
    else:
        raise _hostile(member.name, f"entry of unknown type {member.type!r}")
    try:
        os.mknod(name, kind | 0o600, device, dir_fd=parent)
    except PermissionError:
        if target.privileged:
            raise
        return  # nobody can make a device in a user namespace, nor could the image use it there
    _dress_at(target, member, parent, name)


# ------------------------------------------------------------------ owners, modes, attributes


def _dress(target: _Target, fd: int, member: tarfile.TarInfo) -> None:
    os.fchown(fd, _id(member.uid), _id(member.gid))
    _set_xattrs(member, fd)
    # After the owner: chown(2) drops the set-uid bits. A capability would go, too: see the order.
    os.fchmod(fd, member.mode & 0o7777)


def _dress_at(target: _Target, member: tarfile.TarInfo, parent: int, name: str) -> None:
    os.chown(name, _id(member.uid), _id(member.gid), dir_fd=parent, follow_symlinks=False)
    _set_xattrs(member, f"/proc/self/fd/{parent}/{name}")
    if not member.issym():
        os.chmod(name, member.mode & 0o7777, dir_fd=parent)
    seconds = _mtime(member)
    os.utime(name, ns=(seconds, seconds), dir_fd=parent, follow_symlinks=False)


def _id(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise ValueError(f"owner {number} out of range")
    return number


def _mtime(member: tarfile.TarInfo) -> int:
    return max(-(2**31), min(int(member.mtime), 2**34)) * 10**9


def _set_xattrs(member: tarfile.TarInfo, place: int | str) -> None:
    for key, value in member.pax_headers.items():
        name = key.removeprefix(XATTR)
        if name == key or name.startswith(NEVER_SET):
            continue
        data = value.encode("utf-8", "surrogateescape")
        try:
            if isinstance(place, int):
                os.setxattr(place, name, data)
            else:
                os.setxattr(place, name, data, follow_symlinks=False)
        except OSError as error:
            if name == "security.capability":
                raise Unsupported(
                    f"cannot store the file capabilities of {_shown(member.name)}: {error.strerror}",
                    hint="put the cache (MINIFY_HOME) on a file system with extended attributes",
                ) from error


def _set_times(target: _Target) -> None:
    # Deepest first does not matter: setting a time changes no other folder's.
    for path, seconds in target.times.items():
        parts = [p for p in path.split("/") if p]
        fd, _ = _folder(target, parts)
        os.utime(fd, ns=(seconds, seconds))
