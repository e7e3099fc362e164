"""Image names: what the output is called, and whether that name is free."""

from __future__ import annotations

import json
import re
from pathlib import Path

from minify.engines import Engine
from minify.errors import UsageError
from minify.images.transports import REFERENCE, Location, parse_location
from minify.model import Image

SOURCE_LABEL = "io.minify.source"
VERSION_LABEL = "io.minify.version"
# distribution/reference: the repository part is lower case, the tag at most 128 characters.
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_REPOSITORY}(?:/{_REPOSITORY})*(?::[\w][\w.-]{{0,127}})?"
)


def default_tag(reference: str) -> str:
    """The input's name with `-min` added to its tag; that of a file is the file's."""
    place = parse_location(reference)
    name = place.reference.partition("@")[0]
    if place.transport.on_disk:
        name = _name_of_file(place)
    if re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", name):
        return f"minified:{name.removeprefix('sha256:')[:12]}"
    last = name.rpartition("/")[2]
    return f"{name}-min" if ":" in last else f"{name}:latest-min"


def _name_of_file(place: Location) -> str:
    """A name for an image in a file: its tag where that is a whole name, else the file's."""
    if REFERENCE.fullmatch(place.tag) and set(place.tag) & set(":/"):
        return place.tag.partition("@")[0]
    stem = re.sub(r"\.(tar|tgz|tar\.[a-z0-9]+|oci)$", "", Path(place.path).resolve().name.lower())
    name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-") or "image"
    tag = re.sub(r"[^\w.-]+", "-", place.tag.lstrip("@"), flags=re.ASCII).strip("-.")[:120]
    return f"{name}:{tag or 'latest'}"


def check_tag(engine: Engine, tag: str, source: Image, *, force: bool) -> None:
    """Raise UsageError for a malformed name, or one that is not ours to move."""
    if not _NAME.fullmatch(tag):
        raise UsageError(f"not an image name: {tag}", hint="as in: --tag registry/name:tag")
    found = engine.find(tag)
    if found is None or force:
        return
    if source_of(found) == "" or found.digest == source.digest:
        raise UsageError(
            f"the name {tag} is in use by an image that minify did not make ({found.handle[:19]})",
            hint="choose another --tag, or --force to move the name",
        )


def source_of(image: Image) -> str:
    """The digest of the image this one was minified from, or nothing."""
    config = json.loads(image.config.raw).get("config") or {}
    return str((config.get("Labels") or {}).get(SOURCE_LABEL, ""))
