"""Bytes that live somewhere inside a file on disk, read in place and never copied."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minify.errors import EngineError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """`size` bytes from `offset` of the file at `path`."""

    path: Path
    offset: int
    size: int

    def part(self, offset: int, size: int) -> Span:
        """The span of `size` bytes that begins `offset` bytes into this one."""
        return Span(self.path, self.offset + offset, size)

    def open(self) -> BinaryIO:
        """Open these bytes as a stream of their own."""
        try:
            stream = self.path.open("rb", buffering=0)
        except OSError as error:
            raise EngineError(f"cannot read {self.path}: {error.strerror}") from error
        return io.BufferedReader(_Window(stream, self.offset, self.size), 1 << 16)

    def read(self, limit: int) -> bytes:
        """Read all bytes; raises EngineError for more than `limit`, or fewer than due."""
        if self.size > limit:
            raise EngineError(f"a document in {self.path} is larger than {limit} bytes")
        with self.open() as stream:
            data = stream.read()
        if len(data) != self.size:
            raise EngineError(f"{self.path} is cut short", hint="copy or save it again")
        return data

    def chunks(self) -> Iterator[bytes]:
        """Read these bytes piece by piece."""
        with self.open() as stream:
            while piece := stream.read(CHUNK):
                yield piece

    def sha256(self) -> str:
        """The digest of these bytes in OCI notation."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(CHUNK))
        with self.open() as stream:
            while got := stream.readinto(buffer):  # type: ignore[attr-defined]
                digest.update(buffer[:got])
        return "sha256:" + digest.hexdigest()


class _Window(io.RawIOBase):
    """A part of a file as a seekable raw stream; positioned reads only."""

    def __init__(self, stream: io.FileIO, offset: int, size: int) -> None:
        self._stream = stream
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), max(self._size - self._at, 0))
        if not count:
            return 0
        got = os.preadv(
            self._stream.fileno(), [memoryview(buffer)[:count]], self._offset + self._at
        )
        self._at += got
        return got

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def close(self) -> None:
        self._stream.close()
        super().close()
