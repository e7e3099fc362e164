"""A file's bytes in overlapping pieces, for resolvers that search large programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

PIECE, OVERLAP = 8 << 20, 4096  # bytes; no path is longer than PATH_MAX


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """Read a file in overlapping pieces: programs of a hundred megabytes are not rare."""
    kept = b""
    while block := stream.read(PIECE):
        data = kept + block
        yield data
        kept = data[-OVERLAP:]
