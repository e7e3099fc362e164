"""The whole build from every place an image lives to every place one can be written to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from minify.codec import dumps
from minify.errors import Unsupported
from minify.foreign import executes
from minify.images.archive import read_docker_archive, write_docker_archive
from minify.images.check import validate
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.oci_write import Packed, write_oci_archive, write_oci_layout
from minify.images.opened import OpenedImage
from minify.images.registry import inspect, pull, push
from minify.model import Evidence, OutputImage
from minify.sweep import open_engine
from minify.workspace import Home, Run, remembered_images, running
from tests.engine_kit import identity
from tests.host_image import host_files, layer, output_image
from tests.image_kit import Layout, config, folder, item, tar
from tests.registry_kit import MISSING, Registry, serving


def answers(*argv: str) -> bool:
    if not shutil.which(argv[0]):
        return False
    return subprocess.run(argv, capture_output=True, timeout=60).returncode == 0


has_docker = answers("docker", "info")
embedded = os.geteuid() == 0 and bool(shutil.which("runc") or shutil.which("crun"))
pytestmark = [
    pytest.mark.docker, pytest.mark.root,
    pytest.mark.skipif(not has_docker, reason="no Docker engine answers"),
    pytest.mark.skipif(not embedded, reason="no root or no runtime"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]  # fmt: skip
NAME = "minify-test-transports"
ENGINES = ("docker", "embedded")
PLACES = ("docker", "docker-daemon", "docker-archive", "oci", "oci-archive")


def docker(*argv: str) -> str:
    return subprocess.run(["docker", *argv], capture_output=True, text=True).stdout


@dataclass(frozen=True)
class World:
    """One small image of this host's programs, in every place."""

    root: Path
    image: OutputImage
    registry: Registry

    def place(self, transport: str, name: str = "input") -> str:
        return {
            "docker": f"docker://{self.registry.host}/team/{name}:1",
            "docker-daemon": f"docker-daemon:{NAME}:{name}",
            "docker-archive": f"docker-archive:{self.root}/{name}.tar",
            "oci": f"oci:{self.root}/{name}:v1",
            "oci-archive": f"oci-archive:{self.root}/{name}-oci.tar:v1",
        }[transport]

    def minify(self, *argv: str) -> subprocess.CompletedProcess[str]:
        access = ["--auth-file", str(self.registry.access.auth_file),
                  "--cert-dir", str(self.registry.access.cert_dir)]  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "minify", *argv[:2], *access, *argv[2:]],
            capture_output=True, text=True, cwd=self.root, timeout=300,
            env={**os.environ, "MINIFY_HOME": str(self.root / "home")},
        )  # fmt: skip

    def build(self, place: str, *argv: str) -> str:
        done = self.minify("build", place, *argv)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def whole(image: OutputImage) -> OutputImage:
    """The image with every directory in its layer: the times of others are made up by engines."""
    folders = sorted(
        {str(p) for name in host_files() for p in Path(name).parents} - {".", "usr", "usr/bin"}
    )
    data = layer([folder(name) for name in folders])
    Path(image.layer_file).write_bytes(data)
    diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
    text = image.config.replace(image.diff_id, diff_id)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return replace(image, digest=digest, diff_id=diff_id, config=text)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("transports")
    (root / "registry").mkdir()
    image = whole(output_image(root, Cmd=["/bin/sh", "-c", "cat /data/first"]))
    layers = [(Path(image.layer_file), image.diff_id)]
    packed = Packed(layers, image.config)
    write_docker_archive(root / "input.tar", layers, image.config, [f"{NAME}:input"])
    write_oci_layout(root / "input", packed, "v1")
    write_oci_archive(root / "input-oci.tar", packed, "v1", root / "work")
    with serving(root / "registry") as registry:
        push(root / "input", "v1", f"{registry.host}/team/input:1", access=registry.access)
        yield World(root, image, registry)
        names = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        docker("rmi", "-f", *(n for n in names if n.startswith(NAME)))


def read(place: Path, spool: Path, tag: str = "") -> OpenedImage:
    if place.is_dir():
        return read_oci_layout(place, spool=spool, choice=Choice(tag))
    if place.name.endswith("-oci.tar"):
        return read_oci_archive(place, spool=spool, choice=Choice(tag))
    return read_docker_archive(place, spool=spool)


