"""The layer directories of an image, with one of ours on top where layers left parents out.

A layer may hold `etc/app.conf` and no `etc`. Unpacked alone, `etc` gets default attributes; what
runtimes show are those of the layer below. The kernel takes a merged directory's attributes from
the uppermost layer, so a top layer of such directories, made once per image, puts them right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from minify.images.overlay import read_overlay
from minify.images.span import Span
from minify.images.tar_header import END, header
from minify.model import Entry, Image, Kind
from minify.store.layers import Store
from minify.tree import Tree

MARKS = ("trusted.overlay.opaque", "user.overlay.opaque")


def complete(store: Store, image: Image, layers: Sequence[Path]) -> tuple[tuple[Path, ...], Tree]:
    """The directories to mount (bottom first) and their tree."""
    tree = read_overlay(layers)
    implied = [frozenset(store.implied(layer.diff_id)) for layer in image.layers]
    fixes = list(_fixes(tree, layers, implied))
    if not fixes:
        return tuple(layers), tree
    data = b"".join(header(entry, entry.mtime) for entry in fixes) + END
    diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
    with store.scratch() as folder:
        (folder / "layer").write_bytes(data)
        top = store.layer(diff_id, Span(folder / "layer", 0, len(data)))
    directories = (*layers, top)
    whole = read_overlay(directories)
    # The image does not know the added layer: its directories count as of the last one.
    last = len(layers) - 1
    entries = {
        p: e if e.layer <= last else replace(e, layer=last) for p, e in whole.entries.items()
    }
    return directories, Tree(entries, whole.opener)


def _fixes(
    tree: Tree, layers: Sequence[Path], implied: Sequence[frozenset[str]]
) -> Iterator[Entry]:
    """Directories that should look as in a layer below, and those on the way to them."""
    wanted: dict[str, Entry] = {}
    for path in sorted(frozenset().union(*implied)):
        entry = tree.get(path)
        if entry is None or entry.kind is not Kind.DIR or path not in implied[entry.layer]:
            continue
        if below := _below(layers, implied, entry):
            wanted[path] = below
            while path := path.rpartition("/")[0]:
                wanted.setdefault(path, tree.entries[path])
    # A parent that is to be changed itself was put first, for it sorts first.
    return iter([wanted[path] for path in sorted(wanted)])


def _below(layers: Sequence[Path], implied: Sequence[frozenset[str]], entry: Entry) -> Entry | None:
    """What a directory looks like in the next layer that says it, unless something hides that."""
    for number in reversed(range(entry.layer)):
        if _hidden(layers[number + 1], entry.path):
            return None
        path = Path(f"{layers[number]}{entry.path}")
        with contextlib.suppress(OSError):
            found = path.lstat()
            if not stat.S_ISDIR(found.st_mode):
                return None
            if entry.path not in implied[number]:
                return Entry(
                    entry.path, Kind.DIR, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid,
                    mtime=int(found.st_mtime), xattrs=tuple(_xattrs(path)),
                )  # fmt: skip
    return None


def _hidden(layer: Path, path: str) -> bool:
    """Whether a layer hides what layers below have at a path: by a whiteout, or opaque folders."""
    place = str(layer)
    for name in ["", *path.split("/")[1:]]:
        place = f"{place}/{name}" if name else place
        try:
            found = os.lstat(place)
        except OSError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            return True
        for mark in MARKS:
            with contextlib.suppress(OSError):
                if os.getxattr(place, mark) == b"y":
                    return True
    return False


def _xattrs(path: Path) -> Iterator[tuple[str, bytes]]:
    for name in sorted(os.listxattr(path)):
        if not name.startswith(("trusted.overlay.", "user.overlay.", "security.selinux")):
            yield name, os.getxattr(path, name)
