"""The docker-archive format (`docker save`): manifest.json, a configuration, and layer tars."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from minify.errors import BuildError, EngineError
from minify.images import limits as bounds
from minify.images.config import canonical, image_of_config, parse_config
from minify.images.opened import OpenedImage
from minify.images.span import Span
from minify.images.tar_header import END, padding, plain_file
from minify.images.tar_read import members
from minify.images.transports import full_reference
from minify.images.unpack import Blob, compression, unpack_all, unpacked
from minify.jsontext import parse_json
from minify.model import Layer
from minify.tree import MAX_LINKS

MANIFEST = "manifest.json"
MEMBERS_MAX = 200_000
LayerFile = tuple[Path, str]  # an uncompressed layer tar and its diff_id
LayerSpan = tuple[Span, str]


def docker_archive_stream(
    layers: Sequence[LayerFile | LayerSpan], config_json: str | bytes, tags: Sequence[str]
) -> Iterator[bytes]:
    """Yield a docker-archive piece by piece, so that it needs no second copy on disk.

    `layers` bottom first. The same arguments give the same bytes.
    """
    config = config_json.encode() if isinstance(config_json, str) else config_json
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    names = [diff_id.rpartition(":")[2] + ".tar" for _, diff_id in layers]
    manifest = [{"Config": config_name, "Layers": names, "RepoTags": [full_tag(t) for t in tags]}]
    yield from _member("manifest.json", canonical(manifest).encode())
    yield from _member(config_name, config)
    for name, place in dict(zip(names, (p for p, _ in layers), strict=True)).items():
        span = place if isinstance(place, Span) else Span(place, 0, place.stat().st_size)
        yield plain_file(name, span.size)
        yield from span.chunks()
        yield padding(span.size)
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


def archive_members(path: Path, spool: Path, limits: bounds.Limits) -> dict[str, Span]:
    """Index a tar archive on disk: where each file in it lies; links within it are followed.

    A compressed archive is unpacked once into `spool`. Raises EngineError for a damaged one.
    """
    try:
        whole = Span(path, 0, path.stat().st_size)
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if not path.is_file() or not whole.size:
        raise EngineError(f"not an image archive: {path}", hint="make one with: docker save")
    if compression(whole):
        whole = unpacked(Blob(whole), spool, limits)
    return _indexed(whole)


def _indexed(whole: Span) -> dict[str, Span]:
    found: dict[str, Span] = {}
    links: dict[str, str] = {}
    for number, member in enumerate(members(whole)):
        if number > MEMBERS_MAX:
            raise EngineError(f"{whole.path} has more than {MEMBERS_MAX} members")
        name = _name(member.name)
        if member.type == b"0":
            found[name] = whole.part(member.offset, member.size)
        elif member.type == b"2":  # docker save stores a layer used twice as a symlink
            links[name] = posixpath.join(posixpath.dirname(name), _name(member.link))
        elif member.type == b"1":
            links[name] = _name(member.link)
    for name in links:
        if (target := _follow(name, links)) in found:
            found[name] = found[target]
    return found


def _name(raw: bytes) -> str:
    return posixpath.normpath(raw.decode("utf-8", "surrogateescape"))


def _follow(name: str, links: Mapping[str, str]) -> str:
    for _ in range(MAX_LINKS):
        if name not in links:
            break
        name = posixpath.normpath(links[name])
    return name


def read_docker_archive(
    path: Path, *, spool: Path, tag: str = "", limits: bounds.Limits = bounds.DEFAULT
) -> OpenedImage:
    """Open an image of a docker-archive (old and new layout, plain, gzip or zstd) in place.

    `tag` chooses among several: a reference, or `@N` by position. Compressed parts are unpacked
    into `spool`. Raises EngineError when it is damaged, lacks a part, or the choice is not clear.
    """
    found = archive_members(path, spool, limits)
    if MANIFEST not in found:
        raise EngineError(
            f"no {MANIFEST} in {path}", hint="is it an OCI archive? then name it oci-archive:FILE"
        )
    item = _chosen(path, _manifest(found[MANIFEST], limits), tag)
    config = _part(path, found, item["Config"]).read(limits.max_document)
    diff_ids = parse_config(config)["rootfs"]["diff_ids"]
    names = item["Layers"]
    if len(names) != len(diff_ids) or len(names) > limits.max_layers:
        raise EngineError(
            f"{path} lists {len(names)} layers, its configuration {len(diff_ids)} "
            f"(at most {limits.max_layers} are read)"
        )
    pairs = zip(names, diff_ids, strict=True)
    blobs = [Blob(_part(path, found, name), "", diff_id) for name, diff_id in pairs]
    tars = unpack_all(blobs, spool, limits)
    layers = [Layer(d, d, tar.size) for d, tar in zip(diff_ids, tars, strict=True)]
    reference = next(iter(item.get("RepoTags") or ()), f"docker-archive:{path}")
    return OpenedImage(image_of_config(reference, config, layers), tars, limits, config)


def _part(path: Path, found: Mapping[str, Span], name: str) -> Span:
    span = found.get(posixpath.normpath(name))
    if span is None:
        raise EngineError(f"{path} lacks {name}", hint="the archive is incomplete: save it again")
    return span


def _manifest(span: Span, limits: bounds.Limits) -> list[dict[str, Any]]:
    try:
        items = parse_json(span.read(limits.max_document))
        for item in items:
            tags = item.get("RepoTags") or []
            if not all(isinstance(x, str) for x in [item["Config"], *item["Layers"], *tags]):
                raise TypeError("a name is not a string")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"malformed {MANIFEST} in {span.path}: {error}") from error
    return list(items)


def _chosen(path: Path, items: list[dict[str, Any]], tag: str) -> dict[str, Any]:
    if tag.startswith("@") and tag[1:].isdigit():
        hits = items[int(tag[1:]) :][:1]
    elif tag:
        wanted = full_reference(tag)
        hits = [i for i in items if wanted in map(full_reference, i.get("RepoTags") or ())]
    else:
        hits = items
    if len(hits) == 1:
        return hits[0]
    tags = [t for i in items for t in i.get("RepoTags") or ()]
    raise EngineError(
        f"{path} holds {len(items)} images, {len(hits)} of them match {tag or 'no tag'}",
        hint=f"name one: docker-archive:{path}:TAG with TAG of {', '.join(tags) or '@0, @1, ...'}",
    )
