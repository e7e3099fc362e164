"""Images with one trait each that minifiers get wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import samples
from benchmarks.container import docker
from benchmarks.replay import replay
from tests.apps.tricky import BAD, GOOD, TOOLBOX, Case

pytestmark = [pytest.mark.apps, pytest.mark.docker, pytest.mark.root]


def image(name: str, dockerfile: str) -> str:
    tag = f"minify-tricky-{name}"
    argv = ("build", "--quiet", "--network", "host", "--tag", tag, "-")
    status, out, err = docker(*argv, stdin=dockerfile.encode(), timeout=600)
    assert status == 0, (out + err).decode()
    return tag


@pytest.fixture(scope="module", autouse=True)
def toolbox() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_BUILDKIT", "0")
        image("toolbox", TOOLBOX)
        yield


def containers(tag: str) -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"ancestor={tag}")[1].decode().split()


def minify(case: Case, tag: str, folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [
        sys.executable,
        "-m",
        "minify",
        "build",
        tag,
        "--tag",
        f"{tag}:min",
        "--force",
        "--fresh",
    ]
    # Run in an empty folder: ./minify.yaml must not be found by accident.
    return subprocess.run(
        [*argv, *case.options], capture_output=True, text=True, timeout=240, cwd=folder
    )


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_good(case: Case, tmp_path: Path) -> None:
    tag = image(case.name, case.dockerfile)
    done = minify(case, tag, tmp_path)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert samples.size(f"{tag}:min") < samples.size(tag) or case.name == "scratch-static"
        lacking = set(case.kept) - samples.paths(f"{tag}:min")
        assert not lacking
        wrong = [
            str(result) for result in replay(tag, f"{tag}:min", case.scenarios) if not result.same
        ]
        assert not wrong, "\n".join(wrong)
    finally:
        docker("rmi", "--force", f"{tag}:min", tag)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_bad(case: Case, tmp_path: Path) -> None:
    tag = image(case.name, case.dockerfile)
    try:
        done = minify(case, tag, tmp_path)
        words = done.stdout + done.stderr
        assert done.returncode in case.status, words
        assert all(word in words for word in case.says), words
        assert "Traceback" not in words
        assert docker("image", "inspect", f"{tag}:min")[0] != 0, "an image was left"
        assert not containers(tag), "a container was left"
    finally:
        docker("rmi", "--force", f"{tag}:min", tag)
