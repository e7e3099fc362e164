"""Archives and layouts: written deterministically, read back as they were."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minify.errors import BuildError
from minify.images.archive import (
    docker_archive_stream,
    full_tag,
    read_docker_archive,
    write_docker_archive,
)
from minify.images.config import image_of_config, output_config
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.oci_write import Packed, write_oci_archive, write_oci_layout
from minify.images.write import write_layer
from minify.model import Image, ImageConfig, Platform
from tests.image_kit import config
from tests.kit import Exec, tree

RAW = {
    "architecture": "arm",
    "variant": "v7",
    "os": "linux",
    "created": "2020-01-02T03:04:05.678Z",
    "author": "somebody",
    "os.features": ["x"],
    "container_config": {"Cmd": ["last build step"]},
    "config": {
        "Entrypoint": ["/entry"],
        "Env": ["A=1"],
        "Labels": {"a": "b"},
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/bash"],
        "StopSignal": "SIGQUIT",
        "FutureKey": {"deep": [1, None]},
    },
    "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": True}],
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
}


def source() -> Image:
    return image_of_config("demo", json.dumps(RAW).encode(), ())


@dataclass
class Made:
    """A small image, packed."""

    layer: Path
    diff_id: str
    config: str

    @property
    def layers(self) -> list[tuple[Path, str]]:
        return [(self.layer, self.diff_id)]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    files = tree({"/app": Exec(b"binary"), "/etc/conf": "x" * 3000})
    info = write_layer(files, files.entries, tmp_path / "made.tar", epoch=0)
    yield Made(
        tmp_path / "made.tar", info.diff_id, output_config(source(), [info.diff_id], epoch=0)
    )


def test_the_configuration_is_carried_over_whole() -> None:
    found = json.loads(output_config(source(), ["sha256:new"], epoch=1_600_000_000))
    assert found["config"] == RAW["config"]
    assert found["os.features"] == ["x"]
    assert (found["architecture"], found["variant"], found["author"]) == ("arm", "v7", "somebody")
    assert found["rootfs"] == {"type": "layers", "diff_ids": ["sha256:new"]}
    assert found["created"] == "2020-09-13T12:26:40Z"
    assert [h["created_by"] for h in found["history"]] == ["minify"]
    assert "container_config" not in found


def test_without_an_epoch_the_source_date_stays() -> None:
    found = json.loads(output_config(source(), [], epoch=None))
    assert found["created"] == RAW["created"]


def test_labels_are_added_to_the_source_ones() -> None:
    found = json.loads(output_config(source(), [], epoch=0, labels={"c": "d"}))
    assert found["config"]["Labels"] == {"a": "b", "c": "d"}


def test_a_bare_configuration_gets_its_platform() -> None:
    image = Image("x", "", Platform("linux", "arm64", "v8"), ImageConfig())
    found = json.loads(output_config(image, [], epoch=0))
    assert (found["os"], found["architecture"], found["variant"]) == ("linux", "arm64", "v8")


def test_a_configuration_that_is_no_json_is_an_error() -> None:
    image = Image("x", "", Platform(), ImageConfig(raw="{"))
    with pytest.raises(BuildError, match="not JSON"):
        output_config(image, [], epoch=0)


def test_the_configuration_is_read_in_full() -> None:
    document = {
        "Entrypoint": ["/e"],
        "Cmd": "alone",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "User": "app",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 2},
    }
    image = image_of_config("x", config([], config=document), ())
    assert image.config.cmd == ("alone",)
    assert image.config.ports == ("53/udp", "80/tcp")
    assert image.config.healthcheck is not None
    assert image.config.healthcheck.interval == 5.0
    assert image.config.user == "app"


def test_docker_archive_round_trip(made: Made, tmp_path: Path) -> None:
    write_docker_archive(tmp_path / "a.tar", made.layers, made.config, ["demo/app"])
    back = read_docker_archive(tmp_path / "a.tar", spool=tmp_path)
    assert back.image.reference == "demo/app:latest"
    assert back.tree.read("/app") == b"binary"
    assert back.image.config.entrypoint == ("/entry",)
    assert back.image.layers[0].diff_id == made.diff_id


def test_docker_archive_is_the_same_as_a_stream(made: Made, tmp_path: Path) -> None:
    write_docker_archive(tmp_path / "a.tar", made.layers, made.config, ["demo/app:1"])
    sink = io.BytesIO()
    write_docker_archive(sink, made.layers, made.config, ["demo/app:1"])
    stream = b"".join(docker_archive_stream(made.layers, made.config, ["demo/app:1"]))
    assert (tmp_path / "a.tar").read_bytes() == stream == sink.getvalue()


def test_a_layer_used_twice_is_stored_once(made: Made, tmp_path: Path) -> None:
    two = output_config(source(), [made.diff_id] * 2, epoch=0)
    write_docker_archive(tmp_path / "a.tar", made.layers * 2, two, [])
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert sum(name.endswith(".tar") for name in archive.getnames()) == 1
    back = read_docker_archive(tmp_path / "a.tar", spool=tmp_path)
    assert len(back.layers) == 2


@pytest.mark.parametrize(
    ("tag", "full"),
    [("a", "a:latest"), ("a:1", "a:1"), ("host:5000/a", "host:5000/a:latest")],
)
def test_tags_are_completed(tag: str, full: str) -> None:
    assert full_tag(tag) == full


def test_an_archive_that_cannot_be_written_is_an_error(made: Made, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot write"):
        write_docker_archive(tmp_path / "no" / "a.tar", made.layers, made.config, [])


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_oci_layout_round_trip(made: Made, tmp_path: Path, compression: str) -> None:
    packed = Packed(made.layers, made.config, compression, {"org.example": "1"})
    digest = write_oci_layout(tmp_path / "layout", packed, "v1")
    again = write_oci_layout(tmp_path / "again", packed, "v1")
    assert digest == again
    assert snapshot(tmp_path / "layout") == snapshot(tmp_path / "again")
    chosen = Choice("v1", "linux/arm/v7")
    back = read_oci_layout(tmp_path / "layout", spool=tmp_path, choice=chosen)
    assert back.tree.read("/etc/conf") == b"x" * 3000
    manifest = json.loads(blob(tmp_path / "layout", digest))
    assert manifest["annotations"] == {"org.example": "1"}


def test_oci_archive_round_trip(made: Made, tmp_path: Path) -> None:
    for name in ("one", "two"):
        packed = Packed(made.layers, made.config)
        write_oci_archive(tmp_path / f"{name}.tar", packed, "v1", tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    back = read_oci_archive(tmp_path / "one.tar", spool=tmp_path, choice=Choice("v1"))
    assert back.tree.read("/app") == b"binary"


def test_a_tag_moves_and_others_stay(made: Made, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    first = Packed(made.layers, made.config)
    second = Packed(made.layers, output_config(source(), [made.diff_id], epoch=1))
    write_oci_layout(layout, first, "a")
    write_oci_layout(layout, first, "b")
    moved = write_oci_layout(layout, second, "a")
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    names = {m["annotations"]["org.opencontainers.image.ref.name"]: m["digest"] for m in listed}
    assert len(listed) == 2
    assert names["a"] == moved
    assert names["b"] != moved


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()
