"""The table of contents: load, plan, observe, resolve, pack, verify, report."""

from __future__ import annotations

import time
from dataclasses import replace

from minify import __version__
from minify.bench import Bench
from minify.building import Building, Made, prepare
from minify.gates import Packed, check_gates, judge_gates
from minify.gather import Gathered, evidence, originals
from minify.make import make, other_levels, policy_of, weigh
from minify.masking import evidence_to_keep, holds, masked
from minify.model import Behaviour, Evidence, Verdict
from minify.observe import observe
from minify.options import Options
from minify.outputs import Wanted, check_outputs, deliver, wanted_of
from minify.prove import prove
from minify.report import Documents, Facts, Report, make_report
from minify.verify import verify


def build(bench: Bench, options: Options, *, weigh_levels: bool = False) -> Report:
    """Minify an image: observe it, keep what it needs, pack, prove, and only then tag."""
    began = time.monotonic()
    check_gates(options)
    if options.policies or options.policies_off:
        policy_of(options)  # what is wrong with them is told before anything runs
    wanted = wanted_of(options)
    it = replace(prepare(bench, options), compressed=wanted.compressed)
    if options.verify or not (options.lock or options.evidence):
        it.check_runs()
    check_outputs(bench, wanted, it.loaded.image, force=options.force)
    with it.guarded():
        report = masked(_build(it, wanted, weigh_levels), it.secrets)
    report = replace(report, seconds={**report.seconds, "total": time.monotonic() - began})
    it.shelf.put("report", report)
    return report


def trace(bench: Bench, options: Options) -> Evidence:
    """Observe an image and return the evidence."""
    it = prepare(bench, replace(options, lock=""))
    it.check_runs()
    with it.guarded():
        evidence = observe(it.stage, it.loaded, it.plan).evidence
    return evidence_to_keep(evidence, it.secrets)


def verify_images(bench: Bench, options: Options, candidate: str) -> Verdict:
    """Compare any two images under the same plan."""
    it = prepare(bench, replace(options, lock="none"))
    it.check_runs()
    copy = bench.engine.load(candidate, options.platform).image
    it.none_watched()
    with it.guarded():
        return masked(verify(it.stage, originals(it).result, copy, it.plan), it.secrets)


def _build(it: Building, wanted: Wanted, weigh_levels: bool) -> Report:
    twice = originals(it) if it.options.verify else None
    with it.timed("observe"):
        gathered = evidence(it)
    made = make(it, gathered.evidence)
    others = it.spawn(lambda: other_levels(it, gathered.evidence)) if weigh_levels else None
    verdict = Verdict(False, skipped="verification was switched off (--no-verify)")
    if twice is not None:
        with it.timed("verify"):
            made, verdict = prove(it, gathered, twice, made)
        if not holds(twice.result(), it.secrets):
            it.put("originals", twice.result(), it.key)
        gathered = replace(gathered, behaviour=gathered.behaviour or twice.result().first)
    weights = {}
    if others is not None:
        with it.timed("levels"):
            weights = weigh(it, (made.keep, *others.result()))
    return _report(it, wanted, (gathered, made, verdict), weights)


def _report(
    it: Building, wanted: Wanted, found: tuple[Gathered, Made, Verdict], weights: dict[str, int]
) -> Report:
    """Judge the gates, write the outputs where all is well, and say what was found."""
    gathered, made, verdict = found
    it.put("verdict", masked(verdict, it.secrets))
    it.put("output", made.output)
    gates = judge_gates(Packed(it.loaded, made.keep, made.output), it.options)
    good = (verdict.passed or bool(verdict.skipped)) and all(gate.passed for gate in gates)
    with it.timed("write"):
        outputs = deliver(it.bench, wanted, made.product) if good else {}
        it.written()
    facts = Facts(
        __version__, it.bench.engine.name, wanted.title, str(it.shelf.folder), good,
        gathered.reused, it.seconds, weights, gates, outputs,
    )  # fmt: skip
    behaviour = gathered.behaviour or Behaviour()
    documents = Documents(it.loaded, gathered.evidence, behaviour, made.keep, made.output, verdict)
    return make_report(documents, facts)
