"""Compare the engines: the same image, the same plan, the same kind of output.

Usage: python -m benchmarks.engines [--rounds N] [SAMPLE…]

Each engine has the image where it keeps images (Docker its store, the embedded engine a layout and
a warm layer store) and writes a compressed OCI layout. Runs alternate, so that both meet the same
moods of the machine; the numbers are medians of the whole process, the ratio is of these medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import samples

ENGINES = ("docker", "embedded")


def seconds(name: str, engine: str, source: str, folder: Path) -> float:
    """Build once through an engine into a new layout; raises RuntimeError when that fails."""
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        argv = [
            sys.executable, "-m", "minify", "build", source, "--engine", engine, "--fresh",
            "--config", str(samples.SAMPLES / name / "minify.yaml"),
            "--output", f"oci:{fresh}/made:small",
        ]  # fmt: skip
        status, took, _, words = samples.measured(argv, 300)
    if status:
        raise RuntimeError(f"{name} through {engine}: exit status {status}\n{words[-1000:]}")
    return took


def compare(name: str, rounds: int, folder: Path) -> dict[str, float]:
    """The median seconds of each engine; a first round fills the caches and does not count."""
    image = samples.build(name)
    layout = folder / name
    host = os.environ.get("DOCKER_HOST")
    argv = ["skopeo", "copy", "--quiet", *(["--src-daemon-host", host] if host else [])]
    subprocess.run([*argv, f"docker-daemon:{image}", f"oci:{layout}:whole"], check=True)
    sources = {"docker": image, "embedded": f"oci:{layout}:whole"}
    took: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for number in range(rounds + 1):
        for engine in ENGINES:
            one = seconds(name, engine, sources[engine], folder)
            took[engine] += [one] if number else []
    return {engine: statistics.median(times) for engine, times in took.items()}


def main(argv: Sequence[str]) -> int:
    """Print one line for each sample."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SAMPLE", choices=[*samples.names(), []])
    parser.add_argument("--rounds", type=int, default=3, help="runs that count, for each engine")
    asked = parser.parse_args(argv)
    print(f"{'sample':10} {'docker s':>9} {'embedded s':>11} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="minify-bench-", dir="/var/tmp") as folder:
        for name in asked.names or samples.names():
            found = compare(name, asked.rounds, Path(folder))
            ratio = found["embedded"] / found["docker"]
            times = f"{found['docker']:9.2f} {found['embedded']:11.2f}"
            print(f"{name:10} {times} {ratio:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
