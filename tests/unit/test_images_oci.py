"""OCI layouts: families, indexes, platforms, tags, compressions."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minify.errors import EngineError, UsageError
from minify.images.archive import read_docker_archive
from minify.images.check import validate
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.platforms import best, host_platform, parse_platform, runs_on
from minify.model import Platform
from tests.image_kit import DOCKER, OCI, Layout, config, docker_archive, folder, item, sha256, tar

LAYER = tar([folder("etc"), item("etc/a", "data")])
UPPER = tar([item("etc/.wh.a"), item("etc/b", "more")])


def read(path: Path, tag: str = "", platform: str = "") -> OpenedImage:
    return read_oci_layout(path, spool=path.parent, choice=Choice(tag, platform))


@pytest.mark.parametrize("family", [OCI, DOCKER])
def test_both_manifest_families(tmp_path: Path, family: str) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER, UPPER], family=family), "v1")
    image = read(tmp_path / "l", "v1")
    assert set(image.tree.entries) == {"/", "/etc", "/etc/b"}
    assert image.image.layers[1].digest.startswith("sha256:")
    assert image.image.reference.endswith(":v1")
    assert set(image.base(1).entries) == {"/", "/etc", "/etc/a"}


@pytest.mark.parametrize("kind", ["tar", "tar+gzip", "tar+zstd"])
@pytest.mark.parametrize("really", ["plain", "gzip", "zstd", "members"])
def test_layers_in_every_compression_whatever_the_type_says(
    tmp_path: Path, kind: str, really: str
) -> None:
    packed = {
        "plain": LAYER,
        "gzip": gzip.compress(LAYER),
        "members": b"".join(gzip.compress(LAYER[n : n + 700]) for n in range(0, len(LAYER), 700)),
        "zstd": subprocess.run(["zstd", "-c"], input=LAYER, capture_output=True, check=True).stdout,
    }[really]
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER], packed=[packed], layer_type=OCI + "layer.v1." + kind))
    for _ in range(2):  # the second time from the spool
        assert read(tmp_path / "l").tree.read("/etc/a") == b"data"


def test_shared_layers_are_spooled_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER]), "one").add(layout.image([LAYER, UPPER]), "two")
    one, two = read(tmp_path / "l", "one"), read(tmp_path / "l", "two")
    assert one.layers[0].path == two.layers[0].path
    assert len(list(tmp_path.glob("*.tar"))) == 2


def platforms(layout: Layout, *names: str) -> list[dict[str, Any]]:
    found = []
    for name in names:
        parsed = parse_platform(name)
        conf = config([LAYER], os=parsed.os, architecture=parsed.architecture,
                      variant=parsed.variant, author=name)  # fmt: skip
        entry = {"os": parsed.os, "architecture": parsed.architecture, "variant": parsed.variant}
        found.append({**layout.image([LAYER], conf=conf), "platform": entry})
    return found


@pytest.mark.parametrize("family", [OCI, DOCKER])
@pytest.mark.parametrize("nested", [0, 1, 2])
def test_indexes_choose_by_platform(tmp_path: Path, family: str, nested: int) -> None:
    layout = Layout(tmp_path / "l")
    entries = platforms(layout, "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8")
    attestation = {
        **layout.image([LAYER]),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    entry = layout.index([attestation, *entries], family)
    for _ in range(nested):
        entry = layout.index(
            [{**entry, "platform": {"os": "linux", "architecture": a}} for a in ("amd64", "arm")]
        )
    layout.add(entry, "v1")
    assert read(tmp_path / "l", "v1", "linux/amd64").image.platform.architecture == "amd64"
    assert read(tmp_path / "l", "v1", "linux/arm/v7").image.platform.variant == "v7"
    assert read(tmp_path / "l", "v1", "linux/arm/v6").image.platform.variant == "v6"
    with pytest.raises(EngineError, match="no image for linux/s390x") as caught:
        read(tmp_path / "l", "v1", "linux/s390x")
    assert "linux/amd64" in caught.value.hint


def test_a_single_image_of_another_platform(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER], conf=config([LAYER], architecture="s390x")))
    assert read(tmp_path / "l").image.platform.architecture == "s390x"
    with pytest.raises(EngineError, match="is for linux/s390x"):
        read(tmp_path / "l", platform="linux/amd64")


@pytest.mark.parametrize(
    ("candidate", "wanted", "runs"),
    [
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/amd64", "linux/amd64/v2", True),
        ("linux/aarch64", "linux/arm64", True),
        ("linux/386", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_variant_rules(candidate: str, wanted: str, runs: bool) -> None:
    assert runs_on(parse_platform(candidate), parse_platform(wanted)) is runs


def test_the_best_variant_wins() -> None:
    offered = [Platform("linux", "arm", v) for v in ("v5", "v7", "v6")]
    assert best([None, *offered], Platform("linux", "arm", "v6")) == 3
    assert best(offered, Platform("linux", "arm", "")) == 1
    assert best([None], host_platform()) is None


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d", "/amd64"])
def test_malformed_platforms(text: str) -> None:
    with pytest.raises(UsageError):
        parse_platform(text)


def test_tags(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER]), "a").add(layout.image([UPPER]), "b")
    assert read(tmp_path / "l", "b").tree.is_file("/etc/b")
    with pytest.raises(EngineError, match="no image tagged c") as caught:
        read(tmp_path / "l", "c")
    assert caught.value.hint == "it has: a, b"
    with pytest.raises(EngineError, match="holds 2 images"):
        read(tmp_path / "l")


def test_an_oci_archive_plain_and_compressed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER]), "v1")
    subprocess.run(["tar", "-C", tmp_path / "l", "-cf", tmp_path / "a.tar", "."], check=True)
    subprocess.run(["gzip", "-k", tmp_path / "a.tar"], check=True)
    for name in ("a.tar", "a.tar.gz"):
        image = read_oci_archive(tmp_path / name, spool=tmp_path, choice=Choice("v1"))
        assert image.tree.read("/etc/a") == b"data"


def test_not_a_layout(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not an OCI image layout"):
        read(tmp_path)


# ------------------------------------------------------------- docker-archives


def test_docker_archives_by_tag_position_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(docker_archive([LAYER], tags=["demo/app:1", "demo/app:2"]))
    for tag in ("", "demo/app:2", "docker.io/demo/app:1", "@0"):
        image = read_docker_archive(path, spool=tmp_path, tag=tag)
        assert image.image.reference == "demo/app:1"
    for tag in ("demo/app:3", "demo/app", "@1"):
        with pytest.raises(EngineError, match="0 of them match") as caught:
            read_docker_archive(path, spool=tmp_path, tag=tag)
        assert "demo/app:1" in caught.value.hint


@pytest.mark.parametrize("packed", [False, True])
def test_the_layout_of_new_docker_save(tmp_path: Path, packed: bool) -> None:
    """Docker 25 and later: blobs as in an OCI layout, manifest.json beside index.json."""
    stored = gzip.compress(LAYER) if packed else LAYER
    conf = config([LAYER])
    names = [f"blobs/sha256/{sha256(data)[7:]}" for data in (conf, stored)]
    manifest = [{"Config": names[0], "RepoTags": ["a/b:1"], "Layers": [names[1]],
                 "LayerSources": {}}]  # fmt: skip
    data = tar(
        [folder("blobs"), folder("blobs/sha256"), item(names[0], conf), item(names[1], stored),
         item("index.json", "{}"), item("manifest.json", json.dumps(manifest))]
    )  # fmt: skip
    (tmp_path / "a.tar").write_bytes(data)
    image = read_docker_archive(tmp_path / "a.tar", spool=tmp_path)
    assert image.tree.read("/etc/a") == b"data"
    assert image.image.digest == sha256(conf)


def test_each_archive_format_names_the_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER]), "v1")
    subprocess.run(["tar", "-C", tmp_path / "l", "-cf", tmp_path / "oci.tar", "."], check=True)
    (tmp_path / "docker.tar").write_bytes(docker_archive([LAYER]))
    with pytest.raises(EngineError) as caught:
        read_docker_archive(tmp_path / "oci.tar", spool=tmp_path)
    assert "oci-archive:" in caught.value.hint
    with pytest.raises(EngineError) as caught:
        read_oci_archive(tmp_path / "docker.tar", spool=tmp_path)
    assert "docker-archive:" in caught.value.hint


# ------------------------------------------------------------- the validator


def messages(path: Path) -> str:
    return "\n".join(f"{v.where}: {v.message}" for v in validate(path))


def test_all_violations_are_listed_at_once(tmp_path: Path) -> None:
    layer = tar(
        [item("b", "x"), item("a", "y"), item("a", "z"), item("no/parent", ""), item("/abs", ""),
         item("etc/../c", ""), item(".wh.gone", "")]
    )  # fmt: skip
    conf = config([b"something else"], os="", created="yesterday", history=[{}, {}])
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([layer], conf=conf, layer_type="application/zip"), "v1")
    layout.add({"mediaType": OCI + "manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 1})
    layout.add({"mediaType": OCI + "manifest.v1+json", "digest": "nonsense", "size": 1})
    found = messages(tmp_path / "l")
    for message in (
        "out of order", "appears twice", "before its parent", "absolute name", "not clean",
        "whiteout", "unpacks to", "created", "os has", "history has 2", "application/zip",
        "blob is missing", "malformed descriptor",
    ):  # fmt: skip
        assert message in found, message


def test_changed_blobs_and_damaged_layers_are_listed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layout.add(layout.image([LAYER], packed=[gzip.compress(LAYER)[:-9]]), "v1")
    assert "cut short" in messages(tmp_path / "l")
    for path in (tmp_path / "l/blobs/sha256").iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    found = messages(tmp_path / "l")
    assert "not have this digest" in found
    assert " bytes, not " in found


def test_docker_archive_violations(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(docker_archive([LAYER], tags=["no-tag"], conf=config([UPPER, LAYER])))
    found = messages(path)
    assert "reference without a tag" in found
    assert "1 layers, 2 diff_ids" in found
    assert "unpacks to" in found


@pytest.mark.parametrize("data", [b"", b"noise" * 300, tar([item("manifest.json", "{}")]), tar([])])
def test_things_that_are_no_image(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert validate(tmp_path / "x")
    assert validate(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert validate(tmp_path / "empty")
