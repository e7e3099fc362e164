"""Prove an output image; what it looks for in vain is added, and it is tried again."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from minify.building import Building, Made
from minify.gather import Gathered
from minify.make import make
from minify.model import Behaviour, Image, Reason, Verdict, Watch
from minify.runs.trial import unwatched
from minify.verify import (
    Originals,
    judge,
    missing_paths,
    patience_for,
    run_copy,
    run_original,
    verify,
)

THIRD = "original-3"  # the scratch folder of a run that is made only where there is a difference


def prove(
    it: Building, gathered: Gathered, originals: Future[Originals], made: Made
) -> tuple[Made, Verdict]:
    """Verify, and repair what the copy looked for in vain, a bounded number of times."""
    repaired: list[str] = []
    third: Future[Behaviour] | None = None
    plan, seen = it.plan, gathered.behaviour
    if seen is not None:
        plan = replace(plan, limits=patience_for(seen.seconds_ready, plan.limits))
    for _round in range(it.options.repairs + 1):
        copy = it.bench.engine.find(made.product.image_id)
        assert copy is not None  # it was saved a moment ago
        verdict = verify(it.stage, originals.result, copy, plan)
        if verdict.passed:
            break
        # Beside the copy that is watched: most likely it will be wanted.
        third = third or it.spawn(lambda: run_original(it.stage, it.loaded.image, it.plan, THIRD))
        watched = run_copy(it.stage, copy, replace(plan, watch=Watch.FULL))
        missing = missing_paths(it.loaded.tree, made.keep.paths, watched.evidence)
        if not missing:
            verdict = _confirm(it, copy, (originals.result(), third.result()), verdict)
            break
        repaired += missing
        it.extra += [(p, Reason("repair", _cause(verdict), p)) for p in missing]
        made = make(it, gathered.evidence)
    unexplained = () if verdict.passed else tuple(str(d) for d in verdict.differences)
    return made, replace(verdict, repaired=tuple(repaired), unexplained=unexplained)


def _cause(verdict: Verdict) -> str:
    first = verdict.differences[0]
    return f"{first.subject}: {first.field}"


def _confirm(
    it: Building, copy: Image, known: tuple[Originals, Behaviour], verdict: Verdict
) -> Verdict:
    """A difference counts when it is still there against a third original: some noise is rare."""
    originals, third = known
    again = run_copy(it.stage, copy, unwatched(it.plan)).behaviour
    second = judge(Originals(originals.second, third), again)
    if second.passed:
        return second
    seen = {(d.subject, d.field) for d in verdict.differences}
    stays = tuple(d for d in second.differences if (d.subject, d.field) in seen)
    return replace(second, passed=not stays, differences=stays)
