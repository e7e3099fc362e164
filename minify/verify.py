"""Original, original again, and the copy under the same plan: A/A/B."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from minify.compare import compare, is_trouble, lost_lines, new_lines, unwritten
from minify.errors import TraceError
from minify.model import (
    Behaviour,
    Difference,
    Evidence,
    Image,
    Limits,
    Outcome,
    Plan,
    Verdict,
    Watch,
)
from minify.runs.cases import run_trial
from minify.runs.trial import Stage, Trial, unwatched
from minify.steps import step
from minify.tree import Tree

NOT_READY = Behaviour(exit_code=-1)


@dataclass(frozen=True)
class Originals:
    """Two runs of the original under one plan: the yardstick."""

    first: Behaviour
    second: Behaviour


def run_original(stage: Stage, image: Image, plan: Plan, name: str) -> Behaviour:
    """Run the original once, unwatched."""
    return run_trial(stage, image, unwatched(plan), name).behaviour


def patience_for(seconds_ready: float, limits: Limits) -> Limits:
    """Limits for a copy: it may take somewhat longer to be ready than the original took."""
    return replace(limits, ready=min(limits.ready, 10 + 5 * seconds_ready))


def verify(stage: Stage, originals: Callable[[], Originals], copy: Image, plan: Plan) -> Verdict:
    """Run the copy once and compare; a copy that does not start is a difference, not an error.

    `originals` is asked after the copy has run, so that both can run at the same time.
    """
    with step("Verifying", image=copy.handle[:19]) as progress:
        behaviour = run_copy(stage, copy, unwatched(plan)).behaviour
        verdict = judge(originals(), behaviour)
        if not verdict.passed:
            progress.note(f"{verdict.counted}, looking closer")
        return verdict


def run_copy(stage: Stage, copy: Image, plan: Plan) -> Trial:
    """Run the copy; one that cannot be observed shows it in its behaviour."""
    name = "copy-watched" if plan.watch is not Watch.NONE else "copy"
    try:
        return run_trial(stage, copy, replace(plan, image=copy.digest), name)
    except TraceError as error:
        return Trial(Evidence(copy.digest), replace(NOT_READY, log=tuple(str(error).splitlines())))


def judge(originals: Originals, copy: Behaviour) -> Verdict:
    """Compare; pure."""
    one, two = originals.first, originals.second
    found = compare(one, two, copy)
    differences = list(found.differences)
    # Services log what the moment brings (a signal more or less): only trouble is a difference.
    fresh = new_lines(one, two, copy)
    differences += [Difference("log", "new line", "", s[:200]) for s in fresh if is_trouble(s)]
    noise = [f"log: {line[:80]}" for line in (*fresh, *lost_lines(one, two, copy))]
    differences += [
        Difference("files", "not written", path, "") for path in unwritten(one, two, copy)
    ]
    compared = found.compared + len(one.log) + len(one.written)
    return Verdict(not differences, tuple(differences), (*found.noise, *noise), compared)


def missing_paths(tree: Tree, kept: Iterable[str], seen: Evidence) -> tuple[str, ...]:
    """Paths the copy looked for in vain that the original has."""
    have = set(kept)
    out: list[str] = []
    for touch in sorted(seen.touches):
        if touch.outcome is Outcome.OK:
            continue
        found = tree.resolve(touch.path)
        if found.real is not None and not {found.real, *found.crossed} <= have:
            out.append(touch.path)
    return tuple(dict.fromkeys(out))
