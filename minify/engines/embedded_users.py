"""Who a container runs as: Docker's forms of USER, looked up in the image's own files.

`name`, `uid`, `name:group`, `uid:gid` and mixtures. Names win over numbers, as in Docker: a user
whose *name* is a number is found by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minify.errors import EngineError, MinifyError
from minify.tree import Tree

LARGEST = 2**32 - 2  # (uid_t)-1 means "no change" to chown(2)
READ = 16 << 20  # bytes; a longer passwd file is read to here


@dataclass(frozen=True)
class Identity:
    """A resolved user: numbers, supplementary groups, home directory, login name if it has one."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""


def identity(tree: Tree, user: str) -> Identity:
    """Resolve a USER string; raises EngineError when a name is not in the image."""
    wanted, _, group = user.partition(":")
    found = _user(tree, wanted or "0")
    if group:
        gid = _group(tree, group)
        # With a group named, Docker grants no supplementary groups.
        return Identity(found.uid, gid, (gid,), found.home, found.name)
    groups = {found.gid, *_memberships(tree, found.name)} if found.name else {found.gid}
    return Identity(found.uid, found.gid, tuple(sorted(groups)), found.home, found.name)


def _user(tree: Tree, wanted: str) -> Identity:
    rows = list(_rows(tree, "/etc/passwd", 6))
    for matches in (lambda r: r[0] == wanted, lambda r: r[2] == wanted):
        for row in filter(matches, rows):
            if _number(row[2]) is not None and _number(row[3]) is not None:
                return Identity(int(row[2]), int(row[3]), (), row[5] or "/", row[0])
    number = _number(wanted)
    if number is None:
        raise EngineError(
            f"user {wanted} is not in the image's /etc/passwd", hint="name one with --user UID"
        )
    return Identity(number)


def _group(tree: Tree, wanted: str) -> int:
    rows = list(_rows(tree, "/etc/group", 3))
    for matches in (lambda r: r[0] == wanted, lambda r: r[2] == wanted):
        for row in filter(matches, rows):
            if (number := _number(row[2])) is not None:
                return number
    number = _number(wanted)
    if number is None:
        raise EngineError(
            f"group {wanted} is not in the image's /etc/group", hint="name one with --user UID:GID"
        )
    return number


def _memberships(tree: Tree, name: str) -> Iterator[int]:
    for row in _rows(tree, "/etc/group", 4):
        gid = _number(row[2])
        if gid is not None and name in row[3].split(","):
            yield gid


def _rows(tree: Tree, path: str, fields: int) -> Iterator[list[str]]:
    if not tree.is_file(path):
        return
    try:
        text = tree.read(path, READ).decode("utf-8", "surrogateescape")
    except (OSError, MinifyError):
        return
    for line in text.splitlines():
        row = line.strip().split(":")
        if len(row) >= fields and not line.startswith("#"):
            yield row


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= LARGEST else None
