"""The documents of an image's last builds, on disk: what `why` reads and a re-run reuses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minify.codec import dumps, loads
from minify.errors import MinifyError
from minify.intact import get, put
from minify.workspace import key_of

T = TypeVar("T")


@dataclass(frozen=True)
class Shelf:
    """A folder of documents. A `key` keeps documents of different plans apart."""

    folder: Path

    def path(self, name: str, key: str = "") -> Path:
        """Where a document is, or would be."""
        return self.folder / (f"{name}.{key_of(key)}.json" if key else f"{name}.json")

    def put(self, name: str, noun: Any, key: str = "") -> Path:
        """Write a document; returns its path."""
        path = self.path(name, key)
        put(path, dumps(noun))
        return path

    def get(self, name: str, kind: type[T], key: str = "") -> T | None:
        """Read a document; None when there is none, or none that this version can read whole."""
        path = self.path(name, key)
        try:
            return loads(get(path), kind)
        except (OSError, MinifyError):
            return None
