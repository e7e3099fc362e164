"""Write an OCI image layout, as a folder or an archive: the same input gives the same bytes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from minify.errors import BuildError
from minify.images.archive import LayerFile
from minify.images.config import canonical
from minify.images.gzip_write import compress
from minify.images.oci import CONFIGS, INDEXES, MANIFESTS, OCI, REF_NAME
from minify.images.tar_header import END, padding, plain_file
from minify.images.write import chunks
from minify.run import program, start

LAYER_TYPES = {
    "none": OCI + "layer.v1.tar",
    "gzip": OCI + "layer.v1.tar+gzip",
    "zstd": OCI + "layer.v1.tar+zstd",
}
LAYOUT = canonical({"imageLayoutVersion": "1.0.0"})


@dataclass(frozen=True)
class Packed:
    """What to write: layer tars bottom first, the configuration, and how to store them.

    `compression` is none, gzip or zstd. `annotations` go into the manifest.
    """

    layers: Sequence[LayerFile]
    config: str
    compression: str = "gzip"
    annotations: Mapping[str, str] = field(default_factory=dict)


def write_oci_layout(folder: Path, packed: Packed, tag: str = "") -> str:
    """Add an image to a layout folder (made if needed) under a tag; returns the manifest's digest.

    Blobs already there are kept, an entry with the same tag (or, without one, the same digest) is
    replaced, and index.json is written last, whole or not at all. Raises BuildError.
    """
    try:
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text(LAYOUT)
        manifest = _manifest(blobs, packed)
        entry = _stored(blobs, canonical(manifest).encode(), MANIFESTS[0])
        entry["platform"] = _platform(packed.config)
        if tag:
            entry["annotations"] = {REF_NAME: tag}
        _index(folder, entry, tag)
        return str(entry["digest"])
    except OSError as error:
        raise BuildError(f"cannot write {folder}: {error.strerror}") from error


def write_oci_archive(sink: Path, packed: Packed, tag: str, work: Path) -> str:
    """Write a layout with one image as a tar; `work` is an empty folder for the compressed layers.

    Returns the manifest's digest.
    """
    digest = write_oci_layout(work, packed, tag)
    archive_layout(work, sink)
    return digest


def archive_layout(folder: Path, sink: Path) -> None:
    """Write a layout folder as a tar; raises BuildError when it cannot."""
    try:
        with sink.open("wb") as out:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                size = path.stat().st_size
                out.write(plain_file(path.relative_to(folder).as_posix(), size))
                out.writelines(chunks(path))
                out.write(padding(size))
            out.write(END)
    except OSError as error:
        sink.unlink(missing_ok=True)
        raise BuildError(f"cannot write {sink}: {error.strerror}") from error


def copy_layout(source: Path, folder: Path, tag: str) -> str:
    """Add the only image of a layout to a layout folder (made if needed) under a tag.

    Blobs are linked where possible. An entry with the same tag is replaced, without a tag every
    entry that has none. index.json comes last; what was added before a failure is removed again.
    Returns the manifest's digest; raises BuildError.
    """
    made: list[Path] = []
    try:
        (entry,) = json.loads((source / "index.json").read_bytes())["manifests"]
        entry = {k: v for k, v in entry.items() if k != "annotations"}
        if tag:
            entry["annotations"] = {REF_NAME: tag}
        with _alone(folder):
            _copy_blobs(source, folder, made)
            (folder / "oci-layout").write_text(LAYOUT)
            _index(folder, entry, tag, unnamed=True)
        return str(entry["digest"])
    except BaseException as error:
        for path in made:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BuildError(f"cannot write {folder}: {error.strerror}") from error
        raise


def _copy_blobs(source: Path, folder: Path, made: list[Path]) -> None:
    """Bring over the blobs that are missing; `made` names them."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for blob in sorted((source / "blobs" / "sha256").iterdir()):
        target = blobs / blob.name
        if target.exists() and target.stat().st_size == blob.stat().st_size:
            continue
        with _temporary(blobs) as temporary:
            try:
                os.link(blob, temporary)
            except OSError:  # another file system
                shutil.copyfile(blob, temporary)
            made.append(target)
            temporary.replace(target)


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None, None, None]:
    """Keep other builds away from a layout's index for as long as we change it (flock(2))."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _manifest(blobs: Path, packed: Packed) -> dict[str, Any]:
    config = _stored(blobs, packed.config.encode(), CONFIGS[0])
    layers = [
        {
            "mediaType": LAYER_TYPES[packed.compression],
            **_compressed(blobs, path, diff_id, packed.compression),
        }
        for path, diff_id in packed.layers
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": config, "layers": layers}
    if packed.annotations:
        manifest["annotations"] = dict(packed.annotations)
    return manifest


def _platform(config: str) -> dict[str, str]:
    found = json.loads(config)
    keys = ("architecture", "os", "os.version", "variant")
    return {key: found[key] for key in keys if found.get(key)}


def _stored(blobs: Path, data: bytes, media_type: str) -> dict[str, Any]:
    name = hashlib.sha256(data).hexdigest()
    with _temporary(blobs) as temporary:
        temporary.write_bytes(data)
        temporary.replace(blobs / name)
    return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}


def _compressed(blobs: Path, layer: Path, diff_id: str, compression: str) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    how = {"none": chunks, "gzip": lambda path: compress(chunks(path)), "zstd": _zstd}
    pieces = how[compression](layer)
    with _temporary(blobs) as temporary:
        with temporary.open("wb") as out:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                out.write(piece)
        if compression == "none" and diff_id != "sha256:" + digest.hexdigest():
            raise BuildError(f"{layer} is not the layer {diff_id}", hint="it changed on disk")
        temporary.replace(blobs / digest.hexdigest())
    return {"digest": "sha256:" + digest.hexdigest(), "size": size}


@contextlib.contextmanager
def _temporary(blobs: Path) -> Generator[Path, None, None]:
    """A name beside the blobs for one being written; removed when it was not renamed."""
    path = blobs.parent / f".{secrets.token_hex(8)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _zstd(layer: Path) -> Generator[bytes, None, None]:
    """Compress with the `zstd` program."""
    with start([program("zstd"), "-q", "-c"]) as child:
        assert child.stdin and child.stdout
        feeder = threading.Thread(target=_feed, args=(layer, child.stdin), daemon=True)
        feeder.start()
        while piece := child.stdout.read(1 << 20):
            yield piece
        feeder.join()
        if child.wait() != 0:
            raise BuildError(f"zstd failed on {layer} with exit status {child.returncode}")


def _feed(layer: Path, sink: BinaryIO) -> None:
    with contextlib.suppress(BrokenPipeError):
        sink.writelines(chunks(layer))
        sink.close()


def _index(folder: Path, entry: dict[str, Any], tag: str, *, unnamed: bool = False) -> None:
    """Put an entry in the place of those it replaces; `unnamed`: of all without a name."""
    path = folder / "index.json"
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": []}
    if path.exists():
        try:
            index = json.loads(path.read_bytes())
            index["manifests"] = [
                m for m in index["manifests"]
                if not (_replaced(m, entry, tag) or (unnamed and not tag and not _name(m)))
            ]  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuildError(
                f"malformed index.json in {folder}", hint="write to another folder"
            ) from error
    index["manifests"].append(entry)
    with _temporary(folder / "blobs" / "sha256") as temporary:
        temporary.write_text(canonical(index))
        temporary.replace(path)


def _replaced(old: dict[str, Any], entry: dict[str, Any], tag: str) -> bool:
    name = _name(old)
    return bool(name == tag if tag else old.get("digest") == entry["digest"] and not name)


def _name(entry: dict[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(REF_NAME, ""))
