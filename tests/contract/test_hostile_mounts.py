"""Images whose mount points are links, files or devices: nothing of the host is ever touched.

A generator with seeds: each draws hostile entries for some mount points and for their parents.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minify.engines import Launch, Loaded
from minify.engines.embedded import EmbeddedEngine
from minify.errors import MinifyError
from minify.model import Mount, Plan
from tests.embedded_kit import embedded
from tests.host_image import layer
from tests.image_kit import OCI, Item, Layout, config, folder, item, symlink, tar

pytestmark = [
    pytest.mark.root,
    pytest.mark.runc,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
OURS = ("dev", "proc", "sys", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", ".minify",
        ".minify/out", "dev/shm", "dev/pts", "sys/fs", ".dockerenv", "dev/console")  # fmt: skip
GIVEN = ("data", "mnt/given", "scratch", "work/deep", "file")
SEEDS = range(8)
CHR, BLK, FIFO = b"3", b"4", b"6"
RUNTIMES = [name for name in ("runc", "crun") if shutil.which(name)]


@pytest.fixture(scope="module", params=RUNTIMES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedEngine]:
    with embedded(tmp_path_factory, request.param) as made:
        yield made


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A folder of the host with what a runtime or minify might remove, make or fill in it."""
    place = tmp_path / "canary"
    for name in ("", "pts", "shm", "fs", "kit", "out", "first", "given", "deep"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for name in ("ptmx", "hosts", "hostname", "resolv.conf", "fd", "stdin", "console", "file"):
        (place / name).write_text("precious")
    return place


def state(place: Path) -> list[tuple[Any, ...]]:
    """All of a folder: names, kinds, owners, modes, content, times."""
    found = []
    for path in [place, *sorted(place.rglob("*"))]:
        info = path.lstat()
        text = path.read_text() if path.is_file() else ""
        found.append((str(path), info.st_mode, info.st_uid, info.st_mtime_ns, info.st_nlink, text))
    return found


def hostile(draw: random.Random, name: str, canary: Path) -> Sequence[Item]:
    """What an image may have in place of a mount point."""
    up = "../" * draw.choice((1, 2, 9, 60))
    target = draw.choice((str(canary), f"{canary}/ptmx", f"{canary}/new", f"{canary}/.", "/"))
    loop = symlink(name, name.rpartition("/")[2])
    return draw.choice(
        (
            [symlink(name, target)],
            [symlink(name, up + target.lstrip("/"))],
            [symlink(name, "hop"), symlink("hop", target)],
            [symlink(name, "/proc/1/root" + target)],
            [symlink(name, "/proc/self/cwd"), symlink("cwd", str(canary))],
            [symlink(name, "/dev/fd/3")],
            [loop],
            [item(name, "a file")],
            [item(name, type=FIFO)],
            [item(name, type=CHR, devmajor=1, devminor=3)],
            [item(name, type=BLK, devmajor=7, devminor=0)],
            [folder(name, mode=0), symlink(f"{name}/ptmx", f"{canary}/ptmx")],
            [folder(name), symlink(f"{name}/fd", str(canary)), symlink(f"{name}/kit", target)],
        )
    )


@functools.cache
def base() -> bytes:
    """The layer with programs, below the hostile one: it is unpacked once."""
    return layer()


def opened(engine: EmbeddedEngine, place: Path, extra: bytes, settings: Any) -> Loaded:
    """An image of the base and one more layer."""
    layers = [base(), extra]
    layout = Layout(place)
    plain = {"packed": layers, "layer_type": OCI + "layer.v1.tar"}
    layout.add(layout.image(layers, conf=config(layers, config=settings), **plain))
    return engine.load(f"oci:{place}")


def image(draw: random.Random, canary: Path) -> tuple[bytes, dict[str, Any]]:
    """One layer's tar and an image's own settings."""
    names = draw.sample(OURS, draw.randint(1, 4)) + draw.sample(GIVEN, draw.randint(0, 3))
    extra = [entry for name in names for entry in hostile(draw, name, canary)]
    volumes = draw.sample(GIVEN, draw.randint(0, 2)) + draw.sample(
        ("dev", "hop"), draw.randint(0, 1)
    )
    settings = {
        "Volumes": {f"/{name}": {} for name in volumes},
        "WorkingDir": draw.choice(("", "/", "/work/deep", "/hop/x", "/proc/self/fd/7", "/dev/x")),
    }
    return tar(extra), settings


def outcome(engine: EmbeddedEngine, extra: bytes, settings: Any, given: Path) -> str:
    """Run an image: "ran", or what it was refused for."""
    plan = Plan(
        "",
        argv=("/usr/bin/sh", "-c", "ls /dev >/dev/null; echo ran"),
        mounts=(Mount("/mnt/given", str(given)), Mount("/scratch"), Mount("/file", f"{given}/f")),
    )
    out = given.parent / "out"
    out.mkdir(exist_ok=True)
    launch = Launch(mounts=(Mount("/.minify/out", str(out), read_only=False),))
    try:
        found = opened(engine, given.parent / "layout", extra, settings)
        with engine.create(plan, found.image, launch) as container:
            container.start()
            assert container.wait(30)
            return (container.log() or ("",))[-1]
    except MinifyError as error:
        return error.message


@pytest.mark.parametrize(
    ("seed", "way"), [*((n, "overlay") for n in SEEDS), *((n, "copy") for n in (0, 1))]
)
def test_nothing_of_the_host_is_touched(
    engine: EmbeddedEngine, canary: Path, tmp_path: Path, seed: int, way: str
) -> None:
    draw = random.Random(f"{seed} {way}")
    given = tmp_path / "given"
    given.mkdir()
    (given / "f").write_text("given")
    before = state(canary), sorted(os.listdir("/dev")), Path("/etc/hosts").read_bytes()
    tar_, settings = image(draw, canary)
    said = outcome(replace(engine, ways=(way,)), tar_, settings, given)
    after = state(canary), sorted(os.listdir("/dev")), Path("/etc/hosts").read_bytes()
    assert before == after, said
    assert sorted(os.listdir(given)) == ["f"] and (given / "f").read_text() == "given"


@pytest.mark.parametrize("name", ["dev", "proc", "sys", ".minify", "etc"])
@pytest.mark.parametrize("kind", ["link", "up", "file", "fifo"])
def test_an_own_mount_point_gives_way(
    engine: EmbeddedEngine, canary: Path, tmp_path: Path, name: str, kind: str
) -> None:
    """As with Docker: a link or file where it mounts something of its own is replaced."""
    entry = {
        "link": symlink(name, str(canary)),
        "up": symlink(name, "../" * 30 + str(canary).lstrip("/")),
        "file": item(name, "x"),
        "fifo": item(name, type=FIFO),
    }[kind]
    given = tmp_path / "given"
    given.mkdir()
    (given / "f").write_text("given")
    before = state(canary)
    assert outcome(engine, tar([entry]), {}, given) == "ran"
    assert state(canary) == before


@pytest.mark.parametrize("target", ["/", "..", "/hop"])
def test_no_volume_over_the_root(
    engine: EmbeddedEngine, canary: Path, tmp_path: Path, target: str
) -> None:
    """It would bring the image's own /dev back before the runtime fills that."""
    extra = [symlink("v", target), symlink("hop", "/"), symlink("dev", str(canary))]
    given = tmp_path / "given"
    given.mkdir()
    (given / "f").write_text("given")
    before = state(canary)
    said = outcome(engine, tar(extra), {"Volumes": {"/v": {}}}, given)
    assert "leads to the root" in said
    assert state(canary) == before


def test_links_of_volumes_lead_within_the_image(
    engine: EmbeddedEngine, canary: Path, tmp_path: Path
) -> None:
    """As with Docker: an absolute link at a volume's place is one of the image's root."""
    (canary / "stolen").write_text("the host's")
    extra = [symlink("v", str(canary)), folder(str(canary).lstrip("/")),
             item(f"{canary}/mine".lstrip("/"), "the image's")]  # fmt: skip
    found = opened(engine, tmp_path / "layout", tar(extra), {"Volumes": {"/v": {}}})
    plan = Plan("", argv=("/usr/bin/sh", "-c", "ls /v; echo new >/v/new; cat /v/new"))
    before = state(canary)
    with engine.create(plan, found.image, Launch()) as container:
        container.start()
        assert container.wait(30)
        assert container.log() == ("mine", "new")
    assert state(canary) == before
