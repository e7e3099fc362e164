"""Bounds on input, so that no image can fill the disk or the memory of whoever reads it."""

from __future__ import annotations

from dataclasses import dataclass

from minify.errors import EngineError

RATIO_FREE = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What one image may cost at most.

    `max_bytes`: all layers unpacked. `max_ratio`: unpacked by packed size of one compressed stream,
    checked beyond 1 GiB (DEFLATE cannot exceed 1032).
    """

    max_bytes: int = 64 << 30
    max_entries: int = 1_000_000
    max_layers: int = 1000
    max_document: int = 4 << 20
    max_ratio: int = 2000

    def check_bytes(self, count: int) -> None:
        """Raise EngineError when more than `max_bytes` bytes were unpacked."""
        if count > self.max_bytes:
            raise EngineError(
                f"the image unpacks to more than {self.max_bytes} bytes",
                hint="a decompression bomb? if it is really that large, raise the size limit",
            )

    def check_ratio(self, packed: int, unpacked: int) -> None:
        """Raise EngineError when a stream of `packed` bytes unpacked to absurdly many."""
        if unpacked > RATIO_FREE and unpacked > self.max_ratio * max(packed, 1):
            raise EngineError(
                f"{packed} compressed bytes unpack to more than {unpacked}: a decompression bomb?",
                hint="read it from an uncompressed archive if it is trusted",
            )


DEFAULT = Limits()
