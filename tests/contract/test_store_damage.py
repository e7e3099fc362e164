"""A disk that changes a byte: each is noticed where it would matter, told, and put right."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minify.errors import MinifyError
from tests.host_image import layer, output_image
from tests.image_kit import Layout

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.runc,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
SCRIPT = "cat /data/first; ls /home >/dev/null; exec sleep 0"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from minify.engines.embedded import make

    folder = tmp_path_factory.mktemp("damage")
    try:
        make(folder / "try").close()
    except MinifyError as error:
        pytest.skip(error.message)
    output = output_image(folder, Cmd=["sh", "-c", SCRIPT])
    layout = Layout(folder / "layout")
    layout.add(layout.image([layer()], conf=output.config.encode()))
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def build(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    shutil.rmtree(folder / "out", ignore_errors=True)
    return subprocess.run(
        [sys.executable, "-m", "minify", "build", f"oci:{folder}/layout", "--engine", "embedded",
         "--output", f"oci:{folder}/out", *argv],
        env={**os.environ, "MINIFY_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        cwd=folder, timeout=300, capture_output=True, text=True, check=False,
    )  # fmt: skip


def digest(folder: Path) -> str:
    (one,) = json.loads((folder / "out" / "index.json").read_bytes())["manifests"]
    return str(one["digest"])


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    place = min(int(len(data) * at), len(data) - 1)
    data[place] ^= 1
    with path.open("r+b") as stream:  # the file stays the one it was
        stream.write(data)


def found(folder: Path, pattern: str) -> list[Path]:
    files = [p for p in (folder / "home").glob(pattern) if p.is_file() and not p.is_symlink()]
    return [p for p in files if p.stat().st_size]


@pytest.mark.parametrize(
    ("pattern", "at", "told"),
    [
        ("layers/sha256/*/usr/bin/sleep", 0.0, "/usr/bin/sleep of layer"),
        ("layers/sha256/*/usr/bin/sleep", 0.5, "/usr/bin/sleep of layer"),
        ("layers/sha256/*/data/first", 1.0, "/data/first of layer"),
        ("layers/digests/*[!m]", 0.5, "the digests of layer"),
        ("work/*/*.json", 0.3, ""),
        ("fetched/*.json", 0.5, ""),
        ("*/**/*.sum", 0.5, ""),
    ],
)
def test_one_flipped_byte_changes_no_result(
    built: Path, pattern: str, at: float, told: str
) -> None:
    assert build(built).returncode == 0
    wanted = digest(built)
    paths = found(built, pattern)
    assert paths
    for path in paths:
        flip(path, at)
    done = build(built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(built) == wanted
    assert told in done.stderr, done.stderr
    done = build(built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(built) == wanted
    assert "damaged" not in done.stderr  # it was put right
