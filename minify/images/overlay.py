"""Read the squashed tree of an image from overlayfs layer directories, copying nothing.

The rules are those of the kernel's Documentation/filesystems/overlayfs.rst: whiteouts are char
devices 0:0 (or empty files marked by an xattr), opaque directories hide what is below them. Layers
are merged from the top down, directory by directory, so what is hidden is never even looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from minify.errors import EngineError, Unsupported
from minify.model import Entry, Kind
from minify.tree import Tree

# `trusted` in the initial user namespace, `user` under the mount option userxattr.
MARKS = ("trusted.overlay.", "user.overlay.")
# Labels of the host's security modules: they describe this machine, not the image.
HOST_XATTRS = frozenset(
    {"security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64",
     "system.nfs4_acl"}
)  # fmt: skip
KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIR,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}

Source = tuple[int, bytes]  # a layer's index and the host directory in it
Xattrs = tuple[tuple[str, bytes], ...]


@dataclass
class _Scan:
    """The merge under way. `shared` keeps one object per equal small value, to save memory."""

    entries: dict[str, Entry] = field(default_factory=dict)
    groups: dict[tuple[int, int, int], list[str]] = field(default_factory=dict)
    shared: dict[object, object] = field(default_factory=dict)

    def same(self, number: int) -> int:
        """Return the one object kept for a number."""
        return self.shared.setdefault(number, number)  # type: ignore[return-value]


def read_overlay(layer_dirs: Sequence[Path]) -> Tree:
    """Merge layer directories, bottom first, into a tree whose opener reads them in place.

    Reading `trusted.*` marks takes CAP_SYS_ADMIN. Raises PermissionError when a directory may not
    be read, Unsupported for overlayfs features only the kernel can follow (redirect_dir, metacopy),
    EngineError when the layers are damaged.
    """
    roots = tuple(os.fsencode(directory) for directory in layer_dirs)
    try:
        entries = _merge(roots)
    except PermissionError:
        raise
    except OSError as error:
        raise EngineError(
            f"cannot read the layer directory {os.fsdecode(error.filename or b'?')}: "
            f"{error.strerror}",
            hint="the engine's store may be damaged, or the image was removed meanwhile",
        ) from error

    def opener(entry: Entry) -> BinaryIO:
        return _open(roots[entry.layer] + entry.path.encode("utf-8", "surrogateescape"))

    return Tree(entries, opener)


def _open(path: bytes) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise EngineError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error
    return os.fdopen(fd, "rb")


def _merge(roots: Sequence[bytes]) -> dict[str, Entry]:
    scan = _Scan()
    sources = list(_root_sources(roots))
    layer, top = sources[0] if sources else (0, b"")
    if sources:
        _take(scan, "/", layer, top, os.lstat(top), _xattrs(top)[0])
    todo: list[tuple[str, list[Source]]] = [("", sources)]
    while todo:
        prefix, sources = todo.pop()
        todo.extend(_directory(scan, prefix, sources).items())
    for number, paths in enumerate(scan.groups.values(), 1):
        inode = number if len(paths) > 1 else 0  # a last name alone is an ordinary file
        for path in paths:
            scan.entries[path] = replace(scan.entries[path], inode=inode)
    return scan.entries


def _root_sources(roots: Sequence[bytes]) -> Iterator[Source]:
    for layer in reversed(range(len(roots))):
        yield layer, roots[layer]
        if _opaque(_xattrs(roots[layer])[1]):
            return


def _directory(scan: _Scan, prefix: str, sources: list[Source]) -> dict[str, list[Source]]:
    """Take the visible names of one directory (`sources` top first); return its directories."""
    below: dict[str, list[Source]] = {}
    closed: set[bytes] = set()
    for layer, host in sources:
        with os.scandir(host) as listing:
            for item in listing:
                # A layer cannot hold a file of such a name: it would be a whiteout there.
                if item.name not in closed and not item.name.startswith(b".wh."):
                    _name(scan, prefix, layer, item, (below, closed))
    return below


def _name(
    scan: _Scan,
    prefix: str,
    layer: int,
    item: os.DirEntry[bytes],
    state: tuple[dict[str, list[Source]], set[bytes]],
) -> None:
    """Decide on one name in one layer; `closed` names are hidden in all layers below."""
    below, closed = state
    path = f"{prefix}/{item.name.decode('utf-8', 'surrogateescape')}"
    is_dir = item.is_dir(follow_symlinks=False)
    if path in below and not is_dir:
        closed.add(item.name)  # hides directories below it, but is itself hidden by one above
        return
    found = item.stat(follow_symlinks=False)
    xattrs, marks = _xattrs(item.path)
    _refuse_unfollowable(path, marks)
    if not is_dir or _opaque(marks):
        closed.add(item.name)
    if path in below:
        below[path].append((layer, item.path))
        return
    if not _whiteout(found, marks):
        _take(scan, path, layer, item.path, found, xattrs)
    if is_dir:
        below[path] = [(layer, item.path)]


def _take(
    scan: _Scan, path: str, layer: int, host: bytes, found: os.stat_result, xattrs: Xattrs
) -> None:
    kind = KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:  # a socket: it cannot be stored in a layer either
        return
    device = (0, 0)
    if kind in (Kind.CHAR, Kind.BLOCK):
        device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    link = os.readlink(host).decode("utf-8", "surrogateescape") if kind is Kind.SYMLINK else ""
    if found.st_nlink > 1 and kind is not Kind.DIR:
        scan.groups.setdefault((layer, found.st_dev, found.st_ino), []).append(path)
    scan.entries[path] = Entry(
        path=path,
        kind=kind,
        mode=scan.same(stat.S_IMODE(found.st_mode)),
        uid=scan.same(found.st_uid),
        gid=scan.same(found.st_gid),
        size=found.st_size if kind is Kind.FILE else 0,
        mtime=scan.same(int(found[stat.ST_MTIME])),
        link=link,
        xattrs=xattrs,
        layer=layer,
        device=device,
    )


def _xattrs(host: bytes) -> tuple[Xattrs, dict[str, bytes]]:
    """Read a file's xattrs: those of the image, and overlayfs's own marks by short name."""
    try:
        names = os.listxattr(host, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return (), {}
        raise
    if not names:
        return (), {}
    kept: list[tuple[str, bytes]] = []
    marks: dict[str, bytes] = {}
    for name in sorted(names):
        if name in HOST_XATTRS:
            continue
        value = os.getxattr(host, name, follow_symlinks=False)
        if name.startswith(MARKS):
            marks[name.partition(".overlay.")[2]] = value
        else:
            kept.append((name, value))
    return tuple(kept), marks


def _opaque(marks: dict[str, bytes]) -> bool:
    return marks.get("opaque") == b"y"


def _whiteout(found: os.stat_result, marks: dict[str, bytes]) -> bool:
    return (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0) or (
        "whiteout" in marks and stat.S_ISREG(found.st_mode) and found.st_size == 0
    )


def _refuse_unfollowable(path: str, marks: dict[str, bytes]) -> None:
    for mark in ("redirect", "metacopy"):
        if mark in marks:
            raise Unsupported(
                f"the engine's layers use the overlayfs feature {mark} (at {path})",
                hint="read the image from an archive instead: docker save",
            )
