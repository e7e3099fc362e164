"""What may be wrong in a layer tar that minify wrote."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

from minify.images.span import Span
from minify.images.tar_read import Member, members

TYPES = b"0123456"
SHOWN_MAX = 1000


@dataclass
class _Seen:
    """The members so far: names, directories, files; the last name to compare the order with."""

    names: set[bytes] = field(default_factory=set)
    directories: set[bytes] = field(default_factory=lambda: {b""})
    files: set[bytes] = field(default_factory=set)
    last: bytes = b""


def layer_violations(tar: Span) -> Iterator[tuple[str, str]]:
    """Yield (path, message) for every fault, up to 1000; raises TarError for a damaged tar."""
    seen, count = _Seen(), 0
    for member in members(tar):
        for message in _member(seen, member):
            yield member.name.decode("utf-8", "backslashreplace"), message
            count += 1
            if count >= SHOWN_MAX:
                return


def _member(seen: _Seen, member: Member) -> Iterator[str]:
    is_dir = member.type == b"5"
    name = b"" if member.name == b"./" else member.name.rstrip(b"/") if is_dir else member.name
    yield from _name(name, member)
    if name in seen.names:
        yield "appears twice"
    elif seen.last and name < seen.last:
        yield "is out of order"
    parent = name.rpartition(b"/")[0]
    if parent not in seen.directories:
        yield "comes before its parent directory"
    yield from _kind(seen, member)
    seen.names.add(name)
    seen.last = name
    if is_dir:
        seen.directories.add(name)
    elif member.type != b"1":
        seen.files.add(name)


def _name(name: bytes, member: Member) -> Iterator[str]:
    if name.startswith(b"/"):
        yield "has an absolute name"
    elif name and (posixpath.normpath(name) != name or name.split(b"/")[0] == b".."):
        yield "has a name that is not clean"
    if posixpath.basename(name).startswith(b".wh."):
        yield "is a whiteout, in an image without layers below"
    if member.type == b"5" and not member.name.endswith(b"/"):
        yield "is a directory without a final slash"


def _kind(seen: _Seen, member: Member) -> Iterator[str]:
    if member.type not in TYPES:
        yield f"has the unknown type {member.type!r}"
    if member.type == b"1" and member.link not in seen.files:
        yield "is a hard link to a file that does not come before it"
    if member.type == b"2" and not member.link:
        yield "is a symlink to nowhere"
