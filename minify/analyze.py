"""Where the bytes of an image are: by layer, package and reason, twice, in vain, dropped; pure.

Bytes are those of regular files, unpacked; one with several names counts once.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from minify.model import Entry, Image, KeepSet, Kind
from minify.tree import Tree

NO_PACKAGE = "(no package)"
SMALLEST = 4096  # bytes of a file that is looked at for a second copy
CHUNK = 1 << 20


@dataclass(frozen=True)
class Share:
    """A part of an image: how many bytes and files it has."""

    name: str
    bytes: int
    files: int


@dataclass(frozen=True)
class LayerShare:
    """What a layer brings; `hidden`: bytes of it that later layers overwrite or delete."""

    number: int
    diff_id: str
    created_by: str
    bytes: int
    files: int
    hidden: int


@dataclass(frozen=True)
class Waste:
    """A path whose bytes are stored in vain: `bytes` in all, `times` stored, `deleted` at last."""

    path: str
    bytes: int
    times: int
    deleted: bool


@dataclass(frozen=True)
class Stacked:
    """What the layers of an image do to one another.

    `efficiency` is Dive's figure: for every path stored more than once (a deletion counts as
    once more), the smallest of its sizes against all of them.
    """

    layers: tuple[LayerShare, ...]
    wasted: tuple[Waste, ...]
    efficiency: float

    @property
    def wasted_bytes(self) -> int:
        """The bytes that are stored and not in the image."""
        return sum(waste.bytes for waste in self.wasted)


@dataclass(frozen=True)
class Twice:
    """Files with the same content that are not names of one file; `bytes` could be saved."""

    bytes: int
    size: int
    paths: tuple[str, ...]


@dataclass
class _Paths:
    """Every size a path had, layer by layer, and what became of it."""

    stored: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    hidden: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    hidden_in: Counter[int] = field(default_factory=Counter)
    deleted: set[str] = field(default_factory=set)
    brought: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


def stacked(image: Image, base_of: Callable[[int], Tree], commands: Sequence[str] = ()) -> Stacked:
    """Look at the layers one after the other.

    `base_of` gives the tree of the bottom ones; `commands`: what made each, where that is known.
    """
    seen, below = _Paths(), Tree({}, lambda _entry: _nothing())
    for number in range(len(image.layers)):
        here = base_of(number + 1)
        _layer(seen, number, below, here)
        below = here
    smallest = sum(min(sizes) for sizes in seen.stored.values())
    every = sum(sum(sizes) for sizes in seen.stored.values())
    wasted = (
        Waste(path, hidden, len(seen.stored[path]), path in seen.deleted)
        for path, hidden in seen.hidden.items()
        if hidden
    )
    named = [*commands, *[""] * len(image.layers)]
    layers = tuple(
        LayerShare(
            number, layer.diff_id, made_by,
            sum(seen.brought[number]), len(seen.brought[number]), seen.hidden_in[number],
        )
        for number, (layer, made_by) in enumerate(zip(image.layers, named, strict=False))
    )  # fmt: skip
    order = sorted(wasted, key=lambda w: (-w.bytes, w.path))
    return Stacked(layers, tuple(order), smallest / every if every else 1.0)


def _nothing() -> BinaryIO:
    raise AssertionError  # an empty tree has no file that could be opened


def _layer(seen: _Paths, number: int, below: Tree, here: Tree) -> None:
    """Note what one layer adds, overwrites and deletes."""
    sizes, old = _sizes(here), _sizes(below)
    for path, entry in here.entries.items():
        if entry.layer != number or entry.kind is Kind.DIR:
            continue
        size = sizes.get(path, 0)
        seen.stored[path].append(size)
        if entry.kind is Kind.FILE:
            seen.brought[number].append(size)
        seen.deleted.discard(path)
        if path in below.entries:
            _hide(seen, below.entries[path], old.get(path, 0))
    for path, entry in below.entries.items():
        if path not in here.entries and entry.kind is not Kind.DIR:
            _hide(seen, entry, old.get(path, 0))
            seen.deleted.add(path)
            # Dive sees one deletion where a whole directory goes, and nothing stored twice.
            if path.rpartition("/")[0] in ("", *here.entries):
                seen.stored[path].append(old.get(path, 0))


def _hide(seen: _Paths, entry: Entry, size: int) -> None:
    seen.hidden[entry.path] += size
    seen.hidden_in[entry.layer] += size


def _sizes(tree: Tree) -> dict[str, int]:
    """The bytes of each regular file; of several names of one file the first has them."""
    files = (e for e in tree.entries.values() if e.kind is Kind.FILE)
    return {e.path: e.size if tree.twins(e)[0] == e.path else 0 for e in files}


def by_package(tree: Tree, package_of: Callable[[str], str | None]) -> tuple[Share, ...]:
    """The bytes of each package, largest first; files of none under NO_PACKAGE."""
    return _shares(tree, lambda path: package_of(path) or NO_PACKAGE, tree.entries)


def by_reason(tree: Tree, keep: KeepSet) -> tuple[Share, ...]:
    """The bytes that each rule keeps: the first reason of every path counts."""
    reasons = {path: found[0].rule for path, found in keep.paths.items() if found}
    return _shares(tree, reasons.__getitem__, reasons)


def dropped(
    tree: Tree, keep: KeepSet, package_of: Callable[[str], str | None]
) -> tuple[Share, ...]:
    """The bytes of the original that are not kept, by package, largest first.

    A file that is kept under another of its names is not dropped.
    """
    gone = (
        p for p, entry in tree.entries.items() if keep.paths.keys().isdisjoint(tree.twins(entry))
    )
    return _shares(tree, lambda path: package_of(path) or NO_PACKAGE, gone)


def _shares(tree: Tree, name_of: Callable[[str], str], paths: Iterable[str]) -> tuple[Share, ...]:
    total, count, seen = Counter[str](), Counter[str](), set[int]()
    for path in sorted(paths):
        entry = tree.get(path)
        if entry is None or entry.kind is not Kind.FILE:
            continue
        name = name_of(path)
        count[name] += 1
        if entry.inode not in seen:
            total[name] += entry.size
        if entry.inode:
            seen.add(entry.inode)
    return tuple(Share(n, total[n], count[n]) for n in sorted(count, key=lambda n: (-total[n], n)))


def duplicates(tree: Tree, smallest: int = SMALLEST) -> tuple[Twice, ...]:
    """Files with equal content, what could be saved most first; only equal sizes are read."""
    by_size: Mapping[int, list[Entry]] = defaultdict(list)
    for entry in tree.entries.values():
        first = entry.kind is Kind.FILE and tree.twins(entry)[0] == entry.path
        if first and entry.size >= smallest:
            by_size[entry.size].append(entry)
    found = [
        Twice(size * (len(paths) - 1), size, tuple(sorted(paths)))
        for size, entries in by_size.items()
        if len(entries) > 1
        for paths in _equal(tree, entries)
    ]
    return tuple(sorted(found, key=lambda t: (-t.bytes, t.paths)))


def _equal(tree: Tree, entries: Iterable[Entry]) -> Iterator[list[str]]:
    groups: dict[bytes, list[str]] = defaultdict(list)
    for entry in entries:
        tally = hashlib.sha256()
        with tree.opener(entry) as stream:
            while data := stream.read(CHUNK):
                tally.update(data)
        groups[tally.digest()].append(entry.path)
    return (paths for paths in groups.values() if len(paths) > 1)