@contextmanager
def there(world: World, wanted: bool) -> Iterator[None]:
    """Have the input in the Docker engine, or not."""
    if wanted:
        docker("load", "-q", "-i", str(world.root / "input.tar"))
    yield
    docker("rmi", "-f", f"{NAME}:input")


def known(digest: str) -> bool:
    # Those that a run or these tests name: to save every image of an engine takes minutes.
    named = ("minify-input", NAME)
    found = [i for n in named for i in docker("images", "-q", "--no-trunc", n).split()]
    return any(identity(image_id) == digest for image_id in set(found))


def test_an_image_the_engine_had_stays_as_it_was(world: World, tmp_path: Path) -> None:
    with there(world, True):
        world.build(world.place("oci"), "--engine", "docker", "-o", f"oci:{tmp_path}/out")
        names = docker("image", "inspect", f"{NAME}:input", "--format", "{{.RepoTags}}")
        assert names.strip() == f"[{NAME}:input]"


def test_the_last_run_to_end_removes_the_input(world: World, tmp_path: Path) -> None:
    """Two runs over one file; the second dies, and a later one clears up after it."""
    home, place = Home(tmp_path), world.place("oci")
    with running(home) as one:
        first = open_engine("docker", one, home)
        first.load(place)
        assert known(world.image.digest)
        dead = Run(one.token + "0", home.folder("runs", one.token + "0"))
        second = open_engine("docker", dead, home)
        second.load(place)
        first.close()
        assert known(world.image.digest)
        (name,) = remembered_images(dead)
        first = open_engine("docker", one, home)
        first.remove_image(name)  # as `sweep` does for each that a dead run remembered
        assert not known(world.image.digest)
        first.close()
        second.close()


