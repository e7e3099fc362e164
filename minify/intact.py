"""Files with their digest beside them: what a disk has changed is noticed when it is read again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from minify.errors import EngineError
from minify.workspace import write_document


class DamagedError(EngineError):
    """A file of ours is not what was written."""


def digest_of(data: bytes) -> str:
    """The digest of some bytes in OCI notation."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def put(path: Path, text: str) -> None:
    """Write a document for its owner alone, and its digest in NAME.sum; raises BuildError."""
    data = text.encode("utf-8", "surrogateescape")
    # First, so that a document without a digest is one of an earlier version.
    write_document(path.with_suffix(".sum"), digest_of(data), private=True)
    write_document(path, text, private=True)


def get(path: Path) -> str:
    """Read a document; raises OSError, DamagedError when it is not what was written."""
    data = path.read_bytes()
    try:
        told = path.with_suffix(".sum").read_bytes()
    except FileNotFoundError:  # written by an earlier version
        return data.decode("utf-8", "surrogateescape")
    if told != digest_of(data).encode():
        raise DamagedError(f"{path} is damaged")
    return data.decode("utf-8", "surrogateescape")


def drop(path: Path) -> None:
    """Remove a document and its digest."""
    path.unlink(missing_ok=True)
    path.with_suffix(".sum").unlink(missing_ok=True)
