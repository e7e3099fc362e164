"""Fixture builders shared by all tests: a dict becomes a tree."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace

from minify.model import Entry, Kind
from minify.tree import Tree, normalise


@dataclass(frozen=True)
class Link:
    """A symlink in a fixture tree."""

    target: str


@dataclass(frozen=True)
class Same:
    """A second name (hard link) of another fixture file."""

    path: str


@dataclass(frozen=True)
class Exec:
    """A file with mode 0755 (or another)."""

    data: bytes
    mode: int = 0o755


Content = bytes | str | Link | Same | Exec | None


def tree(files: Mapping[str, Content]) -> Tree:
    """Build a tree: bytes or str is a file, None a directory; parents are made."""
    entries: dict[str, Entry] = {"/": Entry("/", Kind.DIR, 0o755)}
    data: dict[str, bytes] = {}
    for raw, content in files.items():
        path = normalise(raw)
        for i, char in enumerate(path):
            if char == "/" and i:
                entries.setdefault(path[:i], Entry(path[:i], Kind.DIR, 0o755))
        entries[path], data[path] = _entry(path, content)
    for number, (raw, content) in enumerate(files.items(), 1):
        if isinstance(content, Same):
            target = entries[content.path]
            inode = target.inode or number
            entries[content.path] = replace(target, inode=inode)
            entries[normalise(raw)] = replace(target, path=normalise(raw), inode=inode)
            data[normalise(raw)] = data[content.path]
    return Tree(entries, lambda entry: io.BytesIO(data[entry.path]))


def _entry(path: str, content: Content) -> tuple[Entry, bytes]:
    if content is None:
        return Entry(path, Kind.DIR, 0o755), b""
    if isinstance(content, Link):
        return Entry(path, Kind.SYMLINK, 0o777, link=content.target), b""
    if isinstance(content, Same):
        return Entry(path, Kind.FILE), b""
    mode = content.mode if isinstance(content, Exec) else 0o644
    raw = content.data if isinstance(content, Exec) else content
    raw = raw.encode() if isinstance(raw, str) else raw
    return Entry(path, Kind.FILE, mode, size=len(raw)), raw
