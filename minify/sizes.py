"""Sizes and percentages as people write them."""

from __future__ import annotations

import re

from minify.errors import UsageError

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def bytes_of(text: str | int) -> int:
    """Read a size in bytes: "10MB" is 10^7, "10MiB" is 10 * 2^20, a bare number is bytes.

    Raises UsageError for anything else.
    """
    found = _SIZE.fullmatch(str(text))
    if not found or (found[3] and not found[2]):
        raise UsageError(f"not a size: {text!r}", hint="as in: 10MB (10^6 bytes), 50MiB (2^20)")
    base = 1024 if found[3] else 1000
    factor: int = base ** _POWERS[found[2].lower()]
    return round(float(found[1]) * factor)


def megabytes(size: int) -> str:
    """A size in MB (10^6 bytes), as Docker prints it."""
    return f"{size / 1e6:,.1f} MB"
