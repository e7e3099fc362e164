"""Apply layer tars, bottom first, into a squashed tree (image-spec, layer.md).

Each layer is indexed alone, with the names it takes away; then the layers are merged from the top
down, as overlayfs does it. Nothing is unpacked: entries know where their bytes lie in the tar. What
a hostile layer may not do: name anything outside the root, or link to it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from minify.errors import EngineError
from minify.images import limits as bounds
from minify.images.span import Span
from minify.images.tar_budget import HINT
from minify.images.tar_read import Member, members
from minify.model import Entry, Kind
from minify.tree import MAX_LINKS, Tree

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
NAME_MAX = 255  # Linux, limits.h
PATH_MAX = 4096
NAMES_MAX = 128 << 20  # of folders that are only mentioned; they are held in memory
REPLACED_MAX = 100
KINDS = {
    b"0": Kind.FILE,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIR,
    b"6": Kind.FIFO,
}


@dataclass
class LayerIndex:
    """One layer: what it holds, where the content lies, and what it hides in the layers below.

    `implied` are directories it only mentions as parents: they keep the attributes of below.
    `below` holds the names by their parents, once a directory was replaced.
    """

    number: int
    tar: Span
    entries: dict[str, Entry] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    whiteouts: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    implied: set[str] = field(default_factory=set)
    below: dict[str, set[str]] = field(default_factory=dict)
    groups: int = 0
    replaced: int = 0
    names: int = 0
    shared: dict[int, int] = field(default_factory=dict)


def squash(tars: Sequence[Span], limits: bounds.Limits = bounds.DEFAULT) -> Tree:
    """Merge uncompressed layer tars, bottom first, into a tree that reads them in place.

    Raises EngineError for layers no runtime would unpack safely.
    """
    if len(tars) > limits.max_layers:
        raise EngineError(f"the image has {len(tars)} layers, more than {limits.max_layers}")
    limits.check_bytes(sum(tar.size for tar in tars))
    indexes: list[LayerIndex] = []
    for number, tar in enumerate(tars):
        left = limits.max_entries - sum(len(i.entries) for i in indexes)
        indexes.append(index_layer(tar, number, left))
    entries = _merge(indexes)

    def opener(entry: Entry) -> BinaryIO:
        layer = indexes[entry.layer]
        return layer.tar.part(layer.offsets[entry.path], entry.size).open()

    return Tree(entries, opener)


def index_layer(tar: Span, number: int, max_entries: int) -> LayerIndex:
    """List what one layer adds and takes away; a later member of the same name wins."""
    layer = LayerIndex(number, tar)
    for member in members(tar):
        if len(layer.entries) + len(layer.whiteouts) > max_entries:
            raise EngineError(f"a layer has more than {max_entries} entries", hint=HINT)
        _member(layer, member)
    return layer


def _member(layer: LayerIndex, member: Member) -> None:
    parent, name = _place(layer, member.name)
    if name.startswith(WHITEOUT):
        _whiteout(layer, parent, name)
        return
    path = f"{parent}/{name.decode('utf-8', 'surrogateescape')}" if name else "/"
    entry, offset = _entry(layer, path, member)
    if path == "/" and entry.kind is not Kind.DIR:
        raise EngineError("a layer replaces the root directory by a file", hint=HINT)
    old = layer.entries.get(path)
    if entry.kind is not Kind.DIR and (path in layer.implied or (old and old.kind is Kind.DIR)):
        _forget(layer, path)
    layer.implied.discard(path)
    layer.entries[path] = entry
    layer.offsets[path] = offset
    if layer.below:
        layer.below.setdefault(parent, set()).add(path)


def _place(layer: LayerIndex, raw: bytes) -> tuple[str, bytes]:
    """Where a member goes: its parent in this layer, symlinks followed inside it, and its name."""
    clean = _inside(raw)
    if clean == b".":
        return "", b""
    parent, _, name = clean.rpartition(b"/")
    directory = parent.decode("utf-8", "surrogateescape")
    known = f"/{directory}" if directory else ""
    entry = layer.entries.get(known)
    is_dir = entry.kind is Kind.DIR if entry else known in layer.implied
    if known and not is_dir:
        known = _parent(layer, directory)
    return known, name


def _inside(raw: bytes) -> bytes:
    """A name made relative and clean; raises EngineError when it leads outside the root."""
    if b"\0" in raw:
        raise EngineError("a layer has a name with a NUL byte in it", hint=HINT)
    clean = posixpath.normpath(raw.lstrip(b"/") or b".")
    if clean == b".." or clean.startswith(b"../"):
        raise EngineError(f"a layer names a path outside the image: {raw[:200]!r}", hint=HINT)
    if len(clean) > NAME_MAX and (
        len(clean) > PATH_MAX or max(map(len, clean.split(b"/"))) > NAME_MAX
    ):
        raise EngineError(f"a layer has a name that is too long: {clean[:80]!r}...", hint=HINT)
    return clean


def _parent(layer: LayerIndex, directory: str) -> str:
    """Find or imply the directory a member lies in, following symlinks of this layer only.

    As runtimes unpack: each layer in a directory of its own, confined to it.
    """
    todo, at, crossed = directory.split("/")[::-1], "", 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        path = f"{at}/{name}"
        entry = layer.entries.get(path)
        if entry is not None and entry.kind is Kind.SYMLINK:
            crossed += 1
            if crossed > MAX_LINKS:
                raise EngineError(f"symlink loop in a layer at {path}", hint=HINT)
            at = "" if entry.link.startswith("/") else at
            todo.extend(entry.link.split("/")[::-1])
            continue
        if entry is not None and entry.kind is not Kind.DIR:
            raise EngineError(f"a layer puts a file below another file: {path}", hint=HINT)
        if entry is None:
            _imply(layer, path)
        at = path
    return at


def _imply(layer: LayerIndex, path: str) -> None:
    """Count the names of folders: one member of few bytes may imply two thousand of them."""
    if path not in layer.implied:
        layer.implied.add(path)
        if layer.below:
            layer.below.setdefault(path.rpartition("/")[0], set()).add(path)
        layer.names += len(path)
        if layer.names > NAMES_MAX:
            raise EngineError(f"names in a layer exceed {NAMES_MAX} bytes", hint=HINT)


def _whiteout(layer: LayerIndex, parent: str, name: bytes) -> None:
    if name == OPAQUE:
        layer.opaque.add(parent or "/")
        return
    if name.startswith(WHITEOUT * 2):
        return  # AUFS's own metadata, which no runtime unpacks
    target = name.removeprefix(WHITEOUT)
    if target in (b"", b".", b".."):
        raise EngineError(f"a layer has an impossible whiteout: {name!r}", hint=HINT)
    layer.whiteouts.add(f"{parent}/{target.decode('utf-8', 'surrogateescape')}")


def _entry(layer: LayerIndex, path: str, member: Member) -> tuple[Entry, int]:
    if member.type == b"1":
        return _twin(layer, path, member)
    kind = KINDS.get(member.type)
    if kind is None:
        raise EngineError(f"a layer has a member of unknown type {member.type!r}: {path}")
    link = member.link.decode("utf-8", "surrogateescape") if kind is Kind.SYMLINK else ""
    if "\0" in link or len(link) > PATH_MAX:
        raise EngineError(f"a symlink has an impossible target: {path}", hint=HINT)
    same = layer.shared.setdefault
    entry = Entry(
        path=path,
        kind=kind,
        mode=same(member.mode, member.mode),
        uid=same(member.uid, member.uid),
        gid=same(member.gid, member.gid),
        size=member.size,
        mtime=same(member.mtime, member.mtime),
        link=link,
        xattrs=member.xattrs,
        layer=layer.number,
        device=member.device,
    )
    return entry, member.offset


def _twin(layer: LayerIndex, path: str, member: Member) -> tuple[Entry, int]:
    """A hard link: another name of an earlier file of the same layer, as runtimes require."""
    parent, name = _place(layer, member.link)
    target = f"{parent}/{name.decode('utf-8', 'surrogateescape')}"
    entry = layer.entries.get(target)
    if entry is None or entry.kind is Kind.DIR:
        raise EngineError(f"hard link {path} leads to {target}, not a file of its layer", hint=HINT)
    if not entry.inode:
        layer.groups += 1
        entry = replace(entry, inode=layer.groups)
        layer.entries[target] = entry
    return replace(entry, path=path), layer.offsets[target]


def _forget(layer: LayerIndex, path: str) -> None:
    """Drop what the layer itself had put below a directory that a later member replaces."""
    layer.replaced += 1
    if layer.replaced > REPLACED_MAX:  # real layers have none
        raise EngineError("a layer keeps replacing its own directories by files", hint=HINT)
    if not layer.below:
        for name in (*layer.entries, *layer.implied):
            layer.below.setdefault(name.rpartition("/")[0], set()).add(name)
    layer.implied.discard(path)
    todo = list(layer.below.pop(path, ()))
    while todo:
        below = todo.pop()
        layer.entries.pop(below, None)
        layer.offsets.pop(below, None)
        layer.implied.discard(below)
        todo.extend(layer.below.pop(below, ()))


def _merge(indexes: Sequence[LayerIndex]) -> dict[str, Entry]:
    final: dict[str, Entry] = {}
    implied: set[str] = {"/"}
    closed: set[str] = set()
    for layer in reversed(indexes):
        closing = {*layer.whiteouts, *layer.opaque}
        hidden = _Hidden(closed)
        for path, entry in layer.entries.items():
            if hidden.at(path):
                continue
            if entry.kind is not Kind.DIR:
                closing.add(path)
                if path in final or path in implied:
                    continue  # a directory above it hides it
            if path not in final:
                final[path] = entry
                implied.discard(path)
        implied.update(p for p in layer.implied if p not in final and not hidden.at(p))
        closed |= closing
    for path in implied:
        final[path] = Entry(path, Kind.DIR, 0o755)
    return _regrouped(final)


class _Hidden:
    """Whether layers above hide a path: it or a directory above it is closed. Remembers."""

    def __init__(self, closed: set[str]) -> None:
        self._closed = closed
        self._known = {"": "/" in closed}

    def at(self, path: str) -> bool:
        """Answer for one path."""
        if path == "/":
            return False
        return path in self._closed or self._below(path.rpartition("/")[0])

    def _below(self, directory: str) -> bool:
        trail = []
        while directory not in self._known:
            trail.append(directory)
            directory = directory.rpartition("/")[0]
        answer = self._known[directory]
        for path in reversed(trail):
            answer = answer or path in self._closed
            self._known[path] = answer
        return answer


def _regrouped(entries: dict[str, Entry]) -> dict[str, Entry]:
    """Number the hard-link groups across layers; a name left alone is an ordinary file."""
    groups: dict[tuple[int, int], list[str]] = {}
    for path, entry in entries.items():
        if entry.inode:
            groups.setdefault((entry.layer, entry.inode), []).append(path)
    for number, paths in enumerate(groups.values(), 1):
        inode = number if len(paths) > 1 else 0
        for path in paths:
            entries[path] = replace(entries[path], inode=inode)
    return entries
