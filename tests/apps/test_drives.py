"""One configuration per kind of drive, each tried as a new user would: from its file alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import samples
from minify.config.read import read_options
from minify.extras import wanted

pytestmark = [pytest.mark.apps, pytest.mark.docker, pytest.mark.root]
FOLDER = samples.SAMPLES / "drives"
FILES = [
    *sorted(FOLDER.glob("*.yaml")),
    *sorted((samples.SAMPLES / "grpc").glob("*.yaml")),
    samples.SAMPLES / "postgres" / "sql.yaml",
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_is_minified_and_verified_with_this_kind_of_drive(path: Path, tmp_path: Path) -> None:
    image = samples.build(path.parent.name)
    for drive in read_options(path).drives:
        for module in wanted(drive)[1]:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"needs {module}")
    tag = f"{image.partition(':')[0]}:{path.stem}-min"
    report = tmp_path / "report.json"
    argv = [sys.executable, "-m", "minify", "build", image, "--config", str(path),
            "--tag", tag, "--force", "--fresh", "--report", str(report)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        drives = json.loads(report.read_text())
        drives = drives.get("value", drives)["drives"]
        assert len(drives) >= EXPECTED.get(f"{path.parent.name}/{path.stem}", 1)
        assert all(d["ok"] for d in drives), drives
    finally:
        subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)


# How many answers a file must have led to: a kind that finds requests has to have found them.
EXPECTED = {
    "drives/minify": 7, "drives/crawl": 6, "drives/openapi": 5, "drives/graphql": 2,
    "drives/har": 3, "drives/postman": 2, "drives/runs": 3, "grpc/minify": 4, "grpc/calls": 2,
}  # fmt: skip
