"""Read an OCI image layout, as a folder or in an archive (image-spec, image-layout.md).

Both families of manifests (OCI and Docker schema 2), nested indexes, gzip and zstd layers. Every
digest and size is verified before a document is believed or a layer used.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minify.errors import EngineError
from minify.images import limits as bounds
from minify.images.archive import archive_members
from minify.images.config import image_of_config, parse_config
from minify.images.opened import OpenedImage
from minify.images.platforms import best, host_platform, parse_platform, runs_on
from minify.images.span import Span
from minify.images.unpack import Blob, unpack_all
from minify.jsontext import parse_json
from minify.model import Layer, Platform

REF_NAME = "org.opencontainers.image.ref.name"
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
INDEXES = (OCI + "index.v1+json", DOCKER + "distribution.manifest.list.v2+json")
MANIFESTS = (OCI + "manifest.v1+json", DOCKER + "distribution.manifest.v2+json")
CONFIGS = (OCI + "config.v1+json", DOCKER + "container.image.v1+json")
LAYERS = (
    OCI + "layer.v1.tar",
    OCI + "layer.v1.tar+gzip",
    OCI + "layer.v1.tar+zstd",
    DOCKER + "image.rootfs.diff.tar",
    DOCKER + "image.rootfs.diff.tar.gzip",
    DOCKER + "image.rootfs.diff.tar.zstd",
)
FOREIGN = ("nondistributable", "foreign")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
DEPTH_MAX = 4
INDEXES_MAX = 100
LISTED_MAX = 10_000
HINT = "the layout is damaged or incomplete: copy or pull it again"

Lookup = Callable[[str], Span | None]  # a name inside the layout -> its bytes


@dataclass(frozen=True)
class Descriptor:
    """What an index or manifest says of a blob (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """Which image of a layout is wanted; empty: the only one, and this machine's platform."""

    tag: str = ""
    platform: str = ""

    @property
    def wanted(self) -> Platform:
        """The platform to choose among several."""
        return parse_platform(self.platform) if self.platform else host_platform()


def read_oci_layout(
    folder: Path, *, spool: Path, choice: Choice = Choice(), limits: bounds.Limits = bounds.DEFAULT
) -> OpenedImage:
    """Open an image of an OCI layout folder; compressed layers are unpacked into `spool`."""
    if not (folder / "index.json").is_file():
        raise EngineError(f"not an OCI image layout: {folder}", hint="it has no index.json")
    return _Reader(f"oci:{folder}", in_folder(folder), spool, limits).read(choice)


def read_oci_archive(
    path: Path, *, spool: Path, choice: Choice = Choice(), limits: bounds.Limits = bounds.DEFAULT
) -> OpenedImage:
    """Open an image of an OCI layout inside a tar; compressed layers are unpacked into `spool`."""
    found = archive_members(path, spool, limits)
    return _Reader(f"oci-archive:{path}", found.get, spool, limits).read(choice)


def in_folder(folder: Path) -> Lookup:
    """Look names up in a layout folder; only regular files count."""

    def lookup(name: str) -> Span | None:
        path = folder / name
        try:
            found = path.stat()
        except OSError:
            return None
        return Span(path, 0, found.st_size) if stat.S_ISREG(found.st_mode) else None

    return lookup


@dataclass(frozen=True)
class _Reader:
    """One layout being read; `where` names it in messages."""

    where: str
    lookup: Lookup
    spool: Path
    limits: bounds.Limits

    def read(self, choice: Choice) -> OpenedImage:
        """Find, verify and open the chosen image."""
        index = self.lookup("index.json")
        if index is None:
            raise EngineError(
                f"no index.json in {self.where}",
                hint="is it what docker save wrote? then name it docker-archive:FILE",
            )
        listed = self._descriptors(index.read(self.limits.max_document), "manifests")
        manifest = self._manifest(self._tagged(listed, choice.tag), choice.wanted)
        document = self._document(manifest)
        config_at = self._descriptor(document.get("config"))
        self._foreign(config_at, CONFIGS, "configuration")
        layers = self._listed(document, "layers")
        for layer in layers:
            self._foreign(layer, LAYERS, "layer")
        config = self._bytes(config_at)
        diff_ids = parse_config(config)["rootfs"]["diff_ids"]
        if len(layers) != len(diff_ids) or len(layers) > self.limits.max_layers:
            raise EngineError(
                f"{self.where}: the manifest lists {len(layers)} layers, the configuration "
                f"{len(diff_ids)} (at most {self.limits.max_layers} are read)"
            )
        tars = self._layers(layers, diff_ids)
        nouns = [Layer(i, d.digest, d.size) for i, d in zip(diff_ids, layers, strict=True)]
        name = manifest.annotations.get(REF_NAME) or choice.tag
        reference = f"{self.where}:{name}" if name else self.where
        image = image_of_config(reference, config, nouns)
        if choice.platform and not runs_on(image.platform, choice.wanted):
            raise EngineError(f"{reference} is for {image.platform}, not {choice.platform}")
        return OpenedImage(image, tars, self.limits, config, manifest.digest)

    def _layers(self, layers: list[Descriptor], diff_ids: list[str]) -> tuple[Span, ...]:
        pairs = zip(layers, diff_ids, strict=True)
        blobs = [Blob(self._span(layer), layer.digest, diff_id) for layer, diff_id in pairs]
        return unpack_all(blobs, self.spool, self.limits)

    def _tagged(self, listed: list[Descriptor], tag: str) -> list[Descriptor]:
        """The entries with a tag (full reference or its tag alone); all of them without one."""
        names = [d.annotations.get(REF_NAME, "") for d in listed]
        hits = [d for d, name in zip(listed, names, strict=True) if name == tag or not tag]
        if not hits:
            raise EngineError(
                f"no image tagged {tag} in {self.where}",
                hint=f"it has: {', '.join(filter(None, names)) or 'no tags'}",
            )
        if not tag and len({n for n in names if n}) > 1:
            raise EngineError(
                f"{self.where} holds {len(hits)} images", hint=f"name one: {', '.join(names)}"
            )
        return hits

    def _manifest(self, listed: list[Descriptor], wanted: Platform) -> Descriptor:
        """Choose the one manifest for a platform, also among those of nested indexes."""
        found, nested = self._leaves(listed)
        if not found:
            raise EngineError(f"{self.where} lists no image", hint=HINT)
        chosen: int | None = 0
        if len(found) > 1 or nested:
            chosen = best([d.platform for d in found], wanted)
        if chosen is None:
            offered = sorted({str(d.platform) for d in found if d.platform})
            raise EngineError(
                f"{self.where} has no image for {wanted}",
                hint=f"choose with --platform: {', '.join(offered) or 'none is named'}",
            )
        if found[chosen].media_type not in MANIFESTS:
            raise EngineError(
                f"{self.where}: unsupported manifest type {found[chosen].media_type or '(none)'}",
                hint="only OCI and Docker schema 2 images can be read",
            )
        return found[chosen]

    def _leaves(self, listed: list[Descriptor]) -> tuple[list[Descriptor], bool]:
        """All manifests below some entries, in order, and whether there was an index."""
        todo, found, opened = [(d, 0) for d in reversed(listed)], list[Descriptor](), 0
        while todo:
            at, depth = todo.pop()
            if at.media_type not in INDEXES:
                found.append(at)
                continue
            opened += 1
            if depth >= DEPTH_MAX or opened > INDEXES_MAX or len(todo) > LISTED_MAX:
                raise EngineError(f"{self.where}: indexes are nested without end", hint=HINT)
            below = self._descriptors(self._bytes(at), "manifests")
            todo.extend((d, depth + 1) for d in reversed(below))
        return found, opened > 0

    def _foreign(self, found: Descriptor, known: tuple[str, ...], what: str) -> None:
        if any(word in found.media_type for word in FOREIGN):
            raise EngineError(
                f"{self.where}: {what} {found.digest} is foreign (non-distributable)",
                hint="its bytes are not part of the image; such images cannot be minified",
            )
        if found.media_type not in known:
            raise EngineError(
                f"{self.where}: unsupported {what} type {found.media_type or '(none)'}",
                hint="is it an artifact or an encrypted image?",
            )

    def _descriptors(self, data: bytes, key: str) -> list[Descriptor]:
        return self._listed(self._json(data), key)

    def _listed(self, document: dict[str, Any], key: str) -> list[Descriptor]:
        found = document.get(key)
        if not isinstance(found, list):
            raise EngineError(f"{self.where}: a document lacks the list {key}", hint=HINT)
        if len(found) > LISTED_MAX:
            raise EngineError(f"{self.where}: a document lists {len(found)} {key}", hint=HINT)
        return [self._descriptor(item) for item in found]

    def _descriptor(self, item: Any) -> Descriptor:
        try:
            return descriptor_of(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EngineError(f"{self.where}: malformed descriptor: {error}", hint=HINT) from error

    def _document(self, at: Descriptor) -> dict[str, Any]:
        return self._json(self._bytes(at))

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            found = parse_json(data)
        except ValueError as error:
            raise EngineError(
                f"{self.where}: a document is not JSON: {error}", hint=HINT
            ) from error
        if not isinstance(found, dict):
            raise EngineError(f"{self.where}: a document is not a JSON object", hint=HINT)
        return found

    def _span(self, at: Descriptor) -> Span:
        span = self.lookup(f"blobs/{at.digest.replace(':', '/')}")
        if span is None:
            raise EngineError(f"{self.where} lacks the blob {at.digest}", hint=HINT)
        if span.size != at.size:
            raise EngineError(
                f"{self.where}: size mismatch: {at.digest} has {span.size} bytes, not {at.size}",
                hint=HINT,
            )
        return span

    def _bytes(self, at: Descriptor) -> bytes:
        """The bytes of a small document, verified."""
        span = self._span(at)
        data = span.read(self.limits.max_document)
        if span.sha256() != at.digest:
            raise EngineError(f"{self.where}: digest mismatch: {at.digest}", hint=HINT)
        return data


def descriptor_of(item: Any) -> Descriptor:
    """Read a descriptor; raises KeyError, TypeError or ValueError when it is not one."""
    digest, size = item["digest"], item["size"]
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError(f"not a sha256 digest: {digest!r:.100}")
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"not a size: {size!r:.100}")
    annotations = item.get("annotations") or {}
    return Descriptor(
        str(item.get("mediaType") or ""),
        digest,
        size,
        _platform(item.get("platform")),
        {str(k): str(v) for k, v in annotations.items()},
    )


def _platform(found: Any) -> Platform | None:
    if not isinstance(found, dict) or found.get("os") == "unknown":  # BuildKit's attestations
        return None
    parts = (found.get(k) or "" for k in ("os", "architecture", "variant"))
    return Platform(*(str(part) for part in parts))
