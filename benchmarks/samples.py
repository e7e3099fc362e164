"""The sample applications: building their images, minifying them, checking what came out."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.container import docker

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_apps"
PREFIX = "minify-sample-"


@dataclass(frozen=True)
class Expect:
    """What `expect.toml` asks of a minified image; sizes in 10^6 bytes."""

    must_keep: tuple[str, ...]
    must_drop: tuple[str, ...]
    max_size_mb: float
    max_percent: float


@dataclass(frozen=True)
class Minified:
    """One run of minify: its exit status, wall seconds, peak resident bytes, and its words."""

    tag: str
    status: int
    seconds: float
    peak: int
    report: dict[str, Any]
    text: str


def names() -> tuple[str, ...]:
    """The folders of `sample_apps`, sorted."""
    return tuple(sorted(path.parent.name for path in SAMPLES.glob("*/Dockerfile")))


def expectation(name: str) -> Expect:
    """Read the expectations of a sample application."""
    data = tomllib.loads((SAMPLES / name / "expect.toml").read_text(encoding="utf-8"))
    return Expect(
        tuple(data["must_keep"]),
        tuple(data["must_drop"]),
        float(data["max_size_mb"]),
        float(data["max_percent"]),
    )


def build(name: str) -> str:
    """Build the image of a sample application (the engine caches it); returns its name."""
    tag = f"{PREFIX}{name}:latest"
    argv = ["docker", "build", "--quiet", "--network", "host", "--tag", tag, str(SAMPLES / name)]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=1200)
    if done.returncode != 0:
        raise RuntimeError(f"cannot build {name}:\n{(done.stdout + done.stderr)[-2000:]}")
    return tag


def minify(name: str, *options: str, suffix: str = "-min", timeout: float = 300.0) -> Minified:
    """Minify a sample application with its own configuration, as a user would."""
    tag = f"{PREFIX}{name}:latest"
    with tempfile.TemporaryDirectory(prefix="minify-bench-") as folder:
        report = Path(folder) / "report.json"
        argv = [
            sys.executable, "-m", "minify", "build", tag, "--tag", tag + suffix, "--force",
            "--fresh", "--config", str(SAMPLES / name / "minify.yaml"), "--report", str(report),
            *options,
        ]  # fmt: skip
        status, seconds, peak, text = measured(argv, timeout)
        data = json.loads(report.read_text()) if report.exists() else {}
    return Minified(tag + suffix, status, seconds, peak, data, text)


def measured(argv: Sequence[str], timeout: float) -> tuple[int, float, int, str]:
    """Run a program; returns exit status, seconds, peak resident bytes of its tree, its words."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(argv, stdout=words, stderr=words, stdin=subprocess.DEVNULL)
        peak = [0]
        sampler = threading.Thread(target=_sample, args=(child.pid, peak), daemon=True)
        sampler.start()
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.terminate()
            status = child.wait(30)
        seconds = time.monotonic() - began
        sampler.join()
        words.seek(0)
        return status, seconds, peak[0], words.read().decode(errors="replace")


def _sample(pid: int, peak: list[int]) -> None:
    """Sum the resident memory of a process tree again and again until its root has ended."""
    try:
        root = psutil.Process(pid)
        while root.status() != psutil.STATUS_ZOMBIE:
            peak[0] = max(peak[0], sum(_resident([root, *root.children(recursive=True)])))
            time.sleep(0.02)
    except psutil.Error:
        return


def _resident(processes: Iterable[psutil.Process]) -> Iterable[int]:
    for process in processes:
        try:
            yield process.memory_info().rss
        except psutil.Error:
            continue


def size(tag: str) -> int:
    """The size of an image in bytes, as the engine counts it."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", tag)[1] or 0)


def paths(tag: str) -> frozenset[str]:
    """Every path of an image, absolute."""
    status, out, err = docker("create", tag, "minify-no-command")
    if status != 0:
        raise RuntimeError(err.decode(errors="replace"))
    name = out.decode().strip()
    try:
        with subprocess.Popen(["docker", "export", name], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                return frozenset("/" + member.name.strip("/") for member in archive)
    finally:
        docker("rm", "--force", "--volumes", name)


def complaints(expect: Expect, original: int, minified: int, found: frozenset[str]) -> list[str]:
    """All that a minified image does against its expectations; sizes in bytes."""
    said = [f"lacks {glob}" for glob in expect.must_keep if not fnmatch.filter(found, glob)]
    for glob in expect.must_drop:
        said += [f"still has {path}" for path in sorted(fnmatch.filter(found, glob))]
    if minified > expect.max_size_mb * 1e6:
        said.append(f"is {minified / 1e6:.1f} MB, over {expect.max_size_mb} MB")
    if minified * 100 > expect.max_percent * original:
        percent = minified * 100 / original
        said.append(f"is {percent:.1f} % of the original, over {expect.max_percent} %")
    return said
