"""Look into a bbolt database while its owner writes it: containerd keeps its records in such files.

The format is bbolt's (go.etcd.io/bbolt, page.go, bucket.go, meta.go): pages that are copied when
they change, a B+ tree of them for each bucket, and two meta pages, of which the one with the higher
transaction counts. A page that is free may be used again by the next transaction, so what was read
counts only where none came meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
MAGIC, VERSION = 0xED0CDAED, 2
BRANCH, LEAF = 1, 2
BUCKET = 1  # flag of an element whose value is a bucket
HEADER = struct.Struct("<QHHI")  # id, flags, count, overflow
META = struct.Struct("<IIIIQQQQQQ")  # magic, version, page size, flags, root, …, transaction, sum
INNER = struct.Struct("<IIQ")  # position, key size, page
ELEMENT = struct.Struct("<IIII")  # flags, position, key size, value size
BUCKET_HEAD = struct.Struct("<QQ")  # root page (0: the page follows here), sequence
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
TRIES = 5
DEPTH = 40  # levels of a tree; one of a sound file has a handful
SIZE_MAX = 256 << 20


class Unreadable(Exception):  # noqa: N818 - for whoever can ask elsewhere
    """The file is no bbolt database, is damaged, or was written all the time."""


@dataclass(frozen=True)
class _Meta:
    page_size: int
    root: int
    transaction: int


@dataclass(frozen=True)
class Bucket:
    """A bucket: its keys in order, with their values or the buckets below them."""

    _data: bytes
    _size: int
    _page: bytes

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """All keys with what they stand for. Raises Unreadable."""
        yield from self._walk(self._page, DEPTH)

    def find(self, name: bytes) -> Bucket | None:
        """The bucket of a name below this one."""
        found = next((value for key, value in self.items() if key == name), None)
        return found if isinstance(found, Bucket) else None

    def values(self) -> Mapping[bytes, bytes]:
        """The plain values."""
        return {key: value for key, value in self.items() if isinstance(value, bytes)}

    def _walk(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        _, flags, count, _ = HEADER.unpack_from(page)
        if not depth or not flags & (BRANCH | LEAF):
            raise Unreadable("a page of an unexpected kind")
        for number in range(count):
            at = HEADER.size + 16 * number
            if flags & BRANCH:
                yield from self._walk(self._at(INNER.unpack_from(page, at)[2]), depth - 1)
                continue
            marks, position, keys, values = ELEMENT.unpack_from(page, at)
            start = at + position
            value = page[start + keys : start + keys + values]
            yield page[start : start + keys], self._bucket(value) if marks & BUCKET else value

    def _bucket(self, value: bytes) -> Bucket:
        root, _ = BUCKET_HEAD.unpack_from(value)
        page = self._at(root) if root else value[BUCKET_HEAD.size :]
        return Bucket(self._data, self._size, page)

    def _at(self, number: int) -> bytes:
        return page_at(self._data, self._size, number)


def page_at(data: bytes, size: int, number: int) -> bytes:
    """A page with those it runs over into."""
    start = number * size
    overflow = HEADER.unpack_from(data, start)[3]
    return data[start : start + size * (1 + overflow)]


def look(path: Path, question: Callable[[Bucket], T]) -> T:
    """Answer a question from a database's root bucket, as of one transaction.

    Raises Unreadable when it cannot be, OSError when the file cannot be read.
    """
    for _ in range(TRIES):
        with path.open("rb") as stream:
            data = stream.read(SIZE_MAX + 1)
            if len(data) > SIZE_MAX:
                raise Unreadable(f"{path} is too large")
            stream.seek(0)
            meta = _newest(data)
            if _newest(stream.read(2 * meta.page_size)) != meta:
                continue  # a transaction came while we read
        try:
            root = page_at(data, meta.page_size, meta.root)
            return question(Bucket(data, meta.page_size, root))
        except (struct.error, OverflowError) as error:
            raise Unreadable(f"{path} is damaged: {error}") from error
    raise Unreadable(f"{path} is being written all the time")


def _newest(data: bytes) -> _Meta:
    first = _meta(data, 0)
    # The second page's place follows from the page size, which is in either.
    sizes = [first.page_size] if first else [1 << n for n in range(9, 17)]
    metas = [m for m in (first, *(_meta(data, size) for size in sizes)) if m]
    if not metas:
        raise Unreadable("no bbolt database")
    return max(metas, key=lambda meta: meta.transaction)


def _meta(data: bytes, start: int) -> _Meta | None:
    try:
        fields = META.unpack_from(data, start + HEADER.size)
    except struct.error:
        return None
    magic, version, size, _, root, _, _, _, transaction, told = fields
    body = data[start + HEADER.size :][: META.size - 8]
    sound = (magic, version) == (MAGIC, VERSION) and 512 <= size <= 1 << 16
    return _Meta(size, root, transaction) if sound and told == _fnv(body) else None


def _fnv(data: bytes) -> int:
    """FNV-1a, 64 bits (draft-eastlake-fnv)."""
    value = FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value
