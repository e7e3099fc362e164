"""The names of places images live in."""

from __future__ import annotations

import pytest

from minify.errors import UsageError
from minify.images.transports import Location, Transport, full_reference, parse_location

T = Transport


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("nginx", Location(T.ANY, "nginx")),
        ("nginx:1.25", Location(T.ANY, "nginx:1.25")),
        ("localhost:5000/a/b:c", Location(T.ANY, "localhost:5000/a/b:c")),
        ("docker:27-cli", Location(T.ANY, "docker:27-cli")),
        ("a@sha256:" + "0" * 64, Location(T.ANY, "a@sha256:" + "0" * 64)),
        ("sha256:" + "0" * 64, Location(T.ANY, "sha256:" + "0" * 64)),
        ("docker://ghcr.io/x/y:1", Location(T.REGISTRY, "ghcr.io/x/y:1")),
        ("docker-daemon:app:1", Location(T.DAEMON, "app:1")),
        ("docker-archive:/tmp/a.tar", Location(T.DOCKER_ARCHIVE, path="/tmp/a.tar")),
        ("docker-archive:a.tar:x/y:1", Location(T.DOCKER_ARCHIVE, path="a.tar", tag="x/y:1")),
        ("docker-archive:a.tar:@2", Location(T.DOCKER_ARCHIVE, path="a.tar", tag="@2")),
        ("oci:dir:v1", Location(T.OCI, path="dir", tag="v1")),
        ("oci-archive:a b.tar", Location(T.OCI_ARCHIVE, path="a b.tar")),
    ],
)
def test_names_are_parsed_and_print_as_they_were(text: str, location: Location) -> None:
    assert parse_location(text) == location
    assert str(location) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", "UPPER", "a b", "docker://", "docker://UPPER/x y", "docker-archive:", "oci::tag",
     "docker-daemon:", "-x", "a:b:c", "a/../b", "containers-storage:x/y", "x:" + "t" * 200,
     "http://host/image", "a\nb", "ünï"],
)  # fmt: skip
def test_malformed_names(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_location(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("host:5000/x", "host:5000/x:latest"),
        ("a@sha256:0", "docker.io/library/a@sha256:0"),
    ],
)
def test_full_references(short: str, full: str) -> None:
    assert full_reference(short) == full
