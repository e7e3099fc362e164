"""The docker-archive format (`docker save`): manifest.json, a configuration, and layer tars."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from minify.errors import BuildError
from minify.images.config import canonical
from minify.images.tar_header import END, padding, plain_file
from minify.images.write import chunks

LayerFile = tuple[Path, str]  # an uncompressed layer tar and its diff_id


def docker_archive_stream(
    layers: Sequence[LayerFile], config_json: str, tags: Sequence[str]
) -> Iterator[bytes]:
    """Yield a docker-archive piece by piece, so that it needs no second copy on disk.

    `layers` bottom first. The same arguments give the same bytes.
    """
    config = config_json.encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    names = [diff_id.rpartition(":")[2] + ".tar" for _, diff_id in layers]
    manifest = [{"Config": config_name, "Layers": names, "RepoTags": [full_tag(t) for t in tags]}]
    yield from _member("manifest.json", canonical(manifest).encode())
    yield from _member(config_name, config)
    for name, path in dict(zip(names, (p for p, _ in layers), strict=True)).items():
        size = path.stat().st_size
        yield plain_file(name, size)
        yield from chunks(path)
        yield padding(size)
    yield END


def write_docker_archive(
    sink: Path | BinaryIO, layers: Sequence[LayerFile], config_json: str, tags: Sequence[str]
) -> None:
    """Write a docker-archive to a path or a binary stream; raises BuildError when it cannot."""
    if not isinstance(sink, Path):
        for piece in docker_archive_stream(layers, config_json, tags):
            sink.write(piece)
        return
    try:
        with sink.open("wb") as stream:
            write_docker_archive(stream, layers, config_json, tags)
    except OSError as error:
        sink.unlink(missing_ok=True)
        raise BuildError(f"cannot write {sink}: {error.strerror}") from error


def full_tag(tag: str) -> str:
    """A reference with a tag: `latest` where it has none; loaders refuse it otherwise."""
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield plain_file(name, len(data)) + data + padding(len(data))
