"""Who a container runs as: Docker's forms of USER, looked up in the image's own files.

`name`, `uid`, `name:group`, `uid:gid` and mixtures. A number is always an ID, as in Docker, even
where it is somebody's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from minify.errors import EngineError, MinifyError
from minify.tree import Tree

DIGITS = re.compile(r"[0-9]{1,20}")
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
    number = _number(wanted)
    for row in _rows(tree, "/etc/passwd", 6):
        uid, gid = _number(row[2]), _number(row[3])
        if uid is None or gid is None:
            continue
        if uid == number or (number is None and row[0] == wanted):
            return Identity(uid, gid, (), row[5], row[0])
    if number is None:
        raise EngineError(
            f"user {wanted} is not in the image's /etc/passwd", hint="name one with --user UID"
        )
    return Identity(number)


def _group(tree: Tree, wanted: str) -> int:
    number = _number(wanted)
    if number is not None:
        return number
    for row in _rows(tree, "/etc/group", 3):
        gid = _number(row[2])
        if gid is not None and row[0] == wanted:
            return gid
    raise EngineError(
        f"group {wanted} is not in the image's /etc/group", hint="name one with --user UID:GID"
    )


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
    return int(text) if DIGITS.fullmatch(text) and int(text) <= LARGEST else None
