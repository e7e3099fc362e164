"""Outputs: all places at once, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minify import outputs
from minify.bench import Bench
from minify.engines import Loaded
from minify.errors import BuildError, UsageError
from minify.images.check import validate
from minify.images.oci import Choice, read_oci_layout
from minify.images.transports import located
from minify.model import (
    Image,
    ImageConfig,
    KeepLevel,
    KeepSet,
    Layer,
    OutputImage,
    Platform,
    Reason,
)
from minify.names import default_tag
from minify.options import Options
from minify.outputs import Product, check_outputs, deliver, wanted_of
from minify.pack import pack, shared, single
from minify.tree import Tree
from minify.workspace import Home, Run
from tests.fake_engine import FakeEngine
from tests.kit import Exec, Link, tree

WHY = (Reason("test", "test"),)


def source(files: Tree, **facts: Any) -> Loaded:
    image = Image("shop:1", "sha256:" + "5" * 64, Platform(), ImageConfig(), (Layer("sha256:x"),))
    return Loaded(image, files, **facts)


def keep(*paths: str) -> KeepSet:
    return KeepSet("sha256:i", KeepLevel.REACH, {path: WHY for path in paths})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "run").mkdir()
    return Bench(FakeEngine(), Home(tmp_path / "home"), Run("token", tmp_path / "run"))


@pytest.fixture
def output(bench: Bench) -> OutputImage:
    loaded = source(tree({"/app": Exec(b"app")}), manifest="sha256:" + "6" * 64)
    kept, parts = single(loaded, keep("/app"))
    return pack(loaded, kept, parts, bench.run.folder, 0, {"io.minify.source": "sha256:5"})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def delivered(bench: Bench, output: OutputImage, *places: str) -> dict[str, str]:
    wanted = wanted_of(Options(image="shop:1", output=places))
    return deliver(bench, wanted, Product(output, bench.engine.save(output)))


def test_files_of_every_kind(bench: Bench, output: OutputImage, out: Path) -> None:
    places = (f"oci:{out}/l:v1", f"oci-archive:{out}/a.tar", f"docker-archive:{out}/d.tar")
    found = delivered(bench, output, *places)
    assert list(found) == list(places)
    assert found[places[0]] == found[places[1]] != output.digest == found[places[2]]
    assert {p.name for p in out.iterdir()} == {"l", "a.tar", "d.tar"}
    assert all(validate(path) == [] for path in out.iterdir())
    assert [p.name for p in bench.run.folder.iterdir()] == ["layer-0.tar"]
    blob = out / "l/blobs" / found[places[0]].replace(":", "/")
    assert json.loads(blob.read_text())["annotations"] == {
        "io.minify.source": "sha256:5", "io.minify.level": "reach",
        "org.opencontainers.image.base.digest": "sha256:" + "6" * 64,
    }  # fmt: skip


def test_the_same_again_gives_the_same_bytes(bench: Bench, output: OutputImage, out: Path) -> None:
    delivered(bench, output, f"oci-archive:{out}/1", f"docker-archive:{out}/2")
    delivered(bench, output, f"oci-archive:{out}/3", f"docker-archive:{out}/4")
    assert (out / "1").read_bytes() == (out / "3").read_bytes()
    assert (out / "2").read_bytes() == (out / "4").read_bytes()


def test_a_layout_takes_further_images(bench: Bench, output: OutputImage, out: Path) -> None:
    delivered(bench, output, f"oci:{out}/l:v1")
    delivered(bench, output, f"oci:{out}/l:v2")
    delivered(bench, output, f"oci:{out}/l:v2")
    delivered(bench, output, f"oci:{out}/l")
    delivered(bench, output, f"oci:{out}/l")
    listed = json.loads((out / "l/index.json").read_text())["manifests"]
    names = [m.get("annotations", {}).get("org.opencontainers.image.ref.name") for m in listed]
    assert names == ["v1", "v2", None]
    opened = read_oci_layout(out / "l", spool=out, choice=Choice("v2"))
    assert opened.image.digest == output.digest


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize(
    "where", ["archive_layout", "write_docker_archive", "write_oci_layout", "check", "push"]
)
def test_after_a_failure_nothing_has_changed(
    bench: Bench, output: OutputImage, out: Path, monkeypatch: pytest.MonkeyPatch,
    where: str, fault: BaseException,
) -> None:  # fmt: skip
    delivered(bench, output, f"oci:{out}/old:v0")
    (out / "d.tar").write_text("old")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(outputs, where, fail)
    with pytest.raises(type(fault)):
        delivered(
            bench, output, f"oci:{out}/old:v1", f"oci:{out}/new", f"oci-archive:{out}/a.tar",
            f"docker-archive:{out}/d.tar", "docker://example.test/x:1", "named:1",
        )  # fmt: skip
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert {p.name for p in out.iterdir()} == {"old", "d.tar"}
    assert bench.engine.find("named:1") is None


def test_blobs_of_a_failed_merge_are_removed(
    bench: Bench, output: OutputImage, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(bench, output, f"oci:{out}/l:v1")
    before = {p for p in out.rglob("*") if p.is_file()}
    (out / "l/index.json").write_text("[]")
    loaded = source(tree({"/other": "x"}))
    kept, parts = single(loaded, keep("/other"))
    other = pack(loaded, kept, parts, bench.run.folder, 0, {})
    with pytest.raises(BuildError, match="malformed index"):
        delivered(bench, other, f"oci:{out}/l:v2")
    assert {p for p in out.rglob("*") if p.is_file()} == before


def test_a_result_that_is_not_valid_is_not_shown(
    bench: Bench, output: OutputImage, out: Path
) -> None:
    wrong = replace(output, config=output.config.replace(output.diff_id, "sha256:" + "0" * 64))
    with pytest.raises(BuildError, match="not a valid image"):
        delivered(bench, wrong, f"docker-archive:{out}/d.tar")
    assert list(out.iterdir()) == []


def test_the_engine_is_the_default(bench: Bench, output: OutputImage) -> None:
    assert delivered(bench, output) == {"shop:1-min": output.digest}
    assert bench.engine.find("shop:1-min")
    both = wanted_of(Options(image="shop:1", tag="t:1", output=("oci:x",)))
    assert [str(p) for p in both.places] == ["t:1", "oci:x"]
    assert both.title == "t:1" and both.name == "t:1"


def test_places_that_cannot_be_written_are_all_told(out: Path) -> None:
    (out / "file").write_text("")
    (out / "folder").mkdir()
    (out / "folder/other").write_text("")
    places = ("oci:/none/such", f"oci:{out}/file", f"oci:{out}/folder", f"oci-archive:{out}/folder",
              "Not A Name", "docker://x@sha256:" + "0" * 64, "a:1", "a:1", "oci:")  # fmt: skip
    with pytest.raises(UsageError) as caught:
        wanted_of(Options(image="shop:1", output=places))
    lines = caught.value.message.splitlines()
    assert len(lines) == 8
    assert any("neither empty nor an OCI layout" in line for line in lines)
    assert any("named twice" in line for line in lines)


def test_a_name_in_use_is_not_taken(bench: Bench) -> None:
    bench.engine.add("used:1", tree({"/x": ""}))  # type: ignore[attr-defined]
    image = source(tree({})).image
    wanted = wanted_of(Options(image="shop:1", output=("used:1",)))
    with pytest.raises(UsageError, match="in use"):
        check_outputs(bench, wanted, image, force=False)
    check_outputs(bench, wanted, image, force=True)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker://host:5000/team/app:1", "host:5000/team/app:1-min"),
        ("docker-daemon:app", "app:latest-min"),
        ("oci:/images/Shop Front:1.2", "shop-front:1.2-min"),
        ("oci:layout", "layout:latest-min"),
        ("docker-archive:/x/app.tar.gz", "app:latest-min"),
        ("docker-archive:app.tar:team/web:2", "team/web:2-min"),
        ("docker-archive:app.tar:@1", "app:1-min"),
        ("oci-archive:/x/___.tar", "image:latest-min"),
    ],
)
def test_the_default_name(reference: str, name: str) -> None:
    assert default_tag(reference) == name


def test_places_in_a_file_are_relative_to_it() -> None:
    base = Path("/project")
    assert located("oci:dir:v1", base) == "oci:/project/dir:v1"
    assert located("docker-archive:/abs/x.tar", base) == "docker-archive:/abs/x.tar"
    assert located("docker://a/b:1", base) == "docker://a/b:1"
    assert located("docker:27-cli", base) == "docker:27-cli"


# ---------------------------------------------------------------- layers


LIBC = {"/lib": Link("usr/lib"), "/usr/lib/libc.so.6": Exec(b"libc" * 100),
        "/usr/lib/libm.so.6": Exec(b"m")}  # fmt: skip


def layered(own: str) -> Loaded:
    """An image of two layers: the C library, and a program."""
    base = tree({**LIBC, "/usr/lib/unused.so": "u"})
    top = tree({own: Exec(b"program " + own.encode())})
    above = {p: replace(e, layer=1) for p, e in top.entries.items() if p not in base.entries}
    opened = {**{e: top for e in above}, **{e: base for e in base.entries}}
    whole = Tree({**base.entries, **above}, lambda entry: opened[entry.path].opener(entry))
    return source(whole, base=lambda count: base)


def packed(bench: Bench, own: str, folder: str) -> tuple[KeepSet, OutputImage]:
    loaded = layered(own)
    kept, parts = shared(loaded, keep(own, "/lib", "/usr/lib/libc.so.6"))
    place = bench.home.folder(folder)
    return kept, pack(loaded, kept, parts, place, 0, {})


def test_images_of_one_base_share_its_layer(bench: Bench, out: Path) -> None:
    kept, one = packed(bench, "/one", "1")
    two = packed(bench, "/two", "2")[1]
    digests = [[layer.diff_id for layer in made.packed] for made in (one, two)]
    assert len(digests[0]) == len(digests[1]) == 3
    assert digests[0][:2] == digests[1][:2]  # the C library; the link to it, of no package
    assert digests[0][2] != digests[1][2]
    assert (one.diff_id, one.layer_file) == (one.packed[2].diff_id, one.packed[2].file)
    # What is in the image and why is told, also where another image of the fleet is the reason.
    assert kept.paths["/usr/lib/libm.so.6"][0].rule == "layers"
    assert "/usr/lib/unused.so" not in kept.paths
    delivered(bench, one, f"oci:{out}/one")
    opened = read_oci_layout(out / "one", spool=out)
    assert [layer.diff_id for layer in opened.image.layers] == [x.diff_id for x in one.packed]
    assert opened.tree.read("/lib/libm.so.6") == b"m" and opened.tree.read("/one")


def test_shared_layers_are_the_same_every_time(bench: Bench) -> None:
    assert packed(bench, "/one", "1")[1].digest == packed(bench, "/one", "2")[1].digest
