"""What containerd keeps on this disk of an image: documents by digest, and unpacked layers.

Docker uses it under one folder of its own (`containerd/daemon` below its data root) or shares the
machine's (/var/lib/containerd). Layers are found by chain ID (image-spec, config.md), documents by
their digest, which is checked: what does not fit is as good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minify.engines.bolt import Bucket, Unreadable, look
from minify.intact import digest_of
from minify.jsontext import parse_json

T = TypeVar("T")
CONTENT = "io.containerd.content.v1.content/blobs/sha256"
OVERLAY = "io.containerd.snapshotter.v1.overlayfs"
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
SOURCE = b"containerd.io/distribution.source."
DOCUMENT_MAX = 4 << 20
DEPTH = 4  # indexes within indexes
DOCUMENTS_MAX = 100


@dataclass(frozen=True)
class ContainerdStore:
    """Containerd's folder."""

    root: Path

    def document(self, digest: str) -> bytes | None:
        """A small blob, None where it is not there, too large, or damaged."""
        path = self.blob(digest)
        return document(path, digest) if path else None

    def blob(self, digest: str) -> Path | None:
        """Where a blob is, or would be."""
        match = DIGEST.fullmatch(digest)
        return self.root / CONTENT / match[1] if match else None

    def config(self, digest: str, diff_ids: Sequence[str], architecture: str) -> bytes | None:
        """The configuration of an image behind the digest of an index or a manifest.

        None where it is not known. Images of several platforms may have the same layers.
        """
        for found in self._configs(digest):
            known = _object(found)
            if _diff_ids(known) == list(diff_ids) and known.get("architecture") == architecture:
                return found
        return None

    def _configs(self, digest: str) -> Iterator[bytes]:
        todo, seen = [(digest, DEPTH)], 0
        while todo and seen < DOCUMENTS_MAX:
            name, depth = todo.pop(0)
            seen += 1
            document = _object(self.document(name))
            config = _digest_of(document.get("config"))
            if config and (data := self.document(config)) is not None:
                yield data
            below = document.get("manifests")
            if depth and isinstance(below, list):
                todo += [(d, depth - 1) for d in map(_digest_of, below) if d]

    def layer_folders(self, diff_ids: Sequence[str]) -> tuple[Path, ...]:
        """The unpacked layers, bottom first; empty where one is not unpacked."""
        chains = chain_ids(diff_ids)
        found = self._ask(lambda root: _snapshots(root, set(chains)))
        if found is None or not all(chain in found for chain in chains):
            return ()
        folders = tuple(self._folder(found[chain]) for chain in chains)
        return folders if all(f.is_dir() for f in folders) else ()

    def written_folder(self, container_id: str) -> Path | None:
        """Where a container's own files are, None where it is not known."""
        found = self._ask(lambda root: _snapshots(root, {container_id})) or {}
        folder = self._folder(found[container_id]) if container_id in found else None
        return folder if folder and folder.is_dir() else None

    def pulled(self, digest: str) -> bool:
        """Whether a blob came from a registry: containerd notes which (its ContentLabels)."""
        records = self.root / "io.containerd.metadata.v1.bolt" / "meta.db"
        return self._ask(lambda root: _has_source(root, digest.encode()), records) or False

    def _folder(self, number: int) -> Path:
        return self.root / OVERLAY / "snapshots" / str(number) / "fs"

    def _ask(self, question: Callable[[Bucket], T], records: Path | None = None) -> T | None:
        try:
            return look(records or self.root / OVERLAY / "metadata.db", question)
        except (OSError, Unreadable):
            return None


def document(path: Path, digest: str) -> bytes | None:
    """A small file that must have a digest, None where it is not there, too large, or damaged."""
    try:
        if path.stat().st_size > DOCUMENT_MAX:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if digest_of(data) == digest else None


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """The chain ID of each layer, bottom first (image-spec, config.md, Layer ChainID)."""
    chains: list[str] = []
    for diff_id in diff_ids:
        both = f"{chains[-1]} {diff_id}".encode() if chains else b""
        chains.append(digest_of(both) if both else diff_id)
    return tuple(chains)


def _snapshots(root: Bucket, wanted: set[str]) -> dict[str, int]:
    """The folder numbers of snapshots by name (containerd, snapshots/storage/bolt.go).

    Names are kept as NAMESPACE/NUMBER/NAME.
    """
    version = root.find(b"v1")
    bucket = version.find(b"snapshots") if version else None
    found: dict[str, int] = {}
    for key, value in bucket.items() if bucket else ():
        name = key.rpartition(b"/")[2].decode("utf-8", "replace")
        if name in wanted and isinstance(value, Bucket):
            found[name] = _uvarint(value.values().get(b"id", b""))
    return found


def _has_source(root: Bucket, digest: bytes) -> bool:
    """Whether a namespace knows where a blob is from (containerd, metadata/buckets.go)."""
    version = root.find(b"v1")
    for _, namespace in version.items() if version else ():
        found: Bucket | None = namespace if isinstance(namespace, Bucket) else None
        for name in (b"content", b"blob", digest, b"labels"):
            found = found.find(name) if found else None
        if found and any(key.startswith(SOURCE) for key in found.values()):
            return True
    return False


def _uvarint(data: bytes) -> int:
    """A number as Go's encoding/binary writes it: seven bits a byte, the lowest first."""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[:10]))


def _object(data: bytes | None) -> Mapping[str, Any]:
    try:
        found = parse_json(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _digest_of(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else ""
    return digest if isinstance(digest, str) else ""


def _diff_ids(config: Mapping[str, Any]) -> Any:
    rootfs = config.get("rootfs")
    return rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
