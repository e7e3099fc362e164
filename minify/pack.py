"""A keep set becomes an output image: one layer of original bytes, and the configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from minify.engines import Loaded
from minify.images.config import output_config
from minify.images.write import write_layer
from minify.model import KeepSet, OutputImage
from minify.steps import step


def pack(
    loaded: Loaded, keep: KeepSet, folder: Path, epoch: int | None, labels: Mapping[str, str]
) -> OutputImage:
    """Write the layer and the configuration; the same inputs give the same digest."""
    with step("Packing", files=len(keep.paths)) as progress:
        layer = folder / "layer.tar"
        info = write_layer(loaded.tree, keep.paths, layer, epoch=epoch)
        config = output_config(loaded.image, [info.diff_id], epoch=epoch, labels=labels)
        digest = "sha256:" + hashlib.sha256(config.encode()).hexdigest()
        progress.count("bytes", info.size)
        return OutputImage(
            digest=digest,
            diff_id=info.diff_id,
            config=config,
            layer_file=str(layer),
            size=info.content_bytes,
            files=info.entries,
        )
