"""Re-read an image file and list everything that is wrong with it, not the first thing only.

For OCI layouts (folder or archive) and docker-archives. Stricter than any runtime: what minify
writes must be sorted, complete and free of surprises, and every document as the specifications say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minify.errors import EngineError
from minify.images import limits as bounds
from minify.images.archive import MANIFEST, archive_members
from minify.images.check_config import config_violations
from minify.images.check_tar import layer_violations
from minify.images.oci import (
    CONFIGS,
    INDEXES,
    LAYERS,
    MANIFESTS,
    Descriptor,
    Lookup,
    descriptor_of,
    in_folder,
)
from minify.images.span import Span
from minify.images.unpack import Blob, compression, unpacked
from minify.jsontext import parse_json


@dataclass(frozen=True, order=True)
class Violation:
    """What is wrong, and where: a file, a digest, or a path in a layer."""

    where: str
    message: str


def validate(
    path: Path, limits: bounds.Limits = bounds.DEFAULT, *, folder: Path | None = None
) -> list[Violation]:
    """List all violations of an OCI layout folder, an oci-archive or a docker-archive, sorted.

    Compressed layers are unpacked into a temporary folder that is gone at the end; it is made in
    `folder`, else where temporary files go.
    """
    with tempfile.TemporaryDirectory(prefix="minify-check-", dir=folder) as spool:
        try:
            check = _opened(path, Path(spool), limits)
        except EngineError as error:
            return [Violation(str(path), error.message)]
        return sorted(set(check.violations()))


def _opened(path: Path, spool: Path, limits: bounds.Limits) -> _Check:
    if path.is_dir():
        return _Check(in_folder(path), spool, limits, MANIFEST in _names(path))
    found = archive_members(path, spool, limits)
    return _Check(found.get, spool, limits, MANIFEST in found)


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@dataclass(frozen=True)
class _Check:
    """One image file under examination."""

    lookup: Lookup
    spool: Path
    limits: bounds.Limits
    docker: bool

    def violations(self) -> Iterator[Violation]:
        """Yield everything that is wrong."""
        yield from self._docker() if self.docker else self._layout()

    # ---- OCI layouts

    def _layout(self) -> Iterator[Violation]:
        layout = self._json("oci-layout", self.lookup("oci-layout"))
        if layout.get("imageLayoutVersion") != "1.0.0":
            yield Violation("oci-layout", "imageLayoutVersion is not 1.0.0")
        if self.lookup("index.json") is None:
            yield Violation("index.json", "is missing")
            return
        yield from self._index("index.json", self._json("index.json", self.lookup("index.json")), 0)

    def _index(self, where: str, index: dict[str, Any], depth: int) -> Iterator[Violation]:
        if index.get("schemaVersion") != 2:
            yield Violation(where, "schemaVersion is not 2")
        for item in _list(index, "manifests"):
            known = (*MANIFESTS, *INDEXES) if depth < 4 else MANIFESTS
            at, wrong = self._descriptor(where, item, known)
            yield from wrong
            if at is None:
                continue
            document = self._json(at.digest, self._blob(at))
            if document.get("mediaType", at.media_type) != at.media_type:
                yield Violation(at.digest, "mediaType differs from its descriptor's")
            if at.media_type in INDEXES:
                yield from self._index(at.digest, document, depth + 1)
            else:
                yield from self._manifest(at.digest, document)

    def _manifest(self, where: str, manifest: dict[str, Any]) -> Iterator[Violation]:
        if manifest.get("schemaVersion") != 2:
            yield Violation(where, "schemaVersion is not 2")
        at, wrong = self._descriptor(where, manifest.get("config"), CONFIGS)
        yield from wrong
        config = self._json(at.digest, self._blob(at)) if at else {}
        if at:
            yield from _config_violations(at.digest, config)
        layers = _list(manifest, "layers")
        diff_ids = _diff_ids(config)
        if len(layers) != len(diff_ids):
            yield Violation(where, f"{len(layers)} layers, {len(diff_ids)} diff_ids")
        for item, diff_id in zip(layers, diff_ids, strict=False):
            at, wrong = self._descriptor(where, item, LAYERS)
            yield from wrong
            span = self._blob(at) if at else None
            if at and span:
                yield from self._layer(at.digest, span, diff_id, at.media_type)

    def _descriptor(
        self, where: str, item: Any, known: tuple[str, ...]
    ) -> tuple[Descriptor | None, list[Violation]]:
        """Read a descriptor and examine its blob; None when there is nothing to go on with."""
        try:
            at = descriptor_of(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return None, [Violation(where, f"malformed descriptor: {error}")]
        wrong = []
        if at.media_type not in known:
            wrong.append(Violation(at.digest, f"unexpected media type {at.media_type or '(none)'}"))
        span = self._blob(at)
        if span is None:
            return None, [*wrong, Violation(at.digest, "blob is missing")]
        if span.size != at.size:
            wrong.append(Violation(at.digest, f"has {span.size} bytes, not {at.size}"))
        if span.sha256() != at.digest:
            wrong.append(Violation(at.digest, "content does not have this digest"))
        return at, wrong

    def _blob(self, at: Descriptor) -> Span | None:
        return self.lookup(f"blobs/{at.digest.replace(':', '/')}")

    # ---- docker-archives

    def _docker(self) -> Iterator[Violation]:
        items = self._any(MANIFEST, self.lookup(MANIFEST))
        for item in items if isinstance(items, list) and items else [None]:
            if not isinstance(item, dict):
                yield Violation(MANIFEST, "is not a list of images")
                continue
            name = str(item.get("Config"))
            config = self._json(name, self.lookup(name))
            span = self.lookup(name)
            if span and span.sha256().partition(":")[2] not in name:
                yield Violation(name, "is not named after its digest")
            yield from _config_violations(name, config)
            for tag in _list(item, "RepoTags"):
                if ":" not in str(tag).rpartition("/")[2]:
                    yield Violation(MANIFEST, f"reference without a tag: {tag}")
            layers, diff_ids = _list(item, "Layers"), _diff_ids(config)
            if len(layers) != len(diff_ids):
                yield Violation(MANIFEST, f"{len(layers)} layers, {len(diff_ids)} diff_ids")
            for layer, diff_id in zip(layers, diff_ids, strict=False):
                found = self.lookup(str(layer))
                if found is None:
                    yield Violation(str(layer), "layer is missing")
                else:
                    yield from self._layer(str(layer), found, diff_id, "")

    # ---- both

    def _layer(self, where: str, span: Span, diff_id: str, media: str) -> Iterator[Violation]:
        try:
            found = compression(span)
            if media and found != _compression_of(media):
                yield Violation(where, f"is {found or 'plain'}, not {media.rpartition('.')[2]}")
            tar = unpacked(Blob(span), self.spool, self.limits)
            if tar.sha256() != diff_id:
                yield Violation(where, f"unpacks to {tar.sha256()}, not {diff_id}")
            for path, message in layer_violations(tar):
                yield Violation(f"{where}:{path}", message)
        except EngineError as error:
            yield Violation(where, error.message)

    def _any(self, where: str, span: Span | None) -> Any:
        if span is None:
            return None
        try:
            return parse_json(span.read(self.limits.max_document))
        except (ValueError, EngineError):
            return None

    def _json(self, where: str, span: Span | None) -> dict[str, Any]:
        """A document, or an empty one: whatever it should say is then found missing."""
        found = self._any(where, span)
        return found if isinstance(found, dict) else {}


def _compression_of(media_type: str) -> str:
    return next((kind for kind in ("gzip", "zstd") if media_type.endswith(kind)), "")


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _diff_ids(config: Mapping[str, Any]) -> list[str]:
    rootfs = config.get("rootfs")
    return [str(d) for d in _list(rootfs, "diff_ids")] if isinstance(rootfs, dict) else []


def _config_violations(where: str, config: dict[str, Any]) -> Iterator[Violation]:
    for key, message in config_violations(config):
        yield Violation(where, f"{key} {message}")
