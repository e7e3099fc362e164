"""A keep set becomes an output image: layers of original bytes, and the configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from minify.engines import Loaded
from minify.errors import Unsupported
from minify.fleet import RULE, Fleet
from minify.images.config import output_config
from minify.images.split import Part, core, split, why_not
from minify.images.write import LayerInfo, write_layer
from minify.model import Finding, KeepSet, OutputImage, PackedLayer, Reason
from minify.steps import step

LEVEL = "io.minify.level"
BASE = "org.opencontainers.image.base.digest"
SHARED = Reason(RULE, "--layers shared", "part of the base layer that minified images share")


def single(loaded: Loaded, keep: KeepSet) -> tuple[KeepSet, tuple[Part, ...]]:
    """Everything in one layer."""
    return keep, (Part("all", loaded.tree, tuple(keep.paths)),)


def shared(
    loaded: Loaded, keep: KeepSet, fleet: Fleet | None = None
) -> tuple[KeepSet, tuple[Part, ...]]:
    """Layers that other minified images of the same base have too (docs/adr/0007).

    The first is the fleet's list, or the C library where there is none. The keep set returned has
    the files of it that this image alone would not need, or a finding that says why it is left out.
    """
    if loaded.base is None:
        raise Unsupported("this engine does not tell the layers of an image apart")
    count = min(fleet.layers if fleet else 1, len(loaded.image.layers))
    base = loaded.base(count)
    wanted = fleet.of(base) if fleet else core(base)
    parts = split(loaded.tree, base, keep.paths, wanted)
    mine = next((part.paths for part in parts if part.name == "base"), ())
    findings = keep.findings
    if fleet and not mine:
        why = why_not(loaded.tree, base, wanted)
        findings += (Finding(RULE, why.path, f"the fleet's layer is left out: {why.text}"),)
        with step("Sharing") as progress:
            progress.warn(f"{findings[-1].message} ({why.path})")
    paths = {**dict.fromkeys(mine, (SHARED,)), **keep.paths}
    return replace(keep, paths=paths, findings=findings), parts or single(loaded, keep)[1]


def pack(
    loaded: Loaded,
    keep: KeepSet,
    parts: Sequence[Part],
    folder: Path,
    epoch: int | None,
    labels: Mapping[str, str],
) -> OutputImage:
    """Write the layers and the configuration; the same inputs give the same digest."""
    with step("Packing", files=len(keep.paths), layers=len(parts)) as progress:
        layers, infos = list[PackedLayer](), list[LayerInfo]()
        for number, part in enumerate(parts):
            sink = folder / f"layer-{number}.tar"
            infos.append(write_layer(part.tree, part.paths, sink, epoch=epoch))
            layers.append(PackedLayer(infos[-1].diff_id, str(sink)))
        diff_ids = [layer.diff_id for layer in layers]
        config = output_config(loaded.image, diff_ids, epoch=epoch, labels=labels)
        progress.count("bytes", sum(info.size for info in infos))
        base = {BASE: loaded.manifest} if loaded.manifest else {}
        return OutputImage(
            digest="sha256:" + hashlib.sha256(config.encode()).hexdigest(),
            diff_id=layers[-1].diff_id,
            config=config,
            layer_file=layers[-1].file,
            size=sum(info.content_bytes for info in infos),
            files=sum(info.entries for info in infos),
            layers=tuple(layers) if len(layers) > 1 else (),
            annotations={**labels, LEVEL: keep.level.value, **base},
        )
