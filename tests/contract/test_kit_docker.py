"""The kit traces an image that holds one static program only, under Docker's defaults."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from minify.runs.kit import Kit, prepare_kit

pytestmark = [
    pytest.mark.docker,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root"),
    pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed"),
    pytest.mark.skipif(
        not shutil.which("docker")
        or subprocess.run(["docker", "version"], capture_output=True).returncode != 0,
        reason="no Docker engine answers",
    ),
]

PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
extern char **environ;
int main(void) {
    printf("pid=%d uid=%d\n", (int)getpid(), (int)getuid());
    for (char **e = environ; *e; e++) printf("env %s\n", *e);
    printf("data=%d\n", open("/data", O_RDONLY) >= 0);
    return 5;
}
"""


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("scratch")
    (folder / "p.c").write_text(PROGRAM)
    (folder / "data").write_text("x")
    subprocess.run(["gcc", "-static", "-o", folder / "prog", folder / "p.c"], check=True)
    (folder / "Dockerfile").write_text(
        "FROM scratch\nCOPY prog /prog\nCOPY data /data\n"
        'ENV A="1 2" spring.profile=x\nUSER 1234:1234\nENTRYPOINT ["/prog"]\n'
    )
    name = f"minify-test-kit:{uuid.uuid4().hex[:12]}"
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-q", "-t", name, folder], check=True, env=env,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    yield name
    docker("image", "rm", "-f", name)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with a FIFO that any user may use, on a path any user may pass."""
    folder = tmp_path / "out"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "fifo").chmod(0o666)
    folder.chmod(0o777)
    return folder


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return prepare_kit(tmp_path / "cache")


def create(kit: Kit, out: Path, image: str, prefix: tuple[str, ...]) -> str:
    mounts = ["-v", f"{kit.path}:{kit.mount}:ro", "-v", f"{out}:/.minify/out"]
    argv = [*mounts, "--network", "none", "--entrypoint", prefix[0], image, *prefix[1:], "/prog"]
    return docker("create", *argv)


def test_trace_of_a_scratch_image_through_a_fifo(kit: Kit, out: Path, image: str) -> None:
    options = ("-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=%file")
    container = create(kit, out, image, kit.strace_argv(options, "/.minify/out/fifo"))
    try:
        docker("start", container)
        assert "uid=" not in docker("logs", container)  # held back until somebody reads
        trace = (out / "fifo").read_text()
        assert docker("wait", container) == "5"
        log = docker("logs", container)
        assert "pid=1 uid=1234" in log
        assert 'execve("/prog", ["/prog"]' in trace
        assert '"/data", O_RDONLY' in trace
    finally:
        docker("rm", "-f", container)


def test_gate_holds_a_scratch_image_and_changes_nothing(kit: Kit, out: Path, image: str) -> None:
    plain = docker("create", "--network", "none", "--hostname", "h", image)
    gated = ""
    try:
        docker("start", plain)
        docker("wait", plain)
        env = {"A": "1 2", "spring.profile": "x"}
        prefix = kit.gate_argv("/.minify/out/fifo", env=env)
        mounts = ["-v", f"{kit.path}:{kit.mount}:ro", "-v", f"{out}:/.minify/out"]
        where = [*mounts, "--network", "none", "--hostname", "h", "--entrypoint", prefix[0]]
        gated = docker("create", *where, image, *prefix[1:], "/prog")
        docker("start", gated)
        assert docker("logs", gated) == ""
        opener = threading.Thread(target=(out / "fifo").write_text, args=("go\n",))
        opener.start()
        opener.join(30)
        assert docker("wait", gated) == "5"
        assert sorted(docker("logs", gated).splitlines()) == sorted(
            docker("logs", plain).splitlines()
        )
    finally:
        docker("rm", "-f", plain, *([gated] if gated else []))
