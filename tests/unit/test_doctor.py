"""The doctor finds what is there, and says how to get what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minify import doctor
from minify.doctor import Check, examine
from minify.engines.docker_traits import traits
from tests.docker_kit import Answer, docker_engine, told


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no programs, no Docker and no root."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_bare_machine_gets_a_hint_for_everything(bare: Path, tmp_path: Path) -> None:
    found = by_name(examine(tmp_path / "home"))
    for name in ("docker", "runtime crun", "runtime runc", "strace", "skopeo", "nsenter", "zstd"):
        assert not found[name].ok
        assert found[name].hint, name
    assert "apt-get install runc" in found["runtime runc"].hint
    assert "uidmap" in found["user namespaces"].hint or not found["user namespaces"].ok
    assert all(check.detail for check in found.values())
    assert not (tmp_path / "home").exists()  # it changed nothing


@pytest.mark.parametrize(
    ("version", "ok"),
    [("strace -- version 6.1", True), ("strace -- version 5.3", True),
     ("strace -- version 4.26", False), ("gibberish", False)],
)  # fmt: skip
def test_strace_must_be_new_enough(bare: Path, version: str, ok: bool) -> None:
    program(bare, "strace", f"echo '{version}'")
    check = doctor._strace()
    assert check.ok is ok
    assert bool(check.hint) is not ok


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


CONTAINERD = {
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}
CLASSIC = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
ROOTLESS = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]


def test_a_docker_engine_that_answers() -> None:
    with docker_engine({"/info": told({**CLASSIC, "CgroupVersion": "2"})}):
        where = os.environ["DOCKER_HOST"]
        docker, *others = doctor._docker()
    assert docker == Check("docker", True, f"{where} 99.1")
    assert [check.name for check in others] == ["docker store", "docker cgroups", "docker users"]
    assert all(check.ok for check in others)


def test_a_docker_engine_that_keeps_to_itself_what_it_is_like() -> None:
    with docker_engine({"/info": Answer(b'{"message": "forbidden here"}', status=403)}):
        docker, store = doctor._docker()
    assert docker.ok and store.ok and "forbidden here" in store.detail


@pytest.mark.parametrize(
    ("info", "root", "words"),
    [
        (CONTAINERD, True, "containerd's, snapshotter overlayfs: layers are read where they lie"),
        (CONTAINERD, False, "containerd's, snapshotter overlayfs: images are read through"),
        ({**CONTAINERD, "Driver": "zfs"}, True, "containerd's, snapshotter zfs: images are read"),
        (CLASSIC, True, "classic, graph driver overlay2: layers are read where they lie"),
        (CLASSIC, False, "classic, graph driver overlay2: images are read through `docker save`"),
        ({**CLASSIC, "SecurityOptions": ["name=userns"]}, True, "read through `docker save`"),
        ({**CLASSIC, "SecurityOptions": ROOTLESS}, True, "read through `docker save`"),
        ({"Driver": "vfs", "DriverStatus": None}, True, "vfs: images are read through"),
        ({}, True, "graph driver unknown"),
    ],
)
def test_the_store_of_an_engine(info: dict[str, object], root: bool, words: str) -> None:
    assert words in traits(info, root=root)[0].detail


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["name=seccomp,profile=default"], "no user namespace"),
        (["name=userns", "name=seccomp,profile=builtin"], "userns-remap: "),
        (ROOTLESS, "rootless: "),
        (["seccomp"], "no user namespace"),
        (None, "no user namespace"),
    ],
)
def test_the_users_of_an_engine(options: list[str] | None, words: str) -> None:
    assert traits({"SecurityOptions": options}, root=True)[2].detail.startswith(words)


def test_the_cgroups_of_an_engine() -> None:
    whole = {"CgroupVersion": "2", "MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}
    assert traits(whole, root=True)[1].detail == "version 2: all limits can be set"
    assert traits({}, root=True)[1].detail.startswith("version 1")
    lacking = traits({**whole, "CpuCfsQuota": False, "PidsLimit": False}, root=True)[1]
    assert lacking.detail == "version 2: --cpus, --pids cannot be set" and lacking.hint


@pytest.mark.parametrize("address", ["unix:///no/such/socket", "tcp://127.0.0.1:1", "nonsense://x"])
def test_a_docker_engine_that_does_not(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    (check,) = doctor._docker()
    assert not check.ok and "embedded" in check.hint
    assert address.partition("://")[2] in check.detail


def test_an_engine_over_ssh_is_not_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://host.invalid")
    assert doctor._docker()[0].ok


def test_an_engine_docker_s_programs_do_not_look_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    monkeypatch.setattr(doctor, "OTHER_SOCKETS", (str(tmp_path),))
    assert f"export DOCKER_HOST=unix://{tmp_path}" in doctor._docker()[0].hint


ALL = ("kernel", "docker", "strace", "user namespaces", "runtime crun", "runtime runc")


@pytest.mark.parametrize(
    ("lacks", "root", "engine"),
    [
        ((), True, "docker"),
        (("docker", "runtime crun", "user namespaces"), True, "embedded"),
        (("docker", "user namespaces"), False, ""),
        (("docker", "runtime crun"), False, "embedded"),
        (("docker", "runtime crun", "runtime runc"), True, ""),
        (("strace",), True, ""),
        (("kernel",), True, ""),
    ],
)
def test_which_engine_a_build_takes(
    lacks: tuple[str, ...], root: bool, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    checks = tuple(Check(name, name not in lacks, "-") for name in ALL)
    assert doctor.engine_of(checks) == engine


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "SPACE", 1 << 62)
    check = doctor._space(tmp_path / "not" / "yet")
    assert not check.ok and "gc" in check.hint
    monkeypatch.setattr(doctor, "SPACE", 1)
    assert doctor._space(tmp_path / "not" / "yet").ok


def test_the_cache_on_an_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "/proc/filesystems": "nodev\toverlay\n",
        "/proc/self/mountinfo": (
            "1 0 8:1 / / rw - overlay overlay rw\n"
            "2 1 8:1 / /vol\\040ume rw shared:1 - ext4 /dev/x rw\n"
        ),
    }
    monkeypatch.setattr(doctor, "_text", lambda path: rows.get(path, ""))
    assert not doctor._overlay(Path("/cache")).ok
    assert doctor._overlay(Path("/vol ume/cache")).ok
    rows["/proc/filesystems"] = ""
    assert not doctor._overlay(Path("/vol ume/cache")).ok
