"""Nothing minify leaves behind has a secret in it: after a build and after a failed one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_image import layer
from tests.image_kit import OCI, Layout, config

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.runc,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        not (shutil.which("runc") or shutil.which("crun")), reason="needs a runtime"
    ),
]
CANARY = "c4nary-hunter2-0815"
SETTINGS = f"""
engine: embedded
env: {{API_TOKEN: {CANARY}, GREETING: "hello {CANARY}"}}
exec_probes: [/usr/bin/true-enough]
http_probes:
  - method: POST
    path: "/login?token={CANARY}"
    port: 9
    headers: {{Authorization: "Bearer {CANARY}"}}
    body: "password={CANARY}"
"""
LOUD = 'echo "using $API_TOKEN"; sh -c "sleep 0.3; : $API_TOKEN"; exit '


class World:
    """A home, a place for temporary files, an image, and minify as a program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home", "tmp", "here"):
            (folder / name).mkdir()
        data = layer()
        layout = Layout(folder / "image")
        settings = {"Cmd": ["/usr/bin/sh", "-c", LOUD + "0"], "Env": ["PATH=/usr/bin"]}
        made = layout.image(
            [data], conf=config([data], config=settings), packed=[data],
            layer_type=OCI + "layer.v1.tar",
        )  # fmt: skip
        layout.add(made)

    def minify(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder / "home"),
            "MINIFY_HOME": str(self.folder / "home" / "minify"), "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "minify", *arguments],
            cwd=self.folder / "here", env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def left(self) -> list[str]:
        """Every file with the secret in it, plain or as base64."""
        raw = CANARY.encode()
        wanted = [raw, *(base64.b64encode(b" " * n + raw)[4:-4] for n in range(3))]
        found = []
        for top in ("home", "tmp", "here"):
            for path in (self.folder / top).rglob("*"):
                if path.is_symlink() or not path.is_file() or "layers" in path.parts:
                    continue
                data = path.read_bytes()
                found += [str(path)] if any(w in data for w in wanted) else []
        return [p for p in found if not p.endswith("minify.yaml")]

    def open_to_others(self) -> list[str]:
        """What below minify's home others can read: what is in a closed folder is closed."""
        found, todo = [], [self.folder / "home" / "minify"]
        while todo:
            path = todo.pop()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode) and not mode & 0o077:
                continue
            found.append(str(path))
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("canary"))


REPORTS = [
    part
    for name in ("report.json", "report.md", "report.sarif", "report.xml")
    for part in ("--report", name)
]


def test_after_a_build(world: World) -> None:
    done = world.minify(
        "build", f"oci:{world.folder}/image", "--engine", "embedded", "-o", "oci:out",
        "--env", f"API_TOKEN={CANARY}", "--env", f"DB_URL=postgres://u:{CANARY}@db/x",
        *REPORTS, "--provenance", "provenance.json", "--cache-dir", "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (world.folder / "here" / "report.json").is_file()
    assert world.left() == []
    assert world.open_to_others() == []
    plans = list((world.folder / "home").rglob("plan.json"))
    assert len(plans) == 1
    assert json.loads(plans[0].read_text())["value"]["env"][0].startswith("API_TOKEN=sha256:")
    assert not plans[0].stat().st_mode & 0o077


def test_after_evidence(world: World) -> None:
    done = world.minify(
        "trace", f"oci:{world.folder}/image", "--engine", "embedded", "-o", "evidence.json",
        "--env", f"API_TOKEN={CANARY}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    evidence = world.folder / "here" / "evidence.json"
    assert "API_TOKEN=sha256:" in evidence.read_text()
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600
    assert world.left() == []


def test_after_a_failed_build(world: World) -> None:
    (world.folder / "here" / "minify.yaml").write_text(SETTINGS)
    done = world.minify(
        "build", f"oci:{world.folder}/image", "-o", "oci:out2", *REPORTS, "--fresh",
        "--", "/usr/bin/sh", "-c", LOUD + "3",
    )  # fmt: skip
    (world.folder / "here" / "minify.yaml").unlink()
    assert done.returncode == 6, done.stderr
    assert world.left() == []
    assert CANARY not in done.stderr + done.stdout, "nor in the words for people"


def test_a_plan_that_is_only_shown(world: World) -> None:
    done = world.minify(
        "build", f"oci:{world.folder}/image", "--engine", "embedded", "--dry-run",
        "--env", f"API_TOKEN={CANARY}", "--env", "TZ=Europe/Prague",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout
    plan = json.loads(done.stdout)["value"]
    assert "TZ=Europe/Prague" in plan["env"]
    assert plan["surroundings"]["pids"] == 4096
    assert plan["surroundings"]["memory"] > 0
