"""The files of installed rpm packages, from the bytes of an `rpmdb.sqlite`.

Table `Packages` holds one header per package: two big-endian counts, index entries of four 32-bit
numbers (tag, type, offset, count), then the data (rpm's "Package format", section "Header").
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator

RpmFile = tuple[str, str]  # package name, absolute path
NAME, DIRINDEXES, BASENAMES, DIRNAMES = 1000, 1116, 1117, 1118
MOST_ENTRIES = 1 << 16


def rpm_files(database: bytes) -> list[RpmFile] | str:
    """Read every (package, path) of a database; a sentence when it cannot be read."""
    if not database.startswith(b"SQLite format 3\0"):
        return "not an SQLite database"
    # A database in write-ahead mode cannot live in memory; the flags say which (fileformat2, 1.3).
    plain = database[:18] + b"\x01\x01" + database[20:]
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(plain)
        blobs = [row[0] for row in connection.execute("SELECT blob FROM Packages")]
    except sqlite3.Error as error:
        return f"cannot be read: {error}"
    finally:
        connection.close()
    return [found for blob in blobs if isinstance(blob, bytes) for found in header_files(blob)]


def header_files(blob: bytes) -> Iterator[RpmFile]:
    """Yield the files of one package's header; nothing for a damaged one."""
    try:
        index, data = _index(blob)
        name = _strings(data, index, NAME)
        folders, names = _strings(data, index, DIRNAMES), _strings(data, index, BASENAMES)
        offset, count = index[DIRINDEXES]
        numbers = struct.unpack_from(f">{count}I", data, offset)
        found = [(name[0], folders[n] + base) for n, base in zip(numbers, names, strict=True)]
    except (KeyError, IndexError, ValueError, struct.error):
        return
    yield from found


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