def test_layers_only_the_kernel_can_follow_are_saved_by_the_engine(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise Unsupported("redirect_dir")

    monkeypatch.setattr("minify.engines.docker_disk.read_overlay", refuse)
    with there(world, True), running(Home(tmp_path)) as run:
        engine = open_engine("docker", run, Home(tmp_path))
        loaded = engine.load(f"{NAME}:input")
        assert loaded.tree.read("/data/first") == b"from the image\n"
        assert loaded.base is not None and loaded.base(1).is_file("/usr/bin/sh")
        engine.close()


@pytest.mark.parametrize("transport", ["oci", "docker"])
def test_the_original_is_weighed_unpacked(world: World, tmp_path: Path, transport: str) -> None:
    with running(Home(tmp_path)) as run:
        for _ in range(2):  # unpacked just now; in the store already
            engine = open_engine("embedded", run, Home(tmp_path), world.registry.access)
            loaded = engine.load(world.place(transport))
            assert loaded.image.size == loaded.tree.content_bytes > 1_000_000
            assert engine.find(world.place(transport)) == loaded.image
            engine.close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("transport", PLACES)
def test_an_image_is_minified_from_wherever_it_is(
    world: World, tmp_path: Path, engine: str, transport: str
) -> None:
    with there(world, transport == "docker-daemon"):
        world.build(world.place(transport), "--engine", engine, "-o", f"oci:{tmp_path}/out")
    assert not known(world.image.digest)  # it was there for the run only
    assert validate(tmp_path / "out") == []
    made = read(tmp_path / "out", tmp_path)
    assert made.tree.read("/data/first") == b"from the image\n"
    assert made.tree.get("/usr/bin/privileged") is None
    labels = json.loads(made.image.config.raw)["config"]["Labels"]
    assert labels["io.minify.source"] == world.image.digest
    assert not known(made.image.digest)


def test_where_it_came_from_makes_no_difference(world: World, tmp_path: Path) -> None:
    for number, (engine, transport) in enumerate(
        [("docker", "docker-archive"), ("embedded", "oci"), ("embedded", "docker")]
    ):
        out = f"oci:{tmp_path}/{number}"
        world.build(world.place(transport), "--engine", engine, "-o", out, "--fresh")
    layers = [read(tmp_path / str(n), tmp_path).image.layers[0].diff_id for n in range(3)]
    assert len(set(layers)) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_every_output_at_once(world: World, tmp_path: Path, engine: str) -> None:
    outputs = {t: world.place(t, f"out-{engine}") for t in PLACES}
    flags = [part for place in outputs.values() for part in ("--output", place)]
    text = world.build(world.place("oci"), "--engine", engine, *flags)
    assert all(place in text for place in outputs.values())
    files = {
        "oci": world.root / f"out-{engine}",
        "oci-archive": world.root / f"out-{engine}-oci.tar",
        "docker-archive": world.root / f"out-{engine}.tar",
    }
    assert all(validate(path) == [] for path in files.values())
    image = read(files["oci"], tmp_path, "v1").image
    assert read(files["oci-archive"], tmp_path, "v1").image.digest == image.digest
    assert read(files["docker-archive"], tmp_path).image.digest == image.digest
    assert identity(f"{NAME}:out-{engine}") == image.digest
    name = outputs["docker"].removeprefix("docker://")
    remote = inspect(name, access=world.registry.access)
    assert remote.image.digest == image.digest
    assert f"{outputs['docker']}  {remote.manifest_digest}" in text
    loads(world.root, engine, image.digest)
    annotated(files["oci"], world.image.digest)


def loads(root: Path, engine: str, digest: str) -> None:
    """Docker, skopeo and Podman take each file unchanged."""
    ran = docker("run", "--rm", f"{NAME}:out-{engine}")
    assert ran == "from the image\n"
    for place in (f"docker-archive:out-{engine}.tar", f"oci:out-{engine}:v1",
                  f"oci-archive:out-{engine}-oci.tar:v1"):  # fmt: skip
        argv = ["skopeo", "inspect", "--config", "--raw", place]
        raw = subprocess.run(argv, capture_output=True, cwd=root, check=True).stdout
        assert json.loads(raw)["rootfs"]
        if answers("podman", "info"):
            pulled = subprocess.run(
                ["podman", "pull", "-q", place], capture_output=True, text=True, cwd=root
            )
            assert pulled.returncode == 0, pulled.stderr
            assert pulled.stdout.strip() == digest.removeprefix("sha256:")
            subprocess.run(["podman", "rmi", "-f", pulled.stdout.strip()], capture_output=True)


def annotated(layout: Path, source: str) -> None:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    blob = layout / "blobs" / entry["digest"].replace(":", "/")
    notes = json.loads(blob.read_text())["annotations"]
    assert notes["io.minify.source"] == source
    assert notes["io.minify.level"] == "reach" and notes["io.minify.version"]
    assert notes["org.opencontainers.image.base.digest"].startswith("sha256:")


def test_layers_that_are_there_are_not_sent_again(world: World) -> None:
    name = world.place("docker", "twice")
    world.build(world.place("oci"), "--engine", "embedded", "-o", name)
    before = world.registry.uploads()
    world.build(world.place("oci"), "--engine", "embedded", "-o", name + "0")
    assert world.registry.uploads() == before


@pytest.mark.parametrize(
    ("flags", "status"), [(["--max-size", "1"], 9), (["-o", "docker://localhost:1/x/y:1"], 5)]
)
def test_nothing_is_written_unless_all_is_well(
    world: World, tmp_path: Path, flags: list[str], status: int
) -> None:
    names = set(docker("images", "-q", NAME).split())
    done = world.minify(
        "build", world.place("oci"), "--engine", "docker", *flags, "-o", f"oci:{tmp_path}/l",
        "-o", f"oci-archive:{tmp_path}/a", "-o", f"docker-archive:{tmp_path}/d",
        "-o", f"docker-daemon:{NAME}:never",
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    assert set(docker("images", "-q", NAME).split()) == names


# ---------------------------------------------------------------- shared layers


def fleet_member(world: World, name: str) -> str:
    """An image of two layers: the host's programs, and one file of its own."""
    own = tar([folder("app"), item("app/own", f"{name}\n", mode=0o644)])
    path = world.root / f"{name}.layer"
    path.write_bytes(own)
    diff_id = "sha256:" + hashlib.sha256(own).hexdigest()
    document: dict[str, Any] = json.loads(world.image.config)
    document["rootfs"]["diff_ids"].append(diff_id)
    document["config"]["Cmd"] = ["/bin/sh", "-c", f"cat /app/own; {name} 2>/dev/null; ls /data"]
    layers = [(Path(world.image.layer_file), world.image.diff_id), (path, diff_id)]
    write_oci_layout(world.root / name, Packed(layers, json.dumps(document)), "v1")
    return f"oci:{world.root}/{name}:v1"


@pytest.mark.parametrize("engine", ENGINES)
def test_minified_images_of_one_base_share_its_layer(
    world: World, tmp_path: Path, engine: str
) -> None:
    made = []
    for name in ("id", "env"):
        place = fleet_member(world, name)
        out = world.place("docker", f"fleet-{engine}-{name}")
        files = ["-o", f"oci:{tmp_path}/{name}", "-o", out, "--layers", "shared"]
        world.build(place, "--engine", engine, *files)
        made.append(read(tmp_path / name, tmp_path))
    one, two = ([at.diff_id for at in opened.image.layers] for opened in made)
    digests = [[at.digest for at in opened.image.layers] for opened in made]
    assert len(one) > 1 and one[0] == two[0] and digests[0][0] == digests[1][0]
    assert one[-1] != two[-1]
    loader = [e.path for e in made[0].base(1).entries.values() if "libc." in e.path]
    assert loader
    assert made[0].tree.read("/app/own") == b"id\n"
    assert made[0].tree.get("/usr/bin/id") and not made[1].tree.get("/usr/bin/id")


def test_both_engines_make_the_same_shared_layers(world: World, tmp_path: Path) -> None:
    place = fleet_member(world, "id")
    for engine in ENGINES:
        world.build(
            place, "--engine", engine, "-o", f"oci:{tmp_path}/{engine}", "--layers", "shared"
        )
    one, two = (read(tmp_path / engine, tmp_path).image.layers for engine in ENGINES)
    assert [at.diff_id for at in one] == [at.diff_id for at in two]


# ---------------------------------------------------------------- other platforms


@pytest.fixture(scope="module")
def many(world: World) -> Path:
    """A manifest list for two architectures that are not this one's."""
    made, entries = Layout(world.root / "many"), []
    for architecture in ("s390x", "ppc64le"):
        kept = [folder("etc"), item("etc/arch", architecture), item("app", "x", mode=0o755)]
        files = tar([*kept, folder("srv"), item("srv/other", "x")])
        text = config([files], architecture=architecture)
        entry = made.image([files], conf=text)
        entries.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
    made.add(made.index(entries))
    return world.root / "many"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_platform_of_a_manifest_list(
    world: World, many: Path, tmp_path: Path, engine: str
) -> None:
    common = ("build", f"oci:{many}", "--engine", engine, "-o", f"oci:{tmp_path}/out")
    done = world.minify(*common)
    assert done.returncode == 5
    assert "linux/ppc64le, linux/s390x" in done.stderr and "--platform" in done.stderr
    if not executes("s390x"):
        done = world.minify(*common, "--platform", "linux/s390x")
        assert done.returncode == 4
        assert "cannot run it" in done.stderr and "--from-lock" in done.stderr
    assert not (tmp_path / "out").exists()
    opened = read_oci_layout(many, spool=tmp_path, choice=Choice(platform="linux/s390x"))
    (tmp_path / "evidence.json").write_text(dumps(Evidence(opened.image.digest)))
    done = world.minify(
        *common, "--platform", "linux/s390x", "--no-verify", "--keep", "/etc/arch",
        "--evidence", str(tmp_path / "evidence.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = read(tmp_path / "out", tmp_path)
    assert (made.tree.read("/etc/arch"), str(made.image.platform)) == (b"s390x", "linux/s390x")
    assert made.tree.get("/srv/other") is None


def test_a_registrys_manifest_list(world: World, many: Path, tmp_path: Path) -> None:
    name = f"{world.registry.host}/team/many:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--all", "--dest-authfile", world.registry.access.auth_file,
         "--dest-cert-dir", world.registry.access.cert_dir, f"oci:{many}", f"docker://{name}"],
        check=True,
    )  # fmt: skip
    pull(name, tmp_path / "l", "x", platform="linux/ppc64le", access=world.registry.access)
    wanted = Choice("x", "linux/ppc64le")
    assert read_oci_layout(tmp_path / "l", spool=tmp_path, choice=wanted).tree.is_file("/etc/arch")
    done = world.minify(
        "build", f"docker://{name}", "--engine", "embedded", "-o", f"oci:{tmp_path}/o"
    )
    assert done.returncode == 5
    assert "platform" in done.stderr
