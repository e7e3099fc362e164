"""Bringing images into the store: from files, from a registry, each layer once."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from minify.engines.embedded_source import load_into, name_of
from minify.errors import EngineError, MinifyError, UsageError
from minify.images.registry import Access
from minify.store.layers import Store
from tests.docker_kit import Answer, docker_engine
from tests.image_kit import Item, Layout, docker_archive, item, tar

ONCE = Access(retries=0)


def mine(*items: Item) -> bytes:
    for info, _ in items:
        info.uid, info.gid = os.getuid(), os.getgid()
    return tar(items)


def layout(path: Path, *layers: bytes, tag: str = "") -> Path:
    made = Layout(path)
    made.add(made.image(layers), tag)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home", rootless=True)


@pytest.fixture
def skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A skopeo that copies a prepared layout, and writes its calls down."""
    layout(tmp_path / "remote", mine(item("a", "far")), tag="pulled")
    program = tmp_path / "bin" / "skopeo"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f"echo \"$@\" >>{tmp_path}/calls\n"
        'for last; do :; done; folder=${last#oci:}; folder=${folder%:pulled}\n'
        f'mkdir -p "$folder" && cp -r {tmp_path}/remote/. "$folder"\n'
    )  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "calls"


def test_layers_shared_by_images_are_unpacked_once(store: Store, tmp_path: Path) -> None:
    base, one, two = mine(item("b", "base")), mine(item("o", "1")), mine(item("t", "2"))
    first = load_into(store, f"oci:{layout(tmp_path / 'one', base, one)}", "", ONCE).image
    shared = store.find(first.layers[0].diff_id)
    assert shared is not None
    before = shared.stat().st_ctime_ns
    second = load_into(store, f"oci:{layout(tmp_path / 'two', base, two)}", "", ONCE).image
    assert second.layers[0] == first.layers[0]
    assert shared.stat().st_ctime_ns == before
    assert len(store.layer_names()) == 3
    assert (shared / "b").read_text() == "base"
    assert store.image(second.digest) and not store.names()
    assert not list((store.home / "layers" / "new").iterdir())


def test_an_image_with_the_same_layer_twice(store: Store, tmp_path: Path) -> None:
    same = mine(item("x", "1"))
    image = load_into(store, f"oci:{layout(tmp_path / 'l', same, same)}", "", ONCE).image
    assert len(image.layers) == 2 and len(store.layer_names()) == 1


