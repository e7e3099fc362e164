"""Unpack a layer tar into a folder as an overlayfs layer, never writing outside that folder.

Whiteouts (image-spec, layer.md) become overlayfs's own: a char device 0:0, and the xattr
`overlay.opaque` (the kernel's Documentation/filesystems/overlayfs.rst). What a name may be, and
what a later entry of the same name does, is as in `images.layers`, which indexes the same tars.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minify.errors import BuildError, EngineError, MinifyError, Unsupported
from minify.images.limits import DEFAULT, Limits
from minify.images.span import Span
from minify.images.tar_read import Member, members
from minify.store.confined import FOLDER, Confined, Parts, shown

CHUNK = 1 << 20
DEPTH = 256
PATH = 3500  # bytes; with the store's own folder before it a path has to stay below PATH_MAX
MAX_ID = 2**32 - 2
WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Overlayfs's own marks would redirect it, the others describe a host and not an image.
NEVER_SET = ("trusted.overlay.", "user.overlay.", "security.selinux", "security.ima",
             "security.evm", "security.apparmor", "security.SMACK64")  # fmt: skip


@dataclass
class _Work:
    """A layer being unpacked: where to, from where, and what is to be done at the end."""

    to: Confined
    tar: Span
    source: int
    opaque: str
    rootless: bool
    times: dict[Parts, int] = field(default_factory=dict)
    hidden: set[Parts] = field(default_factory=set)
    digests: dict[Parts, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Unpacked:
    """What is known of an unpacked layer: folders it has only as parents, sorted; SHA-256 by file.

    Files that later entries replaced may be among the latter.
    """

    implied: tuple[str, ...]
    digests: Mapping[str, bytes]


def unpack(
    tar: Span, folder: Path | str, *, rootless: bool = False, limits: Limits = DEFAULT
) -> Unpacked:
    """Unpack an uncompressed layer tar.

    `rootless` marks opaque folders for mounts in a user namespace. Raises EngineError for a layer
    that is damaged, hostile or beyond the limits, BuildError when the device is full.
    """
    limits.check_bytes(tar.size)
    name, count = b"", 0
    opaque = "user.overlay.opaque" if rootless else "trusted.overlay.opaque"
    source = os.open(tar.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Confined(os.fsencode(folder)) as to:
            work = _Work(to, tar, source, opaque, rootless)
            for member in members(tar):
                name, count = member.name, count + 1
                if count > limits.max_entries:
                    raise EngineError(f"a layer has more than {limits.max_entries} entries")
                _member(work, member)
            # What the layer does not say is the same whenever it is unpacked.
            for path, seconds in {**dict.fromkeys(to.made, 0), **work.times}.items():
                os.utime(to.folder(path)[0], ns=(seconds, seconds))
            implied = tuple(sorted(_name(path) for path in to.made))
            return Unpacked(implied, {_name(p): d for p, d in work.digests.items()})
    except (ValueError, OverflowError) as error:
        raise EngineError(f"damaged layer, at {shown(name)}: {error}") from error
    except OSError as error:
        raise _explained(error, name) from error
    finally:
        os.close(source)


def _name(path: Parts) -> str:
    return "/" + os.fsdecode(b"/".join(path))


def _explained(error: OSError, name: bytes) -> MinifyError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildError("no space left in the layer store", hint="make room, or run: minify gc")
    return EngineError(f"cannot unpack {shown(name)}: {error.strerror or error}")


def _member(work: _Work, member: Member) -> None:
    parts = _parts(member.name)
    if not parts:
        if member.type != b"5":
            raise EngineError("a layer replaces the root directory by a file")
        _dress(work.to.root, member)
        work.times[()] = member.mtime * 10**9
        return
    parent, where = work.to.folder(parts[:-1])
    path = (*where, parts[-1])
    # Through links of the layer a name may lie deeper than it says.
    if len(path) > DEPTH or sum(map(len, path)) + len(path) > PATH:
        raise EngineError(f"a layer has a name too many folders deep: {shown(member.name)}")
    if parts[-1].startswith(WHITEOUT):
        _whiteout(work, parent, path)
    elif member.type == b"5":
        _directory(work, parent, path, member)
    else:
        _other(work, parent, path, member)


def _parts(name: bytes) -> Parts:
    parts = tuple(p for p in name.split(b"/") if p not in (b"", b"."))
    if b".." in parts:
        parts = _without_dots(name, parts)
    if len(parts) > DEPTH:
        raise EngineError(f"a layer has a name too many folders deep: {shown(name)}")
    return parts


def _without_dots(name: bytes, parts: Parts) -> Parts:
    clean: list[bytes] = []
    for part in parts:
        if part != b"..":
            clean.append(part)
        elif clean:
            clean.pop()
        else:
            raise EngineError(f"a layer names a path outside the image: {shown(name)}")
    return tuple(clean)


def _whiteout(work: _Work, parent: int, path: Parts) -> None:
    if path[-1] == OPAQUE:
        os.setxattr(parent, work.opaque, b"y")
        return
    hidden = path[-1].removeprefix(WHITEOUT)
    if hidden.startswith(WHITEOUT):
        return  # AUFS's own metadata, which no runtime unpacks
    if hidden in (b"", b".", b".."):
        raise EngineError(f"a layer has an impossible whiteout: {shown(path[-1])}")
    work.hidden.add((*path[:-1], hidden))
    try:
        # The kernel lets anybody make this one device (mknod(2)).
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
    except FileExistsError:
        # It hides what is below this layer only; the layer's own file of that name stays.
        if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
            _make_opaque(work, parent, hidden)


def _make_opaque(work: _Work, parent: int, name: bytes) -> None:
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        os.setxattr(fd, work.opaque, b"y")
    finally:
        os.close(fd)


def _directory(work: _Work, parent: int, path: Parts, member: Member) -> None:
    name = path[-1]
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        _dress(fd, member)
        if path in work.hidden:
            os.setxattr(fd, work.opaque, b"y")
    finally:
        os.close(fd)
    work.to.made.discard(path)
    work.to.note(path)
    work.times[path] = member.mtime * 10**9


def _other(work: _Work, parent: int, path: Parts, member: Member) -> None:
    try:
        _make(work, parent, path, member)
    except FileExistsError:
        # The later entry of a name counts.
        for gone in work.to.remove(parent, path):
            work.times.pop(gone, None)
        _make(work, parent, path, member)


def _make(work: _Work, parent: int, path: Parts, member: Member) -> None:
    name = path[-1]
    if member.type == b"0":
        work.digests[path] = _file(work, parent, name, member)
    elif member.type == b"1":
        _hard_link(work, path, member)
    elif member.type == b"2":
        os.symlink(member.link, name, dir_fd=parent)
        _dress_at(parent, name, member)
    elif member.type in (b"3", b"4", b"6"):
        _special(work, parent, name, member)
    else:
        raise EngineError(f"a layer has a member of unknown type {member.type!r}: {shown(name)}")


def _file(work: _Work, parent: int, name: bytes, member: Member) -> bytes:
    """Write a file; returns the SHA-256 of its content."""
    digest = hashlib.sha256()
    fd = os.open(name, CREATE, 0o600, dir_fd=parent)
    try:
        at, left = work.tar.offset + member.offset, member.size
        while left:
            data = os.pread(work.source, min(left, CHUNK), at)
            if not data:
                raise EngineError(f"{work.tar.path} is cut short", hint="copy or save it again")
            written = os.write(fd, data)
            digest.update(data[:written])
            at, left = at + written, left - written
        _dress(fd, member)
        os.utime(fd, ns=(member.mtime * 10**9, member.mtime * 10**9))
        return digest.digest()
    finally:
        os.close(fd)


def _hard_link(work: _Work, path: Parts, member: Member) -> None:
    parts = _parts(member.link)
    if not parts:
        raise EngineError(f"a layer has a hard link to its root: {shown(member.name)}")
    folder, real = work.to.folder(parts[:-1])
    source = os.dup(folder)
    try:
        parent, _ = work.to.folder(path[:-1])
        found = os.stat(parts[-1], dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise EngineError(f"a layer has a hard link to a folder: {shown(member.name)}")
        os.link(parts[-1], path[-1], src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        work.digests.pop(path, None)
        if known := work.digests.get((*real, parts[-1])):
            work.digests[path] = known
    except FileNotFoundError as error:
        raise EngineError(
            f"hard link {shown(member.name)} leads to {shown(member.link)}, not a file of its layer"
        ) from error
    finally:
        os.close(source)


def _special(work: _Work, parent: int, name: bytes, member: Member) -> None:
    kinds = {b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"6": stat.S_IFIFO}
    try:
        os.mknod(name, kinds[member.type] | 0o600, os.makedev(*member.device), dir_fd=parent)
    except PermissionError:
        if not work.rootless:
            raise
        return  # nobody can make a device in a user namespace, nor could the image use it there
    _dress_at(parent, name, member)


# Owner first, then the rest: chown(2) drops set-uid bits and file capabilities.


def _dress(fd: int, member: Member) -> None:
    os.fchown(fd, _id(member.uid), _id(member.gid))
    os.fchmod(fd, member.mode)
    if member.pax:
        _set_xattrs(member, fd)


def _dress_at(parent: int, name: bytes, member: Member) -> None:
    os.chown(name, _id(member.uid), _id(member.gid), dir_fd=parent, follow_symlinks=False)
    if member.type != b"2":
        os.chmod(name, member.mode, dir_fd=parent)
    if member.pax:
        _set_xattrs(member, b"/proc/self/fd/%d/%s" % (parent, name))
    when = member.mtime * 10**9
    os.utime(name, ns=(when, when), dir_fd=parent, follow_symlinks=False)


def _id(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise ValueError(f"owner {number} out of range")
    return number


def _set_xattrs(member: Member, place: int | bytes) -> None:
    for name, value in member.xattrs:
        if name.startswith(NEVER_SET):
            continue
        try:
            os.setxattr(place, name, value, follow_symlinks=isinstance(place, int))
        except OSError as error:
            if name == "security.capability":
                raise Unsupported(
                    f"cannot store the capabilities of {shown(member.name)}: {error.strerror}",
                    hint="put the cache (MINIFY_HOME) on a file system with extended attributes",
                ) from error
