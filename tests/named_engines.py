"""Engines by name: which the tests run on, one at a time, with the sample images in them.

`python -m tests.named_engines` prints the table of the README.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITH_ENGINE = str(ROOT / "scripts" / "with-engine")
EMBEDDED = ("embedded-runc", "embedded-crun")
DAEMONS = (
    "docker-20.10",
    "docker-28.5-classic",
    "docker-28.5-containerd",
    "docker-28.5-userns",
    "podman-4.3",
    "podman-5.8",
)
# For each sample (HTTP, a database, a command-line tool) a question that its probes do not ask.
SAMPLES: dict[str, tuple[str, ...]] = {
    "nginx": ("--http-probe", "GET /docs/guide/", "--http-probe", "GET /no/such/page"),
    "redis": ("--tcp-probe", "6379:ECHO hello\\r\\n"),
    "cli": ("--", "-n", 'include "text"; "A b C" | slug'),
}


@dataclass(frozen=True)
class Place:
    """An engine with the samples in it: how minify is told of it.

    `archive` is the file the images are in, `environment` what is added to ours.
    """

    name: str
    archive: Path
    environment: dict[str, str]

    @property
    def embedded(self) -> bool:
        """Whether there is no daemon to ask."""
        return self.name in EMBEDDED

    def run(self, *argv: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command with the engine as the one that answers."""
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, **self.environment},
        )  # fmt: skip

    def minify(self, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run minify with a home of its own."""
        engine = ("--engine", "embedded" if self.embedded else "docker")
        command = ["env", f"MINIFY_HOME={home}", sys.executable, "-m", "minify"]
        return self.run(*command, argv[0], *engine, *argv[1:])

    def original(self, sample: str) -> str:
        """Where minify finds a sample's image."""
        name = f"minify-sample-{sample}:latest"
        return f"docker-archive:{self.archive}:{name}" if self.embedded else name

    def left(self) -> list[str]:
        """The engine's containers, and the images that have no name."""
        if self.embedded:
            return []
        found = [
            self.run("docker", "ps", "--all", "--quiet"),
            self.run("docker", "images", "--quiet", "--filter", "dangling=true"),
        ]
        assert all(done.returncode == 0 for done in found), found
        return [line for done in found for line in done.stdout.split()]


def unavailable(reason: str) -> None:
    """Skip, but fail where a check must not vanish unseen."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def place(name: str, archive: Path, folder: Path) -> Iterator[Place]:
    """Open an engine by name, with the images of the archive in it; `folder` is for its use."""
    if name in EMBEDDED:
        yield Place(name, archive, only(name.partition("-")[2], folder))
        return
    with started(name) as host:
        here = Place(name, archive, {"DOCKER_HOST": host})
        done = here.run("docker", "load", "--quiet", "--input", str(archive))
        assert done.returncode == 0, done.stdout + done.stderr
        yield here


def only(runtime: str, folder: Path) -> dict[str, str]:
    """An environment in which the other OCI runtime is there and does not work."""
    other = folder / {"runc": "crun", "crun": "runc"}[runtime]
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@contextmanager
def started(name: str) -> Iterator[str]:
    """Start an engine by name; yields where it answers."""
    argv = [WITH_ENGINE, "--engine", name, "sh", "-c", 'echo "$DOCKER_HOST"; exec sleep 3600']
    with tempfile.TemporaryFile("w+") as words:
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=words, text=True)
        try:
            assert child.stdout is not None
            host = child.stdout.readline().strip()
            if not host:
                child.wait(60)
                words.seek(0)
                unavailable(f"no {name} here: {words.read()[-2000:]}")
            yield host
        finally:
            child.terminate()
            child.communicate(timeout=120)
    state = Path(host.removeprefix("unix://")).parent
    assert not state.exists(), "something of the engine is left"


def outcome(folder: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a build made: the paths kept, the digests of manifest, configuration and layers.

    The build had `folder`/home as its home and wrote `oci:folder/out`.
    """
    (keep,) = (folder / "home" / "work").glob("*/keep.json")
    kept = json.loads(keep.read_text())["value"]["paths"]
    blobs = folder / "out" / "blobs"
    (named,) = json.loads((folder / "out" / "index.json").read_text())["manifests"]
    manifest = json.loads((blobs / named["digest"].replace(":", "/")).read_text())
    parts = (named, manifest["config"], *manifest["layers"])
    return frozenset(kept), tuple(part["digest"] for part in parts)


def table() -> str:
    """The README's table of engines, made from what is tested."""
    done = subprocess.run([WITH_ENGINE, "--list"], capture_output=True, text=True, check=True)
    told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    rows = ["| engine | contract suite | nginx, redis, a command-line tool |", "|---|---|---|"]
    for name in DAEMONS:
        suite = "all" if name.startswith("docker") else "all but Docker's own ways"
        rows.append(f"| {told[name]} | {suite} | same files kept, same image |")
    rows += [
        f"| embedded, with {name.partition('-')[2]} | all | same files kept, same image |"
        for name in EMBEDDED
    ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
