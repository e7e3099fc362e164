"""Both engines see the same: the same build keeps the same files, whichever engine ran it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minify.errors import MinifyError
from tests.host_image import layer, output_image
from tests.image_kit import Layout

ROOT = Path(__file__).parents[2]
SCRIPT = (
    "cat /data/link; ls /home >/dev/null; id app; test -e /none; echo x >/tmp/new; exec sleep 0"
)


def build(home: Path, engine: str, image: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "minify", "build", image, "--engine", engine, "-t",
         "minify-contract/agree:out"],
        env={**os.environ, "MINIFY_HOME": str(home)}, cwd=ROOT, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (home / "work").glob("*/keep.json")
    value: dict[str, Any] = json.loads(found.read_text())["value"]
    return value


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.runc
def test_both_engines_keep_the_same_files(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from minify.engines.docker_api import make as make_docker
    from minify.engines.embedded import make as make_embedded

    output = output_image(tmp_path, Cmd=["sh", "-c", SCRIPT])
    try:
        make_embedded(tmp_path / "try").close()
        docker = make_docker("contract-test", tmp_path)
    except MinifyError as error:
        pytest.skip(error.message)
    layout = Layout(tmp_path / "layout")
    layout.add(layout.image([layer()], conf=output.config.encode()))
    name = "minify-contract/agree:in"
    try:
        docker.save(output, tag=name)
        ours = build(tmp_path / "ours", "embedded", f"oci:{tmp_path}/layout")
        theirs = build(tmp_path / "theirs", "docker", name)
    finally:
        for tag in (name, "minify-contract/agree:out"):
            subprocess.run(["docker", "rmi", "-f", tag], capture_output=True)
        docker.close()
    assert ours["paths"].keys() == theirs["paths"].keys()
    assert {"/data/link", "/data/first", "/etc/passwd", "/usr/bin/sleep"} <= ours["paths"].keys()
    assert "/usr/bin/mkdir" not in ours["paths"]
