"""What the names and attributes of one tar may take of a reader's memory.

Every reader keeps them (the content stays on disk), so they are counted where they are read, once
for all readers.
"""

from __future__ import annotations

from minify.errors import EngineError

SPECIAL_MAX = 1 << 20  # what Go's archive/tar allows for an extended header; here for all of one
NAME_MAX = 16 << 10  # bytes of a name as written; clean ones have at most PATH_MAX
VALUE_MAX = 64 << 10  # XATTR_SIZE_MAX of linux/limits.h
TEXT_MAX = 128 << 20  # a million names
VALUES_MAX = 32 << 20
HINT = "the archive is damaged, or made to do harm: save or pull the image again"
XATTR = "SCHILY.xattr."
KEPT = frozenset({"path", "linkpath", "size", "uid", "gid", "mtime"})


class TarError(EngineError):
    """The archive is not a tar that a runtime would accept."""


class TarBudget:
    """The text of a tar's headers, counted; equal attributes are one object and count once."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._special = 0
        self._text = self._held = 0
        self._values: dict[bytes, bytes] = {}

    def special(self, size: int) -> None:
        """Count an extended header of the next member; raises TarError for too many bytes."""
        self._special += size
        if size < 0 or self._special > SPECIAL_MAX:
            raise TarError(
                f"extended tar headers of {self._special} bytes for one member in {self._where}",
                hint=HINT,
            )

    def member(self, name: bytes, link: bytes, pax: dict[str, bytes]) -> None:
        """Count what a member keeps in memory, and keep no value twice; raises TarError."""
        self._special = 0
        if len(name) > NAME_MAX or len(link) > NAME_MAX:
            raise TarError(f"a name of more than {NAME_MAX} bytes in {self._where}", hint=HINT)
        self._text += len(name) + len(link)
        for key in [k for k in pax if k.startswith(XATTR)]:
            value = pax[key]
            if len(value) > VALUE_MAX:
                raise TarError(
                    f"an extended attribute of {len(value)} bytes in {self._where}", hint=HINT
                )
            pax[key] = self._values.setdefault(value, value)
            self._text += len(key)
            self._held += len(value) if pax[key] is value else 0
        if self._text > TEXT_MAX or self._held > VALUES_MAX:
            raise TarError(
                f"names in {self._where} exceed {TEXT_MAX} bytes, "
                f"or extended attributes {VALUES_MAX}",
                hint=HINT,
            )
