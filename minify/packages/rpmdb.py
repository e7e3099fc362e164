"""The files of installed rpm packages, from the bytes of an `rpmdb.sqlite`.

Table `Packages` holds one header per package: two big-endian counts, index entries of four 32-bit
numbers (tag, type, offset, count), then the data (rpm's "Package format", section "Header").
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator

RpmFile = tuple[str, str]  # package name, absolute path
NAME, DIRINDEXES, BASENAMES, DIRNAMES = 1000, 1116, 1117, 1118
MOST_ENTRIES = 1 << 16
MOST_BYTES = 256 << 20  # of all headers and of all paths they name
STEPS, MOST_STEPS = 100_000, 50_000_000  # of SQLite's machine; a large database takes a million
PATH_MAX = 4096


def rpm_files(database: bytes) -> list[RpmFile] | str:
    """Read every (package, path) of a database; a sentence when it cannot be read."""
    if not database.startswith(b"SQLite format 3\0"):
        return "not an SQLite database"
    # A database in write-ahead mode cannot live in memory; the flags say which (fileformat2, 1.3).
    plain = database[:18] + b"\x01\x01" + database[20:]
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(plain)
        # A view in the table's place could count for ever, pages be shared by all rows.
        connection.set_progress_handler(_Steps(), STEPS)
        rows = connection.execute("SELECT blob FROM Packages")
        return list(_files(row[0] for row in rows))
    except (sqlite3.Error, OverflowError, MemoryError) as error:
        return f"cannot be read: {error}"
    except _TooMuch:
        return f"names more than {MOST_BYTES} bytes of files"
    finally:
        connection.close()


class _TooMuch(Exception):  # noqa: N818 - it does not leave this file
    """More than a database of packages holds."""


class _Steps:
    """Ends a query (sqlite3_progress_handler) that takes too many steps."""

    def __init__(self) -> None:
        self.left = MOST_STEPS

    def __call__(self) -> bool:
        self.left -= STEPS
        return self.left < 0


def _files(blobs: Iterable[object]) -> Iterator[RpmFile]:
    left = MOST_BYTES
    for blob in blobs:
        if not isinstance(blob, bytes):
            continue
        left -= len(blob)
        for package, path in header_files(blob):
            left -= len(path)
            if left < 0:
                raise _TooMuch
            yield package, path
        if left < 0:
            raise _TooMuch


def header_files(blob: bytes) -> Iterator[RpmFile]:
    """Yield the files of one package's header; nothing for a damaged one."""
    try:
        index, data = _index(blob)
        name = _strings(data, index, NAME)
        folders, names = _strings(data, index, DIRNAMES), _strings(data, index, BASENAMES)
        offset, count = index[DIRINDEXES]
        numbers = struct.unpack_from(f">{count}I", data, offset)
        if len(numbers) != len(names):
            return
        for number, base in zip(numbers, names, strict=True):
            if len(folders[number]) <= PATH_MAX:
                yield name[0], folders[number] + base
    except (KeyError, IndexError, ValueError, struct.error):
        return


def _index(blob: bytes) -> tuple[dict[int, tuple[int, int]], bytes]:
    entries, _size = struct.unpack_from(">II", blob)
    if entries > MOST_ENTRIES:
        raise ValueError("too many entries")
    index = {}
    for number in range(entries):
        tag, _kind, offset, count = struct.unpack_from(">IIII", blob, 8 + 16 * number)
        index[tag] = (offset, count)
    return index, blob[8 + 16 * entries :]


def _strings(data: bytes, index: dict[int, tuple[int, int]], tag: int) -> list[str]:
    offset, count = index[tag]
    parts = data[offset:].split(b"\0", count)[:count]
    return [part.decode("utf-8", "surrogateescape") for part in parts]
