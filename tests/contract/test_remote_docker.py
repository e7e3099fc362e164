"""Engines that are not ours to look into: behind TCP, or as a user of the docker group."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_kit import SERVER, SERVICE, docker, image, inspect, needs_docker

pytestmark = [needs_docker, pytest.mark.docker, pytest.mark.root]
NAME = "minify-test-remote:1"
OUT = "minify-test-remote:1-min"
ROOT = Path(__file__).resolve().parents[2]


def engine_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        pytest.skip(f"the engine's socket is elsewhere: {host}")
    return host.removeprefix("unix://")


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def tcp_host() -> Iterator[str]:
    """The engine's socket forwarded from a TCP port on loopback."""
    path = engine_socket()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(path)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    server.close()


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with image(NAME, SERVICE, **{"app.pl": SERVER}) as name:
        yield name
        docker("rmi", "--force", OUT, check=False)


APART = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")  # no process of ours is its


def build_through(host: str, home: Path, *prefix: str) -> str:
    """Build through an engine's address, perhaps in other surroundings; returns what it said."""
    home.mkdir()
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "minify", "build", NAME],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=240,
        cwd=home, env={**os.environ, "MINIFY_HOME": str(home / "home"), "DOCKER_HOST": host},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_remote_engine_gives_the_same_image(service: str, tcp_host: str, tmp_path: Path) -> None:
    assert "is remote" not in build_through(f"unix://{engine_socket()}", tmp_path / "near")
    local = inspect(OUT)
    docker("rmi", "-f", OUT)
    said = build_through(tcp_host, tmp_path / "far", *APART)
    assert "fanotify: the engine is remote" in said
    assert inspect(OUT)["Id"] == local["Id"]


def is_local(host: str, *prefix: str) -> bool:
    """What minify takes an engine for, asked in a process of its own."""
    ask = (
        "from minify.engines.docker_connect import connect, is_local; "
        "client = connect(); print(is_local(client)); client.close()"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-c", ask], capture_output=True, text=True, check=True,
        cwd=ROOT, env={**os.environ, "DOCKER_HOST": host},
    )  # fmt: skip
    return {"True": True, "False": False}[done.stdout.strip()]


def test_an_engine_behind_tcp_is_looked_into_where_its_processes_are_ours(
    service: str, tcp_host: str, tmp_path: Path
) -> None:
    before = docker("volume", "ls", "-q")
    assert is_local(tcp_host)
    assert "is remote" not in build_through(tcp_host, tmp_path / "tcp")
    assert docker("volume", "ls", "-q") == before


def test_an_engine_of_other_processes_or_other_files_is_remote(tcp_host: str) -> None:
    unix = f"unix://{engine_socket()}"
    assert is_local(unix)
    # As in a container with the host's socket mounted, and as docker:dind on a published port.
    assert not is_local(unix, *APART)
    assert not is_local(tcp_host, *APART)
    data = docker("info", "--format", "{{.DockerRootDir}}")
    hide = f'mount -t tmpfs none {data}/volumes && exec "$@"'
    assert not is_local(tcp_host, "unshare", "--mount", "sh", "-c", hide, "-")


def interpreter(prefix: list[str], env: dict[str, str]) -> str:
    """A Python that an ordinary user can run and start again (root's own may be out of reach)."""
    twice = "import subprocess, sys, minify.cli; subprocess.run([sys.executable, '-V'], check=True)"
    for python in (sys.executable, "/usr/bin/python3"):
        argv = [*prefix, python, "-c", twice]
        if subprocess.run(argv, env=env, capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip("an ordinary user cannot run this interpreter")


def test_an_ordinary_user_is_told_what_is_not_seen(
    service: str, request: pytest.FixtureRequest
) -> None:
    path = engine_socket()
    info = os.stat(path)
    if not info.st_mode & stat.S_IWGRP or info.st_gid == 0:
        pytest.skip("the engine's socket has no group of its own")
    prefix = ["setpriv", "--reuid", "12345", "--regid", str(info.st_gid), "--clear-groups"]
    # Not below pytest's own folder, which it keeps to root.
    home = Path(tempfile.mkdtemp(prefix="minify-user-"))
    shutil.chown(home, 12345, info.st_gid)
    request.addfinalizer(lambda: shutil.rmtree(home, ignore_errors=True))
    packages = os.pathsep.join([str(ROOT), *(p for p in sys.path if p.endswith("-packages"))])
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": packages}
    env["DOCKER_HOST"] = f"unix://{path}"
    reach = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
    if subprocess.run([*prefix, "/usr/bin/python3", "-c", reach], check=False).returncode != 0:
        pytest.skip("an ordinary user cannot reach the engine's socket")
    python = interpreter(prefix, env)
    done = subprocess.run(
        [*prefix, python, "-m", "minify", "build", NAME],
        capture_output=True, text=True, env=env, cwd=home, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fanotify: it needs root" in done.stdout
    assert "verified" in done.stdout
