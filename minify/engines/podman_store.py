"""What containers/storage (Podman) makes of an image's root directory, and what the image said.

It gives the root of every layer mode 0555 and the time of unpacking, whatever the layer's tar says
of it. The tar's own headers are kept beside, in tar-split's form: lines of JSON, gzipped, where
payloads (type 2) are what stands between the files' contents, and names (type 1) follow headers.
"""

from __future__ import annotations

import base64
import gzip
import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from minify.model import Entry, Kind
from minify.tree import Tree

ROOT = Entry("/", Kind.DIR, 0o755)
ENTRY = 1
SHORT = 120
LINES_MAX, LINE_MAX = 4_000_000, 64 << 20


def is_podman(root: Path) -> bool:
    """Whether a store is one of containers/storage."""
    return (root / "overlay-layers").is_dir()


def with_root(tree: Tree, root: Path, folders: Sequence[Path]) -> Tree:
    """The tree with the root directory that the layers' tars tell of; `folders` bottom first."""
    told = (root_in(root / "overlay-layers" / f"{f.parent.name}.tar-split.gz") for f in folders)
    known = [(number, entry) for number, entry in enumerate(told) if entry]
    last = replace(known[-1][1], layer=known[-1][0]) if known else ROOT
    return replace(tree, entries={**tree.entries, "/": last})


def root_in(path: Path) -> Entry | None:
    """The root directory as a layer's tar has it, None where it has none (or none can be read)."""
    before = b""
    try:
        for line in _lines(path):
            # Only a line as short as the root's can name it: there are two for every file.
            if len(line) <= SHORT and _names_root(json.loads(line)):
                header = base64.b64decode(json.loads(before)["payload"])[-tarfile.BLOCKSIZE :]
                found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
                return Entry(
                    "/", Kind.DIR, found.mode & 0o7777, found.uid, found.gid, mtime=int(found.mtime)
                )
            before = line
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, tarfile.TarError):
        return None
    return None


def _names_root(item: object) -> bool:
    name = item.get("name") if isinstance(item, dict) and item.get("type") == ENTRY else None
    return isinstance(name, str) and posixpath.normpath(name) in "./"


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as stream:
        for _ in range(LINES_MAX):
            line = stream.readline(LINE_MAX)
            if not line:
                return
            yield line
