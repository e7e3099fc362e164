"""What `docker image inspect` says, as our nouns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minify.images.run_config import Fields, run_config
from minify.images.transports import full_reference
from minify.model import Image, Layer, Platform


def image_of(reference: str, found: dict[str, Any]) -> Image:
    """Turn an inspect answer (Docker Engine API, ImageInspect) into an Image."""
    config = dict(Fields("", found).table("Config").values)
    platform = Platform(
        found.get("Os") or "linux", found.get("Architecture") or "amd64", found.get("Variant") or ""
    )
    diff_ids = (found.get("RootFS") or {}).get("Layers") or []
    return Image(
        reference=reference,
        digest=found["Id"],
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
    if found.get("OsVersion"):
        raw["os.version"] = found["OsVersion"]
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


def layer_dirs(found: dict[str, Any]) -> tuple[Path, ...]:
    """The engine's own layer directories, bottom first; empty when they can't be read here."""
    driver = found.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if driver.get("Name") not in ("overlay2", "overlay"):
        return ()
    lower = [p for p in (data.get("LowerDir") or "").split(":") if p]
    upper = data.get("UpperDir")
    directories = tuple(Path(p) for p in [*reversed(lower), *([upper] if upper else [])])
    return directories if all(d.is_dir() for d in directories) else ()
