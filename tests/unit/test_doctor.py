"""The doctor finds what is there, and says how to get what is not."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from minify import doctor
from minify.doctor import Check, examine


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no programs, no Docker and no root."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(doctor, "DOCKER_SOCKETS", (str(tmp_path / "none.sock"),))
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


def test_a_docker_engine_that_answers(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"Version":"99.1"}')

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        check = doctor._docker(f"unix://{path}")
        thread.join(5)
    assert check == Check("docker", True, f"unix://{path} 99.1")


@pytest.mark.parametrize("address", ["unix:///no/such/socket"])
def test_a_docker_engine_that_does_not(address: str) -> None:
    check = doctor._docker(address)
    assert not check.ok and "embedded" in check.hint


def test_a_remote_docker_engine_is_not_contacted() -> None:
    assert doctor._docker("ssh://host.invalid").ok


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
