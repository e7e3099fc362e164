"""The set-up promise: the scripts behind `make demo` and `make test`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WITH_ENGINE = str(ROOT / "scripts" / "with-engine")
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/bash")
)


def left_behind() -> set[str]:
    folders = {str(path) for path in Path("/var/tmp").glob("minify-engine.*")}
    links = {path.name for path in Path("/sys/class/net").iterdir() if path.name[:3] == "mfy"}
    return folders | links


def with_own_engine(*argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ENGINE_FOR_MINIFY": "own"}
    return subprocess.run(
        [WITH_ENGINE, *argv], capture_output=True, text=True, timeout=180, env=environment
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_stop_on_errors(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "set -euo pipefail" in script.read_text()
    assert os.access(script, os.X_OK)


@pytest.mark.docker
def test_an_engine_that_answers_is_used() -> None:
    wanted = subprocess.run(["docker", "info", "--format", "{{.ID}}"], capture_output=True)
    argv = [WITH_ENGINE, "docker", "info", "--format", "{{.ID}}"]
    found = subprocess.run(argv, capture_output=True, timeout=60)
    assert found.returncode == 0
    assert found.stdout == wanted.stdout


@pytest.mark.docker
@pytest.mark.root
def test_an_own_engine_is_started_and_removed() -> None:
    before = left_behind()
    root = ["docker", "info", "--format", "{{.DockerRootDir}}"]
    theirs = subprocess.run(root, capture_output=True).stdout
    script = 'docker info --format "{{.DockerRootDir}} {{.Images}}"; echo "$DOCKER_HOST"; exit 7'
    done = with_own_engine("bash", "-c", script)
    assert done.returncode == 7, done.stderr
    about, host = done.stdout.splitlines()
    assert about.endswith(" 0"), "it shares images with another engine"
    assert about.split()[0] != theirs.decode().strip()
    assert host.startswith("unix:///var/tmp/minify-engine.")
    assert left_behind() == before
    assert subprocess.run(root, capture_output=True).stdout == theirs


@pytest.mark.docker
@pytest.mark.root
def test_containers_of_an_own_engine_run_and_go() -> None:
    before = left_behind()
    # An image of one program of this machine, with the libraries it needs.
    script = """set -e
needed=$(ldd /bin/sleep | grep -o '/[^ ]*')
tar -chf - /bin/sleep $needed 2>/dev/null | docker import - tiny >/dev/null
at=$(docker network inspect --format '{{index .Options "com.docker.network.bridge.name"}}' bridge)
cat /sys/class/net/$at/address
docker run --detach --publish 127.0.0.1::80 tiny /bin/sleep 300 >/dev/null
docker ps --quiet | wc -l
cat /sys/class/net/$at/address
"""
    done = with_own_engine("bash", "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
    before_run, running, after_run = done.stdout.split()
    assert running == "1"
    # Else containers that are connected lose the host whenever another one comes or goes.
    assert before_run == after_run, "the bridge took the address of a container"
    assert left_behind() == before


@pytest.mark.docker
@pytest.mark.root
def test_an_interrupted_command_leaves_nothing() -> None:
    before = left_behind()
    environment = {**os.environ, "ENGINE_FOR_MINIFY": "own"}
    argv = [WITH_ENGINE, "bash", "-c", "echo up; sleep 120"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(90) == 143
    assert left_behind() == before


def test_without_a_command_it_explains_itself() -> None:
    done = subprocess.run([WITH_ENGINE], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.docker
def test_the_base_image_is_made_once() -> None:
    argv = [str(ROOT / "scripts" / "base-image")]
    inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", "debian:bookworm-slim"]
    before = subprocess.run(inspect, capture_output=True).stdout.strip()
    if not before:
        pytest.skip("no debian:bookworm-slim here yet; make test makes it")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run(inspect, capture_output=True).stdout.strip() == before
