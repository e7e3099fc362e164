"""What `docker image inspect` says, as our nouns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from minify.images.config import image_of_config, parse_config
from minify.images.run_config import Fields, run_config
from minify.images.transports import full_reference
from minify.model import Image, Layer, Platform


def image_of(reference: str, found: dict[str, Any], stored: bytes | None = None) -> Image:
    """Turn an inspect answer (Docker Engine API, ImageInspect) into an Image.

    `stored` is its configuration as the engine keeps it, which says what inspect leaves out and
    whose digest is the identity: an engine's own ID may be that of a manifest or of an index.
    """
    if stored is not None:
        layers = [Layer(d) for d in parse_config(stored)["rootfs"]["diff_ids"]]
        image = image_of_config(reference, stored, layers)
        return replace(image, engine_id=found["Id"], size=int(found.get("Size") or 0))
    config = dict(Fields("", found).table("Config").values)
    platform = Platform(
        found.get("Os") or "linux", found.get("Architecture") or "amd64", found.get("Variant") or ""
    )
    diff_ids = (found.get("RootFS") or {}).get("Layers") or []
    return Image(
        reference=reference,
        digest=found["Id"],
        engine_id=found["Id"],
        platform=platform,
        config=run_config(config, _raw(found, config, platform)),
        layers=tuple(Layer(diff_id=d) for d in diff_ids),
        size=int(found.get("Size") or 0),
    )


def _raw(found: dict[str, Any], config: dict[str, Any], platform: Platform) -> str:
    """Rebuild the OCI image configuration (image-spec, config.md) from the inspect answer."""
    raw: dict[str, Any] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": found.get("Created"),
        "author": found.get("Author"),
        "config": {k: v for k, v in config.items() if v not in (None, "", [], {}, False)},
        "rootfs": {"type": "layers", "diff_ids": (found.get("RootFS") or {}).get("Layers") or []},
    }
    if platform.variant:
        raw["variant"] = platform.variant
    return json.dumps({k: v for k, v in raw.items() if v}, sort_keys=True)


def manifest_of(reference: str, found: dict[str, Any]) -> str:
    """The digest of the image's manifest in the registry it was pulled from, or nothing."""
    name, at, digest = reference.partition("@")
    if at:
        return digest
    repository = full_reference(name).rpartition(":")[0]
    pairs = [str(item).partition("@") for item in found.get("RepoDigests") or ()]
    same = [d for n, _, d in pairs if full_reference(n).rpartition(":")[0] == repository]
    return same[0] if len(same) == 1 else ""
