"""Measure minify on the sample applications and print a table and JSON.

Usage: python -m benchmarks.run [--json FILE] [--no-levels] [--no-load] [SAMPLE…]

Sizes are what the engine says, in 10^6 bytes. Times and rates depend on the machine: read the
ratios, which come from one run each. `peak` is the highest sum of resident memory of minify and
its children, sampled every 20 ms.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import samples
from benchmarks.container import docker
from benchmarks.load import traced, untraced
from benchmarks.replay import replay
from benchmarks.scenario import load

LEVELS = ("exact", "reach", "package")
LOADED = {"nginx": 80, "gohttp": 8080, "node": 3000, "flask": 8000}
PEERS = ("mint", "slim")


@dataclass
class Row:
    """What was measured of one sample; 0 where it was not."""

    name: str
    before: int = 0
    after: int = 0
    seconds: float = 0.0
    peak: int = 0
    status: int = 0
    unprobed_same: int = 0
    unprobed: int = 0
    wrong: list[str] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)
    rate: float = 0.0
    rate_traced: float = 0.0
    peers: dict[str, tuple[int, float]] = field(default_factory=dict)


def measure(name: str, *, levels: bool, rates: bool) -> Row:
    """Measure one sample application."""
    image = samples.build(name)
    built = samples.minify(name)
    row = Row(name, samples.size(image), 0, round(built.seconds, 2), built.peak, built.status)
    if built.status != 0:
        row.wrong.append(built.text[-500:])
        return row
    row.after = samples.size(built.tag)
    results = replay(image, built.tag, load(samples.SAMPLES / name / "unprobed.toml"))
    row.unprobed, row.unprobed_same = len(results), sum(result.same for result in results)
    row.wrong += [str(result) for result in results if not result.same]
    if levels:
        row.levels = {level: _level(name, level) for level in LEVELS}
    if rates and name in LOADED and shutil.which("wrk"):
        port = LOADED[name]
        row.rate = untraced(image, port)
        row.rate_traced = traced(name, port)
    row.peers = {peer: _peer(peer, image) for peer in PEERS if shutil.which(peer)}
    return row


def _level(name: str, level: str) -> int:
    built = samples.minify(name, "--keep-level", level, "--no-verify", suffix=f"-{level}")
    weight = samples.size(built.tag) if built.status == 0 else 0
    docker("rmi", "--force", built.tag)
    return weight


def _peer(program: str, image: str) -> tuple[int, float]:
    """The size and the seconds of another minifier on the same image."""
    tag = image.replace(":latest", f":{program}")
    argv = [program, "build", "--target", image, "--tag", tag, "--http-probe-exit-on-failure=false"]
    status, seconds, _, _ = samples.measured(argv, 600)
    weight = samples.size(tag) if status == 0 else 0
    docker("rmi", "--force", tag)
    return weight, round(seconds, 2)


def table(rows: Sequence[Row]) -> str:
    """The rows as text for people."""
    head = ("sample", "before", "after", "%", "s", "peak", "unprobed", *LEVELS, "req/s", "traced")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    rate, share = "-", "-"
    if row.rate:
        rate, share = f"{row.rate:.0f}", f"{100 * row.rate_traced / row.rate:.0f} %"
    return (
        row.name,
        _megabytes(row.before),
        _megabytes(row.after),
        f"{100 * row.after / row.before:.1f}" if row.before else "-",
        f"{row.seconds:.1f}",
        _megabytes(row.peak),
        f"{row.unprobed_same}/{row.unprobed}",
        *(_megabytes(row.levels.get(level, 0)) for level in LEVELS),
        rate,
        share,
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}" if count else "-"


def summary(rows: Sequence[Row]) -> str:
    """The totals a reader looks for first."""
    asked = sum(row.unprobed for row in rows)
    same = sum(row.unprobed_same for row in rows)
    words = [f"unprobed requests answered as the original does: {same} of {asked}"]
    pairs = [row.levels for row in rows if row.levels.get("exact") and row.levels.get("reach")]
    if pairs:
        ratio = sum(pair["reach"] / pair["exact"] for pair in pairs) / len(pairs)
        words.append(f"level reach weighs {ratio:.2f} times level exact on average")
    if not any(shutil.which(peer) for peer in PEERS):
        words.append(f"not compared with {' or '.join(PEERS)}: not on PATH")
    return "\n".join(words)


def main(argv: Sequence[str]) -> int:
    """Measure the samples named, or all; exit status 1 where one could not be minified."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SAMPLE", choices=[*samples.names(), []])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--no-levels", action="store_true", help="leave the keep levels out")
    parser.add_argument("--no-load", action="store_true", help="leave the request rates out")
    asked = parser.parse_args(argv)
    rows = []
    for name in asked.names or samples.names():
        print(f"measuring {name}", file=sys.stderr, flush=True)
        rows.append(measure(name, levels=not asked.no_levels, rates=not asked.no_load))
    print(table(rows))
    for row in rows:
        for line in row.wrong:
            print(f"  {row.name}: {line}")
    print(summary(rows))
    if asked.json:
        machine = f"{platform.machine()} {platform.release()}"
        data = {"schema": 1, "machine": machine, "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")
    return 1 if any(row.status for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
