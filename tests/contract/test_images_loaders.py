"""What we write must load unchanged in Docker, skopeo and Podman; what Docker saves, we read."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from minify.images.archive import read_docker_archive, write_docker_archive
from minify.images.check import validate
from minify.images.config import image_of_config, output_config
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.oci_write import Packed, write_oci_archive, write_oci_layout
from minify.images.overlay import read_overlay
from minify.images.write import write_layer
from minify.model import Entry, Kind
from minify.tree import Tree
from tests.image_kit import config
from tests.kit import Exec, Link, Same, tree

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep


def answers(*argv: str) -> bool:
    if not shutil.which(argv[0]):
        return False
    return subprocess.run(argv, capture_output=True, timeout=60).returncode == 0


has_docker = answers("docker", "info")
docker = pytest.mark.skipif(not has_docker, reason="no Docker engine answers")
skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
podman = pytest.mark.skipif(
    not shutil.which("podman") or os.geteuid() != 0, reason="podman as root is not here"
)


def run(*argv: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def rich() -> Tree:
    """Everything a layer can hold, as small files."""
    files = tree(
        {
            "/usr/bin/tool": Exec(b"tool", 0o4755),
            "/usr/bin/capable": Exec(b"capable"),
            "/usr/bin/twin": Same("/usr/bin/tool"),
            "/bin": Link("usr/bin"),
            "/var/empty": None,
            "/na\udcefve": "not UTF-8",
            "/" + "long/" * 30 + "name" * 20: "deep",
            "/ünï": "UTF-8",
        }
    )
    capable = replace(
        files.entries["/usr/bin/capable"], xattrs=(("security.capability", CAPABILITY),)
    )
    special = [
        capable,
        Entry("/tmp", Kind.DIR, 0o1777, mtime=1234),
        Entry("/pipe", Kind.FIFO, 0o600, 1000, 1000),
        Entry("/null", Kind.CHAR, 0o666, device=(1, 3)),
        Entry("/home", Kind.DIR, 0o750, 1000, 3_000_000),
    ]
    return Tree({**files.entries, **{e.path: e for e in special}}, files.opener)


@dataclass(frozen=True)
class Written:
    """A rich image in every format."""

    tree: Tree
    config: str
    digest: str
    folder: Path
    tag: str

    @property
    def archive(self) -> Path:
        return self.folder / "docker.tar"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    source = rich()
    info = write_layer(source, source.entries, tmp_path / "layer.tar", epoch=1_600_000_000)
    image = image_of_config("x", config([], config={"Cmd": ["/bin/tool"], "User": "1000"}), ())
    text = output_config(image, [info.diff_id], epoch=1_600_000_000)
    layers = [(tmp_path / "layer.tar", info.diff_id)]
    tag = f"minify-test/{secrets.token_hex(4)}:1"
    write_docker_archive(tmp_path / "docker.tar", layers, text, [tag])
    for compression in ("none", "gzip", "zstd"):
        write_oci_layout(tmp_path / f"oci-{compression}", Packed(layers, text, compression), "v1")
    write_oci_archive(tmp_path / "oci.tar", Packed(layers, text), "v1", tmp_path / "work")
    return Written(source, text, image_of_config("", text.encode(), ()).digest, tmp_path, tag)


def same(one: Tree, two: Tree) -> None:
    """Equal apart from inode numbers and the layer; the root directory is not in every layer."""
    assert set(one.entries) == set(two.entries)
    for path in set(one.entries) - {"/"}:
        a, b = one.entries[path], two.entries[path]
        assert replace(a, inode=0, layer=0) == replace(b, inode=0, layer=0)
        assert one.twins(a) == two.twins(b)
        if a.kind is Kind.FILE:
            with one.opener(a) as x, two.opener(b) as y:
                assert x.read() == y.read()


def test_our_own_validator_finds_nothing(written: Written) -> None:
    for name in ("docker.tar", "oci-none", "oci-gzip", "oci-zstd", "oci.tar"):
        assert validate(written.folder / name) == []


@skopeo
@pytest.mark.parametrize(
    "name", ["docker-archive:docker.tar", "oci:oci-none:v1", "oci:oci-gzip:v1", "oci:oci-zstd:v1",
             "oci-archive:oci.tar:v1"]
)  # fmt: skip
def test_skopeo_reads_and_copies_it(written: Written, name: str) -> None:
    found = json.loads(run("skopeo", "inspect", "--config", name, cwd=written.folder))
    assert found == json.loads(written.config)
    run("skopeo", "copy", "-q", name, "oci:copy:x", cwd=written.folder)
    back = read_oci_layout(written.folder / "copy", spool=written.folder, choice=Choice("x"))
    # Out of a docker-archive skopeo writes the configuration anew, in OCI's terms.
    assert name.startswith("docker") or back.image.digest == written.digest
    same(written.tree, back.tree)


@skopeo
@pytest.mark.parametrize(
    "name", ["docker-archive:by-skopeo.tar:a/b:1", "oci-archive:by-skopeo.tar:v"]
)
def test_we_read_what_skopeo_writes(written: Written, name: str) -> None:
    run("skopeo", "copy", "-q", "oci:oci-gzip:v1", name, cwd=written.folder)
    path = written.folder / "by-skopeo.tar"
    if name.startswith("docker"):
        back = read_docker_archive(path, spool=written.folder, tag="a/b:1")
    else:
        back = read_oci_archive(path, spool=written.folder, choice=Choice("v"))
    same(written.tree, back.tree)


@pytest.fixture
def loaded(written: Written) -> Iterator[Written]:
    run("docker", "load", "-q", "-i", written.archive)
    yield written
    run("docker", "rmi", "-f", written.tag)


@docker
@pytest.mark.docker
def test_docker_loads_it_unchanged(loaded: Written) -> None:
    found = json.loads(run("docker", "image", "inspect", loaded.tag))[0]
    assert found["Id"] == loaded.digest
    assert found["Config"]["User"] == "1000"


@docker
@pytest.mark.docker
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="the engine's layers are root's")
def test_docker_unpacks_every_attribute(loaded: Written) -> None:
    """Capabilities, set-uid, devices, hard links, names: as overlayfs then shows them."""
    same(loaded.tree, read_overlay(layer_dirs(loaded.tag)))


@docker
@pytest.mark.docker
@pytest.mark.root
@pytest.mark.skipif(not shutil.which("getcap"), reason="getcap is not installed")
def test_getcap_reads_the_capability_after_docker_load(loaded: Written) -> None:
    (directory,) = layer_dirs(loaded.tag)
    assert "cap_net_bind_service" in run("getcap", directory / "usr/bin/capable")


def layer_dirs(tag: str) -> list[Path]:
    data = json.loads(run("docker", "image", "inspect", tag))[0]["GraphDriver"]
    if data["Name"] != "overlay2":
        pytest.skip(f"the engine stores layers with {data['Name']}")
    lower = data["Data"].get("LowerDir", "").split(":")[::-1]
    return [Path(p) for p in [*filter(None, lower), data["Data"]["UpperDir"]]]


@docker
@pytest.mark.docker
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="the engine's layers are root's")
def test_overlay_and_docker_save_give_the_same_tree(tmp_path: Path) -> None:
    """One image with whiteouts, opaque directories and hard links, read in two ways."""
    tag = f"minify-test/{secrets.token_hex(4)}:1"
    archive = tmp_path / "saved.tar"
    steps = [
        "FROM scratch",
        "COPY one /",
        "COPY two /",
        "COPY three /d/",
    ]
    for number, name in itertools.product(range(3), ("one", "two", "three")):
        path = tmp_path / "context" / name / "d" / f"{name}{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}{number}")
    (tmp_path / "context" / "Dockerfile").write_text("\n".join(steps))
    base = local_base()
    if base:  # with a shell there can be whiteouts too
        script = "rm -rf /etc/apt /usr/share/doc; mkdir /etc/apt; echo x >/etc/apt/y; rm /etc/motd"
        links = "ln /etc/passwd /etc/passwd.twin; chmod 4711 /etc/hostname; ln -s x /dangling"
        text = f"FROM {base}\nCOPY one /\nRUN {script}; true\nRUN {links}; true\n"
        (tmp_path / "context" / "Dockerfile").write_text(text)
    try:
        env = {**os.environ, "DOCKER_BUILDKIT": "0"}
        subprocess.run(
            ["docker", "build", "-q", "-t", tag, "."],
            cwd=tmp_path / "context", env=env, check=True, capture_output=True,
        )  # fmt: skip
        dirs = layer_dirs(tag)
        run("docker", "save", "-o", archive, tag)
        back = read_docker_archive(archive, spool=tmp_path, tag=tag)
        overlay = read_overlay(dirs)
        same(overlay, back.tree)
        digests = {
            write_layer(found, found.entries, tmp_path / "all.tar", epoch=0).diff_id
            for found in (overlay, back.tree)
        }
        assert len(digests) == 1
        layers = {p: e.layer for p, e in overlay.entries.items() if p != "/"}
        assert layers == {p: e.layer for p, e in back.tree.entries.items() if p != "/"}
        assert back.image.digest == json.loads(run("docker", "image", "inspect", tag))[0]["Id"]
    finally:
        subprocess.run(["docker", "rmi", "-f", tag], capture_output=True)


def local_base() -> str:
    names = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return "debian:bookworm-slim" if "debian:bookworm-slim" in names else ""


@pytest.fixture
def own_podman(tmp_path: Path) -> Iterator[list[str]]:
    """Podman with a storage of its own; its run folder must have a short name."""
    with tempfile.TemporaryDirectory(prefix="mp-", dir="/tmp") as short:
        place = ["podman", "--root", str(tmp_path / "p"), "--runroot", short,
                 "--storage-driver", "vfs"]  # fmt: skip
        probe = subprocess.run([*place, "info"], capture_output=True, text=True, timeout=60)
        if probe.returncode != 0:
            pytest.skip(f"podman does not work here: {probe.stderr.strip()[:200]}")
        yield place


@podman
@pytest.mark.root
@pytest.mark.parametrize("name", ["docker.tar", "oci.tar"])
def test_podman_loads_it_unchanged(written: Written, own_podman: list[str], name: str) -> None:
    run(*own_podman, "load", "-q", "-i", written.folder / name)
    (found,) = json.loads(run(*own_podman, "images", "--format", "json"))
    assert "sha256:" + found["Id"] == written.digest
