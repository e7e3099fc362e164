"""The one place where text from an image or a container becomes text for a terminal.

File names, log lines and headers may hold what moves the cursor, sets titles, pastes or reorders
(ECMA-48; Unicode's bidirectional controls). All of it is shown as an escape, nothing is obeyed.
"""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1, separators and directions of text, halves of pairs.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Text without anything that a terminal obeys; lines and tabs stay."""
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte that was not UTF-8 (PEP 383)
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
