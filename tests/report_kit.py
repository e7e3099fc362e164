"""A report to render and to store, made without an engine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from minify.gates import GateResult
from minify.model import Difference, Finding, OutputImage, PackedLayer, Platform, Verdict
from minify.report import DriveResult, Report, Side

GOOD = Report(
    version="1.2.3",
    original=Side("shop:1", "sha256:" + "a" * 64, 100_000_000, 4000),
    minified=Side("shop:1-min", "sha256:" + "b" * 64, 10_000_000, 40),
    platform=Platform(),
    level="reach",
    engine="docker",
    seconds={"observe": 1.0, "total": 2.5},
    kept_by_rule={"elf": 3},
    bytes_by_rule={"elf": 300},
    level_bytes={},
    drives=(DriveResult("GET /", 80, True, 200, "http", ""),),
    watchers=("fanotify", "strace"),
    notes=(),
    failed_drives=(),
    lost_events=0,
    evidence_reused=False,
    verdict=Verdict(True, compared=12),
    findings=(Finding("data", "/usr/share/naïve \udcff|x", "kept 3 entries"),),
    tagged=True,
    work="/home/work",
    gates=(GateResult("max-size", True, "at most 20 MB", "10 MB"),),
    evidence_digest="sha256:" + "c" * 64,
)

# Everything that can go wrong at once, with text that is awkward in XML, JSON and Markdown.
BAD = replace(
    GOOD,
    drives=(
        *GOOD.drives,
        DriveResult("GET /a?b=<c>&d|e", 80, False, 500, "http", ""),
        DriveResult("tcp 6379", 6379, False, 0, "tcp", "refused \x00\x1b[31m"),
    ),
    failed_drives=("GET /a?b=<c>&d|e", "tcp 6379"),
    lost_events=7,
    notes=("@everyone *look*",),
    verdict=Verdict(
        False,
        (
            Difference("GET /", "body", "hello `you` | </code>", "\x1b]0;\udcfe"),
            Difference("listening ports", "ports", "80", ""),
        ),
        compared=12,
        repaired=("/etc/[x]",),
    ),
    gates=(
        GateResult("max-size", False, "at most 5 MB", "10 MB"),
        GateResult("forbid shell", False, "none (shell)", "2 found", ("/bin/sh", "/bin/a b")),
        GateResult("require /x", True, "to be in the image", "it is there"),
    ),
    dropped_but_used=("/usr/share/doc/<b>",),
    tagged=False,
    exit_code=3,
)


def output(folder: Path, *contents: bytes) -> OutputImage:
    """A packed image whose layers are files in `folder`; its digests are true."""
    layers = []
    for number, content in enumerate(contents or (b"layer",)):
        file = folder / f"layer-{number}.tar"
        file.write_bytes(content)
        layers.append(PackedLayer("sha256:" + hashlib.sha256(content).hexdigest(), str(file)))
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [x.diff_id for x in layers]}})
    digest = "sha256:" + hashlib.sha256(config.encode()).hexdigest()
    last, several = layers[-1], tuple(layers) if len(layers) > 1 else ()
    return OutputImage(digest, last.diff_id, config, last.file, 5, 1, several)


def report_of(packed: OutputImage, **changes: Any) -> Report:
    """The good report, about this output."""
    side = Side("shop:1-min", packed.digest, packed.size, packed.files)
    return replace(GOOD, minified=side, **changes)
