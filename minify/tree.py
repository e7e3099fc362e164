"""A root file system as an immutable mapping, with look-ups that never leave it.

Symlinks are followed inside the mapping only (path_resolution(7)): there is no host path anywhere,
so a resolver cannot leak out of the image.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

from minify.errors import MinifyError
from minify.model import Entry, Kind

MAX_KNOWN = 100_000  # paths remembered; bounds memory to some 20 MB
READ_MAX = 64 << 20  # bytes; larger files are read in pieces, or are data
SEARCHED_MAX = 20_000_000  # entries
MAX_LINKS = 40  # ELOOP limit of path_resolution(7)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a path leads: the real path (None: nowhere), its entry, every symlink crossed."""

    real: str | None
    entry: Entry | None
    crossed: tuple[str, ...] = ()


def normalise(path: str) -> str:
    """Make a path absolute and lexically clean, without a trailing slash."""
    return posixpath.normpath("/" + path.lstrip("/"))


@dataclass(frozen=True)
class Tree:
    """The squashed tree of an image; `opener` yields the original bytes of a regular file."""

    entries: Mapping[str, Entry]
    opener: Callable[[Entry], BinaryIO] = field(repr=False)
    # Told the SHA-256 of a file's content when all of it was read to be packed; may raise.
    check: Callable[[Entry, bytes], None] | None = field(default=None, repr=False)
    # Where absolute paths lead: resolvers ask for the same few thousand again and again.
    _known: dict[str, Resolved] = field(default_factory=dict, repr=False, compare=False)
    _facts: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    def facts(self, kind: str) -> dict[str, Any]:
        """What was found out about the content of files, by path: remembered as long as the tree.

        For what depends on a file's bytes alone, whatever else is kept or was touched.
        """
        return self._facts.setdefault(kind, {})

    def get(self, path: str) -> Entry | None:
        """Look a path up as it stands, following nothing."""
        return self.entries.get(path)

    def resolve(self, path: str, base: str = "/") -> Resolved:
        """Follow a path (relative ones from `base`) through every symlink to its end."""
        # Every key is a real path: one that leads to no symlink has none on its way either.
        at_once = self.entries.get(path)
        if at_once is not None and at_once.kind is not Kind.SYMLINK:
            return Resolved(path, at_once)
        whole = path if path.startswith("/") else posixpath.join(base, path)
        found = self._known.get(whole)
        if found is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            found = self._known[whole] = self._follow(whole)
        return found

    def _follow(self, path: str) -> Resolved:
        todo = [p for p in path.split("/") if p not in ("", ".")][::-1]
        at, crossed = "", list[str]()
        while todo:
            name = todo.pop()
            if name == "..":
                at = at.rpartition("/")[0]
                continue
            entry = self.entries.get(f"{at}/{name}")
            if entry is None:
                return Resolved(None, None, tuple(crossed))
            if entry.kind is Kind.SYMLINK:
                crossed.append(entry.path)
                if len(crossed) > MAX_LINKS:
                    return Resolved(None, None, tuple(dict.fromkeys(crossed)))
                if entry.link.startswith("/"):
                    at = ""
                todo.extend(p for p in reversed(entry.link.split("/")) if p not in ("", "."))
            elif todo and entry.kind is not Kind.DIR:
                return Resolved(None, None, tuple(crossed))
            else:
                at = entry.path
        return Resolved(at or "/", self.entries.get(at or "/"), tuple(crossed))

    def real(self, path: str, base: str = "/") -> str | None:
        """Resolve a path to the real one, or None."""
        return self.resolve(path, base).real

    def is_file(self, path: str) -> bool:
        """Whether a path leads to a regular file."""
        entry = self.resolve(path).entry
        return entry is not None and entry.kind is Kind.FILE

    def is_dir(self, path: str) -> bool:
        """Whether a path leads to a directory."""
        entry = self.resolve(path).entry
        return entry is not None and entry.kind is Kind.DIR

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        names: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.entries):
            if path != "/":
                parent, _, name = path.rpartition("/")
                names[parent or "/"].append(name)
        return dict(names)

    @cached_property
    def _groups(self) -> dict[int, tuple[str, ...]]:
        groups: dict[int, list[str]] = defaultdict(list)
        for path, entry in self.entries.items():
            if entry.inode:
                groups[entry.inode].append(path)
        return {inode: tuple(sorted(paths)) for inode, paths in groups.items()}

    def children(self, directory: str) -> tuple[str, ...]:
        """List the names in a real directory, sorted."""
        return tuple(self._names.get(directory, ()))

    def walk(self, directory: str) -> Iterator[Entry]:
        """Yield every entry below a real directory (not itself), depth first, sorted."""
        # No recursion: a hostile image may nest thousands of directories.
        todo = [self._below(directory)]
        while todo:
            entry = next(todo[-1], None)
            if entry is None:
                todo.pop()
                continue
            yield entry
            if entry.kind is Kind.DIR:
                todo.append(self._below(entry.path))

    def search(self, directory: str) -> Iterator[Entry]:
        """Walk as `walk` does, for a pattern that the image itself names.

        All such walks together see so many entries, then nothing: a script may hold any number.
        """
        left = self.facts("searches")
        for entry in self.walk(directory):
            left["entries"] = left.get("entries", SEARCHED_MAX) - 1
            if left["entries"] < 0:
                return
            yield entry

    def _below(self, directory: str) -> Iterator[Entry]:
        prefix = "" if directory == "/" else directory
        return (self.entries[f"{prefix}/{name}"] for name in self._names.get(directory, ()))

    @cached_property
    def content_bytes(self) -> int:
        """The bytes of all regular files, unpacked; those with several names count once."""
        return content_bytes(self.entries.values())

    def twins(self, entry: Entry) -> tuple[str, ...]:
        """Name every hard link of an entry's file, itself included, sorted."""
        return self._groups.get(entry.inode, (entry.path,)) if entry.inode else (entry.path,)

    def matching(self, patterns: Iterable[str]) -> Iterator[Entry]:
        """Yield entries whose path matches a glob (`*` within one name, `**` across names)."""
        rules = [glob_regex(p) for p in patterns]
        for path, entry in self.entries.items():
            if any(rule.fullmatch(path) for rule in rules):
                yield entry

    def open(self, path: str) -> BinaryIO:
        """Open the original bytes of the regular file a path leads to; raises MinifyError."""
        entry = self.resolve(path).entry
        if entry is None or entry.kind is not Kind.FILE:
            raise MinifyError(f"not a regular file in the image: {path}")
        return self.opener(entry)

    def read(self, path: str, limit: int = READ_MAX) -> bytes:
        """Read the first `limit` bytes of the file a path leads to: whatever it is, memory is."""
        with self.open(path) as stream:
            return stream.read(limit)


