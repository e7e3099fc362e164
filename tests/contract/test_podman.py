"""Podman's Docker-compatible socket is an engine like any other: the whole job through it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_kit import SERVER, SERVICE, docker, image, minify, needs_docker

pytestmark = [
    needs_docker,  # the image to begin with is built there
    pytest.mark.docker,
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("podman"), reason="no podman"),
]
NAME = "localhost/minify-test-podman:1"
# Podman raises the limits of a container to its own idea of them, which takes CAP_SYS_RESOURCE;
# crun, which it prefers, refuses machines with both versions of cgroups mounted.
SETTINGS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
"""


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A Podman with a storage and a socket of its own; its run folder must have a short name."""
    folder = tmp_path_factory.mktemp("podman")
    with tempfile.TemporaryDirectory(prefix="mp-", dir="/tmp") as short:
        place = ["podman", "--root", str(folder / "root"), "--runroot", short]
        settings = folder / "containers.conf"
        settings.write_text(SETTINGS)
        env = {**os.environ, "CONTAINERS_CONF": str(settings)}
        socket = f"{short}/podman.sock"
        service = subprocess.Popen(
            [*place, "system", "service", "--time=0", f"unix://{socket}"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield [*place, "--url", f"unix://{socket}"]
        finally:
            service.terminate()
            service.wait(30)
            subprocess.run([*place, "system", "reset", "--force"], env=env, capture_output=True)


def ask(podman: list[str], *argv: str) -> str:
    local = podman[: podman.index("--url")]
    done = subprocess.run([*local, *argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_whole_job_through_podmans_socket(podman: list[str], tmp_path: Path) -> None:
    archive = tmp_path / "service.tar"
    with image(NAME, SERVICE, **{"app.pl": SERVER}) as name:
        docker("save", "-o", str(archive), name)
    ask(podman, "load", "-q", "-i", str(archive))
    done = minify("build", NAME, home=tmp_path, DOCKER_HOST=podman[-1])
    if "operation not permitted" in done.stderr and "rlimit" in done.stderr:
        pytest.skip("podman may not run containers here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
    assert "localhost/minify-test-podman:1-min" in ask(
        podman, "images", "--format", "{{.Repository}}:{{.Tag}}"
    )
    sizes = [int(ask(podman, "image", "inspect", "--format", "{{.Size}}", n))
             for n in (NAME, f"{NAME}-min")]  # fmt: skip
    assert sizes[1] < sizes[0] / 2
    assert ask(podman, "ps", "--all", "--quiet") == ""
    assert not list((tmp_path / "home" / "runs").iterdir())
