"""The ecosystem's names for where an image lives (containers-transports(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from minify.errors import UsageError


class Transport(StrEnum):
    """Where an image lives. ANY: a bare name, for an engine if one answers, else the registry."""

    ANY = ""
    REGISTRY = "docker"
    DAEMON = "docker-daemon"
    DOCKER_ARCHIVE = "docker-archive"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"

    @property
    def on_disk(self) -> bool:
        """Whether its names are paths."""
        return self in (Transport.DOCKER_ARCHIVE, Transport.OCI, Transport.OCI_ARCHIVE)


# distribution/reference: [HOST[:PORT]/]PATH[:TAG][@DIGEST]
HOST = (
    r"(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9-]+)*)(?::\d+)?"
)
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
TAG = r"[\w][\w.-]{0,127}"
REFERENCE = re.compile(
    rf"(?:{HOST}/)?{PART}(?:/{PART})*(?::{TAG})?(?:@sha256:[0-9a-f]{{64}})?", re.ASCII
)
IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Location:
    """An image's place: a `reference` in a registry or engine, or a `path` and perhaps a `tag`."""

    transport: Transport
    reference: str = ""
    path: str = ""
    tag: str = ""

    def __str__(self) -> str:
        if self.transport is Transport.ANY:
            return self.reference
        if self.transport is Transport.REGISTRY:
            return f"docker://{self.reference}"
        rest = self.reference or ":".join(filter(None, (self.path, self.tag)))
        return f"{self.transport}:{rest}"


def parse_location(text: str) -> Location:
    """Read an image name in any of the known spellings; raises UsageError for a malformed one."""
    name, colon, rest = text.partition(":")
    if not colon or name not in set(Transport) - {Transport.ANY}:
        return Location(Transport.ANY, reference=_reference(text, text))
    transport = Transport(name)
    if transport is Transport.REGISTRY:
        if not rest.startswith("//"):
            # `docker:27-cli` is an image of that name, as every engine reads it.
            return Location(Transport.ANY, reference=_reference(text, text))
        return Location(transport, reference=_reference(rest[2:], text))
    if not transport.on_disk:
        return Location(transport, reference=_reference(rest, text))
    path, _, tag = rest.partition(":")
    if not path or "\0" in path:
        raise UsageError(f"no path in {text!r}", hint=f"write {name}:PATH or {name}:PATH:TAG")
    return Location(transport, path=path, tag=tag)


def located(text: str, base: Path) -> str:
    """The same location with a path that starts at `base`; anything else stays as it is."""
    name, colon, rest = text.partition(":")
    on_disk = colon and name in {t.value for t in Transport if t.on_disk}
    return f"{name}:{base / rest}" if on_disk and rest else text


def _reference(reference: str, text: str) -> str:
    if not (REFERENCE.fullmatch(reference) or IMAGE_ID.fullmatch(reference)):
        raise UsageError(
            f"not an image name: {text!r}",
            hint="write [HOST[:PORT]/]NAME[:TAG] in lower case, or TRANSPORT:...",
        )
    return reference


def full_reference(reference: str) -> str:
    """A reference spelled out as Docker understands it: host, `library/`, and tag `latest`."""
    name, at, digest = reference.partition("@")
    host, slash, rest = name.partition("/")
    if not slash or not (set(host) & set(".:") or host == "localhost" or host != host.lower()):
        host, rest = "docker.io", name
    if host in ("docker.io", "index.docker.io"):
        host, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    if ":" not in rest and not at:
        rest += ":latest"
    return f"{host}/{rest}{at}{digest}"
