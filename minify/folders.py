"""Folders that are kept as a whole: which may be, and how much."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from minify.model import Entry, Kind
from minify.tree import Tree

# hier(7): folders many packages share; no single use of one says anything about the rest of it.
_SHARED = """
/ /bin /boot /dev /etc /etc/conf.d /etc/default /etc/init.d /etc/ssl /etc/ssl/certs /home /lib
/lib32 /lib64 /media /mnt /opt /proc /root /run /run/lock /sbin /srv /sys /tmp /usr /usr/bin
/usr/include /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/local /usr/local/bin /usr/local/etc
/usr/local/lib /usr/local/lib64 /usr/local/libexec /usr/local/sbin /usr/local/share /usr/sbin
/usr/share /usr/share/java /usr/share/maven-repo /usr/src /var /var/cache /var/lib /var/local
/var/log /var/mail /var/opt /var/run /var/spool /var/tmp
"""
SHARED = frozenset(_SHARED.split())
# Under these a program's folder is one of many thousands; the kernel's own are not files at all.
NEVER = ("/proc", "/sys", "/dev")
# What version control, editors and package managers leave; no program reads it at run time.
CLUTTER = frozenset({".git", ".hg", ".svn", ".bzr", ".github", ".gitignore", ".gitattributes",
                     ".dockerignore", ".idea", ".vscode", ".DS_Store"})  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """How much of a folder may be kept whole: number of entries and size in bytes."""

    files: int = 20_000
    size: int = 256 * 1024 * 1024


def is_shared(tree: Tree, path: str) -> bool:
    """Whether a folder is one that many packages share (also through symlinks, as /bin)."""
    clean = posixpath.normpath(path)
    real = tree.real(clean) or clean
    parts = clean.split("/")
    triplet = len(parts) == 4 and parts[1:3] == ["usr", "lib"] and parts[3].count("-") >= 2
    return bool({clean, real} & SHARED) or real.startswith(NEVER) or triplet


def whole(
    tree: Tree,
    directory: str,
    bounds: Bounds,
    skip: Callable[[Entry], bool] = lambda _entry: False,
) -> tuple[str, ...] | None:
    """Every path below a real directory, without clutter; None when it is beyond the bounds.

    `skip` leaves entries out, directories with all they hold.
    """
    found: list[str] = []
    size = 0
    for entry in _walk(tree, directory, skip):
        found.append(entry.path)
        size += entry.size if entry.kind is Kind.FILE else 0
        if len(found) > bounds.files or size > bounds.size:
            return None
    return tuple(found)


def _walk(tree: Tree, directory: str, skip: Callable[[Entry], bool]) -> Iterator[Entry]:
    todo = [iter(tree.children(directory))]
    way = ["" if directory == "/" else directory]
    while todo:  # no recursion: how deep it goes is the image's choice
        name = next(todo[-1], None)
        if name is None:
            todo.pop()
            way.pop()
            continue
        entry = tree.entries[f"{way[-1]}/{name}"]
        if name in CLUTTER or skip(entry):
            continue
        yield entry
        if entry.kind is Kind.DIR:
            todo.append(iter(tree.children(entry.path)))
            way.append(entry.path)


def named(names: Collection[str], suffixes: tuple[str, ...] = ()) -> Callable[[Entry], bool]:
    """A `skip` that leaves out entries of these names, or with these endings."""

    def skip(entry: Entry) -> bool:
        name = posixpath.basename(entry.path)
        return name in names or (bool(suffixes) and name.endswith(suffixes))

    return skip


def own_root(tree: Tree, path: str, shelves: Collection[str]) -> str | None:
    """The highest folder around a file that is its application's own, not a shared one.

    `shelves` are folders that hold one application or library per sub-folder. A file directly in
    /srv, /opt or /var/www makes that folder the application's; elsewhere the answer is None.
    """
    at, below = posixpath.dirname(path), None
    while at not in ("/", ""):
        if is_shared(tree, at) or at in shelves:
            return below or (at if at in ("/srv", "/opt", "/var/www") else None)
        at, below = posixpath.dirname(at), at
    return below