def content_bytes(entries: Iterable[Entry]) -> int:
    """The bytes of the regular files among some entries; those with several names count once."""
    files = [e for e in entries if e.kind is Kind.FILE]
    linked = {e.inode: e.size for e in files if e.inode}
    return sum(linked.values()) + sum(e.size for e in files if not e.inode)


def glob_regex(pattern: str) -> re.Pattern[str]:
    """Compile a path glob: `*` and `?` stop at a slash, `**` crosses them, `[...]` as in a shell.

    `dir/**` matches the directory itself too.
    """
    out, parts, i = "", [""], 0  # `parts` of one name, between its stars
    while i < len(pattern):
        if pattern.startswith("/**", i) and i + 3 in (len(pattern), pattern.find("/", i + 3)):
            out, parts, i = out + _starred(parts) + "(?:/.*)?", [""], i + 3
        elif pattern.startswith("**", i):
            out, parts, i = out + _starred(parts) + ".*", [""], i + 2
        elif pattern[i] == "*":
            parts, i = [*parts, ""], i + 1
        elif pattern[i] == "/":
            out, parts, i = out + _starred(parts) + "/", [""], i + 1
        else:
            one, i = _one(pattern, i)
            parts[-1] += one
    return re.compile(out + _starred(parts), re.DOTALL)


def _one(pattern: str, i: int) -> tuple[str, int]:
    """A pattern for what stands for one character at a place, and where the next begins."""
    if pattern[i] == "?":
        return "[^/]", i + 1
    if pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
        # fnmatch knows how a bracket expression is spelled; take its translation.
        return fnmatch.translate(pattern[i : end + 1])[4:-3], end + 1
    return re.escape(pattern[i]), i + 1


def _starred(parts: list[str]) -> str:
    """One name's pattern, stars put in between its parts.

    Where a part fits first is as good as anywhere later, as long as another star follows; without
    that knowledge ten stars take hours to fail.
    """
    if len(parts) == 1:
        return parts[0]
    between = "".join(f"(?>[^/]*?{part})" for part in parts[1:-1] if part)
    return f"{parts[0]}{between}[^/]*{parts[-1]}"
