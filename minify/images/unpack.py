"""Make a blob readable in place: plain tars stay where they are, compressed ones are spooled once.

Digests are verified in the same pass. Spooled layers are named by their diff_id, so that images
sharing a layer share the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
import zlib
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minify.errors import EngineError
from minify.images import limits as bounds
from minify.images.span import Span
from minify.run import program, start

PIECE = 1 << 20
WORKERS = 4
INPUT = 1 << 16
JOINT = 256  # bytes looked at where a gzip member begins; doubled while it goes on
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
OTHER = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
HINT = "the image is damaged or incomplete: save or pull it again"


@dataclass(frozen=True)
class Blob:
    """Bytes as stored, and what they should be: `digest` of them, `diff_id` unpacked ("": any)."""

    span: Span
    digest: str = ""
    diff_id: str = ""


def compression(span: Span) -> str:
    """Name the compression of some bytes by their magic number: gzip, zstd, or "" for none."""
    with span.open() as stream:
        magic = stream.read(8)
    if magic.startswith(GZIP):
        return "gzip"
    # A skippable frame (RFC 8878, 3.1.2) may come first, as in zstd:chunked.
    if magic.startswith(ZSTD) or (magic[1:4] == b"\x2a\x4d\x18" and magic[:1] >= b"\x50"):
        return "zstd"
    for start_, name in OTHER.items():
        if magic.startswith(start_):
            raise EngineError(
                f"{span.path} holds a layer compressed with {name}", hint="use gzip or zstd"
            )
    return ""


class _Budget:
    """The bytes that the blobs of one image, unpacked at the same time, may still take."""

    def __init__(self, limits: bounds.Limits) -> None:
        self.limits = limits
        self._spent = 0
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Count unpacked bytes; raises EngineError when they are too many."""
        with self._lock:
            self._spent += count
            self.limits.check_bytes(self._spent)


def unpacked(blob: Blob, spool: Path, limits: bounds.Limits) -> Span:
    """Return the uncompressed bytes of a blob, verified; raises EngineError on a mismatch."""
    return _unpacked(blob, spool, _Budget(limits))


def unpack_all(blobs: Sequence[Blob], spool: Path, limits: bounds.Limits) -> tuple[Span, ...]:
    """Do `unpacked` for all layers of an image, several at a time; the limit is on their sum."""
    budget = _Budget(limits)
    with ThreadPoolExecutor(WORKERS) as pool:
        # Inflating, hashing and writing all release the interpreter's lock.
        todo = [pool.submit(_unpacked, blob, spool, budget) for blob in blobs]
        try:
            return tuple(future.result() for future in todo)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _unpacked(blob: Blob, spool: Path, budget: _Budget) -> Span:
    kind = compression(blob.span)
    if not kind:
        budget.spend(blob.span.size)
        if blob.digest or blob.diff_id:
            found = blob.span.sha256()
            for wanted in filter(None, (blob.digest, blob.diff_id)):
                _equal(found, wanted, blob.span)
        return blob.span
    known = spool / f"{blob.diff_id.rpartition(':')[2]}.tar" if blob.diff_id else None
    if known and known.is_file():  # renamed into place only after it was verified
        if blob.digest:
            _equal(blob.span.sha256(), blob.digest, blob.span)
        budget.spend(known.stat().st_size)
        return Span(known, 0, known.stat().st_size)
    temporary = spool / f".{secrets.token_hex(8)}.tar"
    try:
        diff_id, size = _spool(blob, kind, temporary, budget)
        final = spool / f"{diff_id.rpartition(':')[2]}.tar"
        temporary.replace(final)
    except OSError as error:
        raise EngineError(
            f"cannot unpack a layer into {spool}: {error.strerror}",
            hint="free some space, or choose another folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return Span(final, 0, size)


def _spool(blob: Blob, kind: str, sink: Path, budget: _Budget) -> tuple[str, int]:
    packed, plain = hashlib.sha256(), hashlib.sha256()
    size = 0
    with blob.span.open() as stream, sink.open("xb") as out:
        source = _Hashing(stream, packed)
        pieces = _inflate(source) if kind == "gzip" else _zstd(source)
        with contextlib.closing(pieces):
            for piece in pieces:
                size += len(piece)
                budget.spend(len(piece))
                budget.limits.check_ratio(source.count, size)
                plain.update(piece)
                out.write(piece)
        while source.read(INPUT):
            pass  # bytes after the compressed stream belong to the digest
    if blob.digest:
        _equal("sha256:" + packed.hexdigest(), blob.digest, blob.span)
    diff_id = "sha256:" + plain.hexdigest()
    if blob.diff_id:
        _equal(diff_id, blob.diff_id, blob.span)
    return diff_id, size


class _Hashing:
    """A stream whose bytes are hashed and counted as they are read."""

    def __init__(self, stream: BinaryIO, digest: hashlib._Hash) -> None:
        self._stream = stream
        self._digest = digest
        self.count = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self.count += len(data)
        return data


def _inflate(source: _Hashing) -> Generator[bytes, None, None]:
    """Decompress gzip (RFC 1952), also several members in a row; checks every CRC."""
    block, at, step = b"", 0, JOINT
    chunk, piece, between = b"", b"", False
    engine = zlib.decompressobj(31)
    try:
        while True:
            if not chunk and not piece:
                if at >= len(block):
                    block, at = source.read(INPUT), 0
                if not block and between:
                    return
                if not block:
                    raise EngineError("a gzip stream is cut short", hint=HINT)
                chunk, step, between = block[at : at + step], min(2 * step, INPUT), False
                at += len(chunk)
            piece = engine.decompress(chunk, PIECE)
            chunk = engine.unconsumed_tail
            if piece:
                yield piece
            if engine.eof:
                # What follows is copied at every joint: a stream of joints gets small bites.
                at, step = at - len(engine.unused_data), JOINT
                chunk, piece, between = b"", b"", True
                engine = zlib.decompressobj(31)
    except zlib.error as error:
        raise EngineError(f"a gzip stream is damaged: {error}", hint=HINT) from error


def _zstd(source: _Hashing) -> Generator[bytes, None, None]:
    """Decompress zstd with the `zstd` program, which bounds its own memory (128 MiB windows)."""
    with start([program("zstd"), "-d", "-c", "-q"]) as child:
        assert child.stdin and child.stdout and child.stderr
        feeder = threading.Thread(target=_feed, args=(source, child.stdin), daemon=True)
        feeder.start()
        try:
            while piece := child.stdout.read(PIECE):
                yield piece
        except BaseException:  # the caller has had enough; end the child, and so the feeder
            child.kill()
            raise
        finally:
            feeder.join()
        if child.wait() != 0:
            reason = child.stderr.read(400).decode(errors="replace").strip()
            raise EngineError(f"a zstd stream is damaged: {reason}", hint=HINT)


def _feed(source: _Hashing, sink: BinaryIO) -> None:
    with contextlib.suppress(OSError, ValueError):  # the reader has stopped early
        while data := source.read(INPUT):
            sink.write(data)
        sink.close()


def _equal(found: str, wanted: str, span: Span) -> None:
    if found != wanted:
        raise EngineError(f"digest mismatch in {span.path}: {wanted} is {found}", hint=HINT)
