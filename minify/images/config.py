"""The configuration of an output image: the source's, whole, with new layers and history."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from minify.errors import BuildError, EngineError
from minify.images.run_config import Fields, run_config
from minify.jsontext import parse_json
from minify.model import Image, Layer, Platform

DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")
# What Docker 1.x noted about the container that ran the last build step: nothing of the image.
BUILD_ONLY = ("container", "container_config", "id", "parent", "parent_id", "layer_id", "throwaway")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same value is always the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def output_config(
    image: Image,
    diff_ids: Sequence[str],
    *,
    epoch: int | None,
    labels: Mapping[str, str] | None = None,
) -> str:
    """Carry the source's configuration over (image-spec, config.md) as canonical JSON text.

    Every key of it is kept, unknown ones too; only layers, history and the build container's data
    are replaced. `created` is `epoch` (seconds), else the source's. `labels` are added.
    """
    try:
        source = json.loads(image.config.raw)
    except ValueError as error:
        raise BuildError(f"the configuration of {image.reference} is not JSON: {error}") from error
    output = {key: value for key, value in source.items() if key not in BUILD_ONLY}
    output.setdefault("architecture", image.platform.architecture)
    output.setdefault("os", image.platform.os)
    if image.platform.variant:
        output.setdefault("variant", image.platform.variant)
    if labels:
        run = dict(output.get("config") or {})
        run["Labels"] = {**(run.get("Labels") or {}), **labels}
        output["config"] = run
    created = timestamp(epoch) if epoch is not None else output.pop("created", None)
    dated = {"created": created} if created else {}
    output["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids)}
    output["history"] = [{**dated, "created_by": "minify"} for _ in diff_ids]
    return canonical({**output, **dated})


def parse_config(data: bytes) -> dict[str, Any]:
    """Read an image configuration; raises EngineError when it is not one for an image of files."""
    try:
        found = parse_json(data)
        diff_ids = found["rootfs"]["diff_ids"]
        # They name files of the spool, so nothing but a digest will do.
        if not isinstance(diff_ids, list) or not all(map(DIFF_ID.fullmatch, diff_ids)):
            raise TypeError("diff_ids is not a list of sha256 digests")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"not an image configuration: {error}", hint="is it an artifact, not a runnable image?"
        ) from error
    return dict(found)


def image_of_config(reference: str, data: bytes, layers: Sequence[Layer]) -> Image:
    """Make an Image of a configuration as stored (image-spec, config.md); its digest is the ID.

    `layers` as found, bottom first; their history is added here.
    """
    found = parse_config(data)
    top = Fields("", found)
    top.text("created")
    platform = Platform(
        top.text("os", "linux"), top.text("architecture", "amd64"), top.text("variant")
    )
    history = found.get("history")
    steps = [h for h in history if isinstance(h, dict)] if isinstance(history, list) else []
    made = [str(h.get("created_by") or "") for h in steps if not h.get("empty_layer")]
    named = tuple(
        replace(layer, created_by=by)
        for layer, by in zip(layers, [*made, *[""] * len(layers)], strict=False)
    )
    return Image(
        reference=reference,
        digest="sha256:" + hashlib.sha256(data).hexdigest(),
        platform=platform,
        config=run_config(found.get("config"), canonical(found)),
        layers=named,
        size=sum(layer.size for layer in layers),
    )


def timestamp(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, as image configurations spell dates."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
