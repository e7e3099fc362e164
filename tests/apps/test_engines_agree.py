"""Both engines keep the same set of files, for every sample application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import samples
from minify.engines.embedded import make
from minify.errors import MinifyError

pytestmark = [pytest.mark.apps, pytest.mark.docker, pytest.mark.root, pytest.mark.runc]


def kept(home: Path, image: str, name: str, engine: str) -> set[str]:
    """The paths that a build through one engine keeps, from what its documents say."""
    argv = [sys.executable, "-m", "minify", "build", image, "--engine", engine, "--no-verify",
            "--config", str(samples.SAMPLES / name / "minify.yaml"), "--force",
            "--tag", f"minify-test-agree-{name}:{engine}"]  # fmt: skip
    env = {**os.environ, "MINIFY_HOME": str(home)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (home / "work").glob("*/keep.json")
    return set(json.loads(found.read_text())["value"]["paths"])


@pytest.mark.parametrize("name", samples.names())
def test_both_engines_keep_the_same_files(name: str, tmp_path: Path) -> None:
    try:
        make(tmp_path / "try").close()
    except MinifyError as error:
        pytest.skip(error.message)
    image = samples.build(name)
    theirs = kept(tmp_path / "docker", image, name, "docker")
    tag = f"minify-test-agree-{name}:docker"
    subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)
    ours = kept(tmp_path / "embedded", f"docker-daemon:{image}", name, "embedded")
    assert ours ^ theirs == set()
