"""Write a layer: the same entries always give the same bytes, in flat memory, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minify.errors import BuildError
from minify.images.tar_header import END, header, padding
from minify.model import Entry, Kind
from minify.tree import Tree

CHUNK = 1 << 20


@dataclass(frozen=True)
class LayerInfo:
    """A written layer: `size` of the tar, number of `entries`, bytes of file content, once each."""

    diff_id: str
    size: int
    entries: int
    content_bytes: int


class _Tally:
    """A buffered sink that hashes what passes; `put` small pieces, `copy` files."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._buffer = bytearray(2 * CHUNK)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self.size = 0

    def put(self, data: bytes) -> None:
        """Append a piece."""
        if len(data) > CHUNK:  # PAX records of absurd xattrs
            self.flush()
            self._out(memoryview(data))
            return
        self._view[self._fill : self._fill + len(data)] = data
        self._advance(len(data))

    def copy(self, stream: BinaryIO, size: int, digest: hashlib._Hash | None = None) -> bool:
        """Append `size` bytes of a stream, also to `digest`; whether it had exactly that many."""
        readinto = stream.readinto  # type: ignore[attr-defined]
        while size:
            got = readinto(self._view[self._fill : self._fill + min(size, CHUNK)])
            if not got:
                return False
            size -= got
            if digest:
                digest.update(self._view[self._fill : self._fill + got])
            self._advance(got)
        return not stream.read(1)

    def _advance(self, count: int) -> None:
        self._fill += count
        if self._fill > CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hash and write what is buffered."""
        self._out(self._view[: self._fill])
        self._fill = 0

    def _out(self, piece: memoryview) -> None:
        self._hash.update(piece)
        self._sink.write(piece)
        self.size += len(piece)

    def digest(self) -> str:
        """The digest of everything written, in OCI notation."""
        return "sha256:" + self._hash.hexdigest()


def write_layer(
    tree: Tree, paths: Iterable[str], sink: Path, *, epoch: int | None = None
) -> LayerInfo:
    """Write the entries at `paths`, and every directory above them, as a layer tar.

    Sorted by bytes, so parents come first; second names of a file become hard links to its first;
    modification times later than `epoch` (seconds) are set to it, as SOURCE_DATE_EPOCH asks.
    Raises BuildError when a path is not in the tree, content is cut short, or `sink` is unwritable;
    nothing is left at `sink` then.
    """
    entries = closure(tree, paths)
    try:
        with sink.open("wb") as raw:
            return _write(tree, entries, raw, epoch)
    except OSError as error:
        sink.unlink(missing_ok=True)
        raise BuildError(f"cannot write {sink}: {error.strerror}") from error
    except BaseException:
        sink.unlink(missing_ok=True)
        raise


def closure(tree: Tree, paths: Iterable[str]) -> list[Entry]:
    """The entries at `paths` with their parents, in archive order.

    The root directory is among them only when its attributes are not what runtimes give it anyway.
    """
    wanted: dict[str, Entry] = {}
    for path in paths:
        entry = tree.get(path)
        if entry is None:
            raise BuildError(
                f"path to keep is not in the image: {path}", hint="this is a fault of minify"
            )
        wanted[path] = entry
        parent = path.rpartition("/")[0]
        while parent and parent not in wanted:
            # Archives may leave parents out; runtimes then make them like this.
            wanted[parent] = tree.get(parent) or Entry(parent, Kind.DIR, 0o755)
            parent = parent.rpartition("/")[0]
    root = wanted.pop("/", None) or tree.get("/")
    ordered = sorted(wanted.values(), key=lambda e: e.path.encode("utf-8", "surrogateescape"))
    return [root, *ordered] if root and not _ordinary(root) else ordered


def _ordinary(root: Entry) -> bool:
    return (root.mode, root.uid, root.gid, root.xattrs) == (0o755, 0, 0, ())


def _write(tree: Tree, entries: list[Entry], raw: BinaryIO, epoch: int | None) -> LayerInfo:
    tally, first, content = _Tally(raw), dict[int, str](), 0
    for entry in entries:
        mtime = entry.mtime if epoch is None else min(entry.mtime, epoch)
        twin = first.setdefault(entry.inode, entry.path) if entry.inode else entry.path
        if twin != entry.path:
            tally.put(header(entry, mtime, twin=twin))
            continue
        tally.put(header(entry, mtime))
        if entry.kind is Kind.FILE and entry.size:
            content += entry.size
            _content(tree, entry, tally)
    tally.put(END)
    tally.flush()
    return LayerInfo(tally.digest(), tally.size, len(entries), content)


def _content(tree: Tree, entry: Entry, tally: _Tally) -> None:
    digest = hashlib.sha256() if tree.check else None
    with tree.opener(entry) as stream:
        if not tally.copy(stream, entry.size, digest):
            raise BuildError(
                f"{entry.path} is not {entry.size} bytes long, as the image says",
                hint="the image is damaged or was changed while it was read",
            )
    if tree.check and digest:
        tree.check(entry, digest.digest())
    tally.put(padding(entry.size))


def chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece
