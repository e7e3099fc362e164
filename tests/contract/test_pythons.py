"""Every Python that is stated to do: a build under it, which says nothing but what is its own."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_kit import BASE, SERVER, SERVICE, docker, image, needs_docker

pytestmark = [needs_docker, pytest.mark.docker, pytest.mark.root]
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = "minify-test-pythons:1"
NEWEST = "3.13"
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_newest_python_is_stated() -> None:
    prefix = "Programming Language :: Python :: 3."
    stated = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(prefix)]
    assert stated == ["3.11", "3.12", NEWEST]


def other_python() -> str:
    """The newest Python beside the one that runs the tests, or nothing."""
    if RUNNING == NEWEST:
        return ""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [*root.glob(f"versions/{NEWEST}*/bin/python{NEWEST}"), shutil.which(f"python{NEWEST}")]
    return next((str(place) for place in places if place and works(place)), "")


def works(python: Path | str) -> bool:
    return subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0


@functools.cache
def packages(folder: Path) -> str:
    """What minify depends on, for the other Python."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--no-compile", "--target", str(folder / "site"), "--python-version", NEWEST,
         "--only-binary", ":all:", *PROJECT["dependencies"]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return str(folder / "site")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pythons")


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with image(NAME, SERVICE, **{"app.pl": SERVER}) as name:
        yield name
        docker("rmi", "--force", f"{NAME}-min", check=False)


RUNS = "runs:\n  - {args: [cat], stdin: some text, expect: some text}\n"


@pytest.mark.parametrize("other", [False, True], ids=["running", "newest"])
def test_streams_are_closed(service: str, folder: Path, tmp_path: Path, other: bool) -> None:
    """Those left to the garbage collector are told of there, from 3.13 on without being asked."""
    if other and not other_python():
        pytest.skip(f"no Python {NEWEST} beside {RUNNING}")
    python = other_python() if other else sys.executable
    places = [str(ROOT), *([packages(folder)] if other else [])]
    (tmp_path / "runs.yaml").write_text(RUNS)
    probes = ("--http-probe", "GET /file", "--exec-probe", "true")
    more = (
        ("trace", BASE, "--config", "runs.yaml", "--output", "evidence.json"),
        ("doctor",),
    )
    build = ("build", service, "--force", "--fresh", *probes)
    for argv in (build, *(() if other else more)):
        done = subprocess.run(
            [python, "-m", "minify", *argv], capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=240, cwd=tmp_path,
            env={**os.environ, "MINIFY_HOME": str(tmp_path / "home"), "PYTHONDEVMODE": "1",
                 "PYTHONPATH": os.pathsep.join(places)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        for word in ("Exception ignored", "ResourceWarning", "Traceback"):
            assert word not in done.stderr, done.stderr