def test_a_docker_archive(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(docker_archive([mine(item("x", "1"))]))
    image = load_into(store, f"docker-archive:{tmp_path}/a.tar", "", ONCE).image
    path = store.find(image.layers[0].diff_id)
    assert path and (path / "x").read_text() == "1"


def test_a_damaged_layer_is_not_taken(store: Store, tmp_path: Path) -> None:
    place = layout(tmp_path / "l", mine(item("x", "1")))
    blob = max((place / "blobs/sha256").iterdir(), key=lambda p: b"\x1f\x8b" in p.read_bytes()[:2])
    blob.write_bytes(blob.read_bytes()[:-9] + b"123456789")
    with pytest.raises(EngineError):
        load_into(store, f"oci:{place}", "", ONCE)
    assert store.layer_names() == ()


def test_another_platform(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MinifyError):
        load_into(store, f"oci:{layout(tmp_path / 'l', mine(item('x')))}", "linux/s390x", ONCE)


def test_a_pulled_image_keeps_its_name(store: Store, skopeo: Path) -> None:
    image = load_into(store, "example.test/team/app", "linux/amd64", ONCE).image
    assert store.names() == {"example.test/team/app:latest": image.digest}
    path = store.find(image.layers[0].diff_id)
    assert path and (path / "a").read_text() == "far"
    call = skopeo.read_text()
    assert "docker://example.test/team/app" in call and "--override-arch=amd64" in call
    assert not list((store.home / "pulls").iterdir())
    again = load_into(store, "docker://example.test/team/app:2", "", ONCE).image
    assert again.digest == image.digest and len(store.names()) == 2
    assert image.reference == "example.test/team/app"


def test_a_pull_that_fails(store: Store, tmp_path: Path, skopeo: Path) -> None:
    program = tmp_path / "bin" / "skopeo"
    program.write_text("#!/bin/sh\necho 'level=fatal msg=\"manifest unknown\"' >&2; exit 1\n")
    with pytest.raises(EngineError, match="manifest unknown") as caught:
        load_into(store, "example.test/none", "", ONCE)
    assert caught.value.hint
    assert store.names() == {}


@pytest.mark.parametrize("reference", ["sha256:" + "1" * 64, "0123456789ab"])
def test_what_only_another_engine_has(store: Store, skopeo: Path, reference: str) -> None:
    with pytest.raises(EngineError):
        load_into(store, reference, "", ONCE)
    assert not skopeo.exists()


def saved(*layers: bytes, chunked: bool = True) -> Answer:
    return Answer(docker_archive(layers), "application/x-tar", chunked=chunked)


@pytest.mark.parametrize("chunked", [True, False])
def test_an_image_of_the_docker_engine(store: Store, chunked: bool) -> None:
    answers = {"/images/app:latest/get": saved(mine(item("x", "1")), chunked=chunked)}
    with docker_engine(answers, api="1.41") as asked:
        image = load_into(store, "docker-daemon:app", "", ONCE).image
    path = store.find(image.layers[0].diff_id)
    assert path and (path / "x").read_text() == "1"
    assert image.reference == "docker-daemon:app" and store.names() == {}
    assert [url for url in asked if "/get" in url] == ["/v1.41/images/app:latest/get"]


def test_an_image_of_the_docker_engine_by_its_id(store: Store) -> None:
    name = "sha256:" + "1" * 64
    with docker_engine({f"/images/{name}/get": saved(mine(item("x", "1")))}, api="1.41"):
        assert load_into(store, f"docker-daemon:{name}", "", ONCE).image.layers


def test_of_several_platforms_the_docker_engine_saves_one(store: Store) -> None:
    answers = {"/images/app:latest/get": saved(mine(item("x", "1")))}
    with docker_engine(answers, api="1.48") as asked:
        load_into(store, "docker-daemon:app", "linux/amd64", ONCE)
    (url,) = [url for url in asked if "/get" in url]
    said = json.loads(parse_qs(urlsplit(url).query)["platform"][0])
    assert said == {"os": "linux", "architecture": "amd64"}


def test_an_image_of_one_platform_is_saved_as_it_is(store: Store) -> None:
    """An engine of today refuses to save a platform there is not; the image may still do."""

    def answer(url: str) -> Answer:
        if "platform=" in url:
            return Answer(b'{"message": "no suitable export target"}', status=404)
        return saved(mine(item("x", "1")))

    with docker_engine({"/images/app:latest/get": answer}, api="1.51"):
        assert load_into(store, "docker-daemon:app", "", ONCE).image.layers


def test_an_image_the_docker_engine_has_not(store: Store) -> None:
    with (
        docker_engine({}, api="1.51"),
        pytest.raises(EngineError, match="cannot fetch app from the Docker engine: no such") as it,
    ):
        load_into(store, "docker-daemon:app", "", ONCE)
    assert "docker pull app" in it.value.hint


def test_a_docker_engine_that_breaks_off(store: Store) -> None:
    whole = saved(mine(item("x", "1" * 100_000)), chunked=False)
    with (
        docker_engine({"/images/app:1/get": replace(whole, cut=50_000)}),
        pytest.raises(EngineError, match="cannot fetch app:1 from the Docker engine"),
    ):
        load_into(store, "docker-daemon:app:1", "", ONCE)


def test_an_image_for_another_platform_has_a_name_of_its_own(store: Store) -> None:
    foreign = "linux/s390x" if os.uname().machine != "s390x" else "linux/amd64"
    assert name_of("app", foreign) == f"app:latest {foreign}"
    assert name_of("app", f"linux/{os.uname().machine}") == "app:latest"


def test_names() -> None:
    assert name_of("app") == "app:latest"
    assert name_of("docker://host:5000/app") == "host:5000/app:latest"
    assert name_of("oci:/dir:tag") == name_of("sha256:" + "0" * 64) == ""
    with pytest.raises(UsageError):
        name_of("Not A Name")
