"""The digests of a layer's files, as text: what `write_layer` reads is held against them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from minify.images.overlay import read_overlay
from minify.model import Kind


def written(digests: Mapping[str, bytes]) -> str:
    """SHA-256 in hexadecimal, a space and the path, each ended by a NUL: no path has one."""
    return "".join(f"{digest.hex()} {path}\0" for path, digest in digests.items())


def digests_in(layer: Path) -> Iterator[tuple[str, bytes]]:
    """The path and the SHA-256 of each file of an unpacked layer, as they are now."""
    tree = read_overlay([layer])
    for path, entry in tree.entries.items():
        if entry.kind is Kind.FILE:
            with tree.opener(entry) as stream:
                yield path, hashlib.file_digest(stream, "sha256").digest()  # type: ignore[arg-type]


def read(text: str) -> dict[str, bytes]:
    """The digests by path; raises ValueError."""
    pairs = (line.partition(" ")[::2] for line in text.split("\0")[:-1])
    return {path: bytes.fromhex(digest) for digest, path in pairs}
