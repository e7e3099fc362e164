"""The configuration of an output image: the source's, whole, with new layers and history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from minify.errors import BuildError
from minify.model import Image

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


def timestamp(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, as image configurations spell dates."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
