"""What is shipped works outside the checkout: the wheel, with its probes and data."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.engine_kit import SERVER, SERVICE, docker, image, needs_docker

ROOT = Path(__file__).resolve().parents[2]
NAME = "minify-test-wheel:1"


def run(argv: list[str], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy of what git tracks, unpacked where pip would put it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    assert run(["git", "clone", "--quiet", str(ROOT), str(source)]).returncode == 0
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    done = run([*pip, "wheel", "--no-deps", "-w", str(folder), str(source)])
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = next(folder.glob("*.whl"))
    target = folder / "site"
    done = run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)])
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_every_data_file_is_in_the_wheel(installed: Path) -> None:
    wheel = next(installed.parent.glob("*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [p for p in (ROOT / "minify").rglob("*") if p.suffix in (".yaml", ".json", ".py")]
    tracked = run(["git", "ls-files", "minify", "probes"], cwd=ROOT).stdout.split()
    wanted = {p.relative_to(ROOT).as_posix() for p in data} & set(tracked)
    wanted |= {f"minify/{p}" for p in tracked if p.startswith("probes/")}
    assert wanted - names == set()


def test_it_starts_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import minify, minify.probe; print(minify.__file__, minify.probe.probes_folder())"
    done = run([sys.executable, "-c", code], cwd=tmp_path, env=env)
    assert done.stdout.count(str(installed)) == 2, done.stderr
    done = run([sys.executable, "-m", "minify", "--help"], cwd=tmp_path, env=env)
    assert "minify build IMAGE" in done.stdout


@needs_docker
@pytest.mark.docker
@pytest.mark.root
def test_it_does_the_main_job_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed), "MINIFY_HOME": str(tmp_path / "home")}
    with image(NAME, SERVICE, **{"app.pl": SERVER}):
        done = run([sys.executable, "-m", "minify", "build", NAME], cwd=tmp_path, env=env)
        docker("rmi", "--force", f"{NAME}-min", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
