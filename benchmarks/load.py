"""What tracing costs a service: requests per second, traced against untraced, in one run."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import samples
from benchmarks.container import Container, created, docker, wait_until
from benchmarks.scenario import Scenario

SECONDS = 4


def requests_per_second(container: Container, path: str = "/") -> float:
    """Load a service with wrk; 0.0 when it answered nothing."""
    url = f"http://{container.address}:{container.port}{path}"
    argv = ["wrk", "--threads", "1", "--connections", "8", "--duration", f"{SECONDS}s", url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS * 10)
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    return float(found[1]) if found else 0.0


def untraced(image: str, port: int) -> float:
    """The rate of an image as it is."""
    with created(image, Scenario("load", port)) as container:
        docker("start", container.name)
        container.ready()
        return requests_per_second(container)


def traced(name: str, port: int, *options: str) -> float:
    """The rate while minify observes it; it is held open for the length of the load."""
    image = f"{samples.PREFIX}{name}:latest"
    with tempfile.TemporaryDirectory(prefix="minify-bench-") as folder:
        argv = [
            sys.executable, "-m", "minify", "trace", image,
            "--config", str(samples.SAMPLES / name / "minify.yaml"),
            "--observe-for", str(SECONDS * 3), "--output", str(Path(folder) / "evidence.json"),
            *options,
        ]  # fmt: skip
        before = set(_running(image))
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            try:
                wait_until(lambda: bool(_long(set(_running(image)) - before)), 90)
                new = _long(set(_running(image)) - before)
                if not new:
                    return 0.0
                container = Container(new[0], port)
                container.ready()
                return requests_per_second(container)
            finally:
                child.terminate()


def _long(containers: set[str]) -> list[str]:
    """The run that is held open: before it minify makes a short one with strace on every path."""
    commands = {c: docker("inspect", "--format", "{{json .Config.Cmd}}", c)[1] for c in containers}
    return sorted(c for c, command in commands.items() if command and b"%file" not in command)


def _running(image: str) -> list[str]:
    return docker("ps", "--quiet", "--filter", f"ancestor={image}")[1].decode().split()
