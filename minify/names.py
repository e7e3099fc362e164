"""Image names: what the output is called, and whether that name is free."""

from __future__ import annotations

import json
import re

from minify.engines import Engine
from minify.errors import UsageError
from minify.model import Image

SOURCE_LABEL = "io.minify.source"
VERSION_LABEL = "io.minify.version"
# distribution/reference: the repository part is lower case, the tag at most 128 characters.
_REPOSITORY = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_REPOSITORY}(?:/{_REPOSITORY})*(?::[\w][\w.-]{{0,127}})?"
)


def default_tag(reference: str) -> str:
    """The input's name with `-min` added to its tag."""
    name = reference.partition("@")[0]
    if re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", name):
        return f"minified:{name.removeprefix('sha256:')[:12]}"
    last = name.rpartition("/")[2]
    return f"{name}-min" if ":" in last else f"{name}:latest-min"


def check_tag(engine: Engine, tag: str, source: Image, *, force: bool) -> None:
    """Raise UsageError for a malformed name, or one that is not ours to move."""
    if not _NAME.fullmatch(tag):
        raise UsageError(f"not an image name: {tag}", hint="as in: --tag registry/name:tag")
    found = engine.find(tag)
    if found is None or force:
        return
    if source_of(found) == "" or found.digest == source.digest:
        raise UsageError(
            f"the name {tag} is in use by an image that minify did not make ({found.digest[:19]})",
            hint="choose another --tag, or --force to move the name",
        )


def source_of(image: Image) -> str:
    """The digest of the image this one was minified from, or nothing."""
    config = json.loads(image.config.raw).get("config") or {}
    return str((config.get("Labels") or {}).get(SOURCE_LABEL, ""))
