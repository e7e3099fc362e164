"""A real registry on loopback, with a password and a self-signed certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minify.errors import EngineError
from minify.images.config import output_config
from minify.images.oci import Choice, read_oci_layout
from minify.images.oci_write import Packed, write_oci_layout
from minify.images.registry import Access, inspect, pull, push
from minify.images.write import write_layer
from minify.model import Image, ImageConfig, Platform
from tests.kit import Exec, tree
from tests.registry_kit import MISSING, Registry, free_port, serving

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
DEFAULT = Platform()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(tmp_path_factory.mktemp("registry")) as found:
        yield found


def layout(folder: Path, text: str, platform: Platform = DEFAULT) -> Path:
    """An image of two layers, of which only the second depends on `text`."""
    layers = []
    for name, content in (("base", b"b" * 100_000), ("app", text.encode())):
        files = tree({f"/{name}": Exec(content)})
        info = write_layer(files, files.entries, folder.with_suffix(f".{name}.tar"), epoch=0)
        layers.append((folder.with_suffix(f".{name}.tar"), info.diff_id))
    image = Image("demo", "", platform, ImageConfig())
    config = output_config(image, [diff_id for _, diff_id in layers], epoch=0)
    write_oci_layout(folder, Packed(layers, config), "v1")
    return folder


def test_push_and_pull_give_the_same_image(registry: Registry, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", "round trip")
    push(source, "v1", f"{registry.host}/team/app:1", access=registry.access)
    pull(f"{registry.host}/team/app:1", tmp_path / "back", "x", access=registry.access)
    one = read_oci_layout(source, spool=tmp_path, choice=Choice("v1"))
    two = read_oci_layout(tmp_path / "back", spool=tmp_path, choice=Choice("x"))
    assert one.image.digest == two.image.digest
    assert two.tree.read("/app") == b"round trip"


def test_layers_already_there_are_not_sent_again(registry: Registry, tmp_path: Path) -> None:
    push(
        layout(tmp_path / "a", "one"), "v1", f"{registry.host}/team/twice:1", access=registry.access
    )
    before = registry.uploads()
    push(
        layout(tmp_path / "b", "two"), "v1", f"{registry.host}/team/twice:2", access=registry.access
    )
    assert registry.uploads() - before == 2  # the changed layer and the configuration
    before = registry.uploads()
    push(tmp_path / "b", "v1", f"{registry.host}/team/twice:3", access=registry.access)
    assert registry.uploads() == before


def test_inspect_reads_the_configuration_only(registry: Registry, tmp_path: Path) -> None:
    source = layout(tmp_path / "source", "look at me")
    push(source, "v1", f"{registry.host}/team/look:1", access=registry.access)
    found = inspect(f"{registry.host}/team/look:1", access=registry.access)
    listed = json.loads((source / "index.json").read_text())["manifests"]
    assert found.manifest_digest == listed[0]["digest"]
    local = read_oci_layout(source, spool=tmp_path, choice=Choice("v1"))
    assert found.image.digest == local.image.digest


def test_another_platform(registry: Registry, tmp_path: Path) -> None:
    arm = Platform("linux", "arm64", "v8")
    push(
        layout(tmp_path / "s", "arm", arm), "v1", f"{registry.host}/team/arm:1",
        access=registry.access,
    )  # fmt: skip
    name = f"{registry.host}/team/arm:1"
    pull(name, tmp_path / "back", "x", platform="linux/arm64", access=registry.access)
    wanted = Choice("x", "linux/arm64")
    assert read_oci_layout(tmp_path / "back", spool=tmp_path, choice=wanted).image.platform == arm


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"auth_file": "EMPTY"}, "auth|unauthorized", "log in"),
        ({"cert_dir": ""}, "x509|certificate", "CA"),
        ({}, "manifest unknown|unknown", "name and the tag"),
    ],
)
def test_failures_say_why_and_what_to_do(
    registry: Registry, tmp_path: Path, change: dict[str, str], message: str, hint: str
) -> None:
    (tmp_path / "empty.json").write_text("{}")
    changed = {k: str(tmp_path / "empty.json") if v == "EMPTY" else v for k, v in change.items()}
    access = replace(registry.access, **changed)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=message) as caught:
        pull(f"{registry.host}/team/none:9", tmp_path / "x", "x", access=access)
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_self_signed_certificate_is_accepted_on_request(
    registry: Registry, tmp_path: Path
) -> None:
    access = replace(registry.access, cert_dir="", tls_verify=False)
    push(layout(tmp_path / "s", "insecure"), "v1", f"{registry.host}/team/tls:1", access=access)


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    access = Access(retries=0, timeout=60)
    with pytest.raises(EngineError, match="connection refused") as caught:
        inspect(f"localhost:{free_port()}/x:1", access=access)
    assert "network" in caught.value.hint
