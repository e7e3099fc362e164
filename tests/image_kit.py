"""Builders of image files for tests: tars by the standard library, not by what is under test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minify.images.span import Span

Item = tuple[tarfile.TarInfo, bytes]
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def item(name: str, data: bytes | str = b"", **facts: Any) -> Item:
    """One tar member; `type`, `mode`, `linkname`, `pax_headers`... override its header."""
    raw = data.encode() if isinstance(data, str) else data
    info = tarfile.TarInfo(name)
    info.size = len(raw)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, raw


def folder(name: str, **facts: Any) -> Item:
    return item(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **facts})


def symlink(name: str, target: str) -> Item:
    return item(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard(name: str, target: str) -> Item:
    return item(name, type=tarfile.LNKTYPE, linkname=target)


def tar(items: Iterable[Item], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of members, by the standard library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind, errors="surrogateescape") as archive:
        for info, data in items:
            archive.addfile(info, io.BytesIO(data) if data else None)
    return out.getvalue()


def span(path: Path, data: bytes) -> Span:
    """Write bytes to a file and return their place."""
    path.write_bytes(data)
    return Span(path, 0, len(data))


def spans(directory: Path, *layers: Sequence[Item]) -> list[Span]:
    """Write one tar per layer."""
    return [span(directory / f"layer{n}.tar", tar(items)) for n, items in enumerate(layers)]


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers: Sequence[bytes], **extra: Any) -> bytes:
    """An image configuration for uncompressed layers."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        **extra,
    }
    return json.dumps(document).encode()


def docker_archive(
    layers: Sequence[bytes],
    *,
    tags: Sequence[str] = ("demo/app:1",),
    conf: bytes | None = None,
    extra: Sequence[Item] = (),
) -> bytes:
    """A docker-archive in the layout of old `docker save`."""
    configuration = conf if conf is not None else config(layers)
    name = hashlib.sha256(configuration).hexdigest() + ".json"
    names = [f"layer{n}/layer.tar" for n in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": names}]
    members = [item(n, data) for n, data in zip(names, layers, strict=True)]
    listing = item("manifest.json", json.dumps(manifest))
    return tar([*members, item(name, configuration), listing, *extra])


@dataclass
class Layout:
    """An OCI layout under construction: blobs by digest, and the entries of its index."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, data: bytes, media_type: str, **extra: Any) -> dict[str, Any]:
        """Store a blob; returns its descriptor."""
        digest = sha256(data)
        target = self.path / "blobs" / digest.replace(":", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **extra}

    def image(
        self,
        layers: Sequence[bytes],
        *,
        conf: bytes | None = None,
        family: str = OCI,
        packed: Sequence[bytes] | None = None,
        layer_type: str = "",
    ) -> dict[str, Any]:
        """Store an image; returns its manifest's descriptor. `packed`: the layers as stored."""
        docker = family == DOCKER
        kind = layer_type or (
            DOCKER + "image.rootfs.diff.tar.gzip" if docker else OCI + "layer.v1.tar+gzip"
        )
        stored = packed or [gzip.compress(layer, mtime=0) for layer in layers]
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(
                conf if conf is not None else config(layers),
                DOCKER + "container.image.v1+json" if docker else OCI + "config.v1+json",
            ),
            "layers": [self.blob(data, kind) for data in stored],
        }
        media = DOCKER + "distribution.manifest.v2+json" if docker else OCI + "manifest.v1+json"
        return self.blob(json.dumps(manifest).encode(), media)

    def index(self, entries: Sequence[dict[str, Any]], family: str = OCI) -> dict[str, Any]:
        """Store an index (manifest list) of manifests; returns its descriptor."""
        docker = family == DOCKER
        media = DOCKER + "distribution.manifest.list.v2+json" if docker else OCI + "index.v1+json"
        data = json.dumps({"schemaVersion": 2, "mediaType": media, "manifests": list(entries)})
        return self.blob(data.encode(), media)

    def add(self, entry: dict[str, Any], tag: str = "") -> Layout:
        """List a manifest or index in index.json."""
        named = {"annotations": {"org.opencontainers.image.ref.name": tag}} if tag else {}
        self.entries.append({**entry, **named})
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "manifests": self.entries}
        (self.path / "index.json").write_text(json.dumps(index))
        return self
