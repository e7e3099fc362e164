"""Everything a build found, as one document; every renderer is a pure function of it.

The JSON form is described in docs/report.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from minify.codec import dumps
from minify.engines import Loaded
from minify.errors import Exit
from minify.gates import GateResult
from minify.model import (
    Access,
    Behaviour,
    Evidence,
    Finding,
    KeepSet,
    Kind,
    Outcome,
    OutputImage,
    Platform,
    Verdict,
)
from minify.tree import Tree

USED = (Access.OPEN, Access.EXEC)


@dataclass(frozen=True)
class Side:
    """One of the two images: `size` in bytes as the engine counts it, `files` that are regular."""

    reference: str
    digest: str
    size: int
    files: int


@dataclass(frozen=True)
class DriveResult:
    """How a drive went on the original."""

    drive: str
    port: int
    ok: bool
    status: int
    protocol: str
    error: str


@dataclass(frozen=True)
class Report:
    """The result of a build. Durations in seconds, sizes in bytes."""

    version: str
    original: Side
    minified: Side
    platform: Platform
    level: str
    engine: str
    seconds: Mapping[str, float]
    kept_by_rule: Mapping[str, int]
    bytes_by_rule: Mapping[str, int]
    level_bytes: Mapping[str, int]
    drives: tuple[DriveResult, ...]
    watchers: tuple[str, ...]
    notes: tuple[str, ...]
    failed_drives: tuple[str, ...]
    lost_events: int
    evidence_reused: bool
    verdict: Verdict
    findings: tuple[Finding, ...]
    tagged: bool
    work: str
    exit_code: int = 0
    gates: tuple[GateResult, ...] = ()
    dropped_but_used: tuple[str, ...] = ()
    evidence_digest: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times smaller the output is."""
        return self.original.size / max(self.minified.size, 1)


@dataclass(frozen=True)
class Facts:
    """What the pipeline hands over besides the stage documents."""

    version: str
    engine: str
    tag: str
    work: str
    tagged: bool
    reused: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
    level_bytes: Mapping[str, int] = field(default_factory=dict)
    gates: tuple[GateResult, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Documents:
    """The documents of the stages."""

    loaded: Loaded
    evidence: Evidence
    behaviour: Behaviour
    keep: KeepSet
    output: OutputImage
    verdict: Verdict


def make_report(documents: Documents, facts: Facts) -> Report:
    """Put the documents of all stages together; pure."""
    image, tree = documents.loaded.image, documents.loaded.tree
    keep, evidence = documents.keep, documents.evidence
    counts, weights = by_rule(tree, keep)
    return Report(
        version=facts.version,
        original=Side(image.reference, image.digest, image.size, files_in(tree, tree.entries)),
        minified=Side(
            facts.tag, documents.output.digest, documents.output.size, files_in(tree, keep.paths)
        ),
        platform=image.platform,
        level=keep.level.value,
        engine=facts.engine,
        seconds=facts.seconds,
        kept_by_rule=counts,
        bytes_by_rule=weights,
        level_bytes=facts.level_bytes,
        drives=tuple(
            DriveResult(o.drive, o.port, o.ok, o.status, o.protocol, o.error)
            for o in documents.behaviour.observations
        ),
        watchers=tuple(sorted(evidence.watchers)),
        notes=tuple(sorted(evidence.notes)),
        failed_drives=tuple(sorted(evidence.failed_drives)),
        lost_events=evidence.lost,
        evidence_reused=facts.reused,
        verdict=documents.verdict,
        findings=keep.findings,
        tagged=facts.tagged,
        work=facts.work,
        exit_code=int(exit_of(documents.verdict, evidence, facts.gates)),
        gates=facts.gates,
        dropped_but_used=dropped_but_used(evidence, keep),
        outputs=facts.outputs,
        evidence_digest="sha256:" + hashlib.sha256(dumps(evidence).encode()).hexdigest(),
    )


def exit_of(verdict: Verdict, evidence: Evidence, gates: tuple[GateResult, ...] = ()) -> Exit:
    """The exit status a build deserves."""
    if not verdict.passed and not verdict.skipped:
        return Exit.VERDICT
    if not all(gate.passed for gate in gates):
        return Exit.GATE
    return Exit.OK if evidence.complete else Exit.INCOMPLETE


def dropped_but_used(evidence: Evidence, keep: KeepSet) -> tuple[str, ...]:
    """The paths a program opened or executed and a policy dropped nevertheless, sorted."""
    used = {t.path for t in evidence.touches if t.outcome is Outcome.OK and t.access in USED}
    return tuple(sorted(used & keep.dropped.keys()))


def files_in(tree: Tree, paths: Mapping[str, object]) -> int:
    """Count the regular files among paths."""
    entries = (tree.get(p) for p in paths)
    return sum(1 for e in entries if e is not None and e.kind is Kind.FILE)


def by_rule(tree: Tree, keep: KeepSet) -> tuple[dict[str, int], dict[str, int]]:
    """Paths and bytes by the first rule that kept them."""
    counts: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    seen: set[int] = set()
    for path, reasons in keep.paths.items():
        entry = tree.get(path)
        if entry is None or (entry.inode and entry.inode in seen):
            continue
        seen.add(entry.inode)
        rule = reasons[0].rule.partition(":")[0]
        counts[rule] += 1
        weights[rule] += entry.size if entry.kind is Kind.FILE else 0
    return dict(counts.most_common()), dict(weights.most_common())
