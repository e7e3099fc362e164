"""Plan becomes evidence: one trial on the original, a second one for long or set-uid runs."""

from __future__ import annotations

from dataclasses import replace

from minify.engines import Loaded
from minify.errors import TraceError
from minify.model import HEALTHCHECK, Access, Evidence, Outcome, Plan, RunDrive, Watch
from minify.runs.cases import run_trial
from minify.runs.trial import Stage, Trial
from minify.runs.watch import can_watch_lightly
from minify.steps import step
from minify.tree import Tree


def observe(stage: Stage, loaded: Loaded, plan: Plan) -> Trial:
    """Run the original under watchers.

    strace with a seccomp filter sets no_new_privs, under which set-uid programs keep the caller's
    identity (execve(2)). Where such a program was executed the trial is run again with strace
    attached from the host, and both are united.
    """
    with step("Observing", image=loaded.image.reference) as progress:
        trial = _watched(stage, loaded, plan)
        progress.count("paths", len({t.path for t in trial.evidence.touches}))
        for note in sorted(trial.evidence.notes):
            progress.warn(note)
        privileged = privileged_executed(loaded.tree, trial.evidence)
        if privileged and plan.watch in (Watch.FULL, Watch.LIGHT):
            progress.note(f"{privileged[0]} changes privileges when run: observing again")
            trial = _again(stage, loaded, plan, trial, privileged)
        _check_drives(trial)
        if not trial.evidence.complete:
            progress.warn(f"{trial.evidence.lost} events were lost: the evidence is incomplete")
    return trial


def _watched(stage: Stage, loaded: Loaded, plan: Plan) -> Trial:
    """Run once under full watch; a long run once more under light watch, at nearly full speed.

    strace costs a busy service most of its speed, fanotify next to nothing. Stat calls, which only
    strace sees, belong to start-up and first requests: the short run shows those.
    """
    long = plan.limits.observe > 0 or any(isinstance(d, RunDrive) for d in plan.drives)
    if not (long or plan.watch is Watch.LIGHT) or not can_watch_lightly(stage.engine.local):
        return run_trial(stage, loaded.image, replace(plan, watch=Watch.FULL), "observe")
    drives = tuple(d for d in plan.drives if not isinstance(d, RunDrive))
    short = replace(plan, watch=Watch.FULL, drives=drives, limits=replace(plan.limits, observe=0.0))
    first = run_trial(stage, loaded.image, short, "observe")
    light = replace(plan, watch=Watch.LIGHT)
    second = run_trial(stage, loaded.image, light, "observe-light")
    return Trial(first.evidence.merge(second.evidence), second.behaviour)


def _again(
    stage: Stage, loaded: Loaded, plan: Plan, first: Trial, privileged: tuple[str, ...]
) -> Trial:
    if not stage.engine.local:
        note = f"{', '.join(privileged)} ran without the privileges it would have in production"
        notes = first.evidence.notes | {note}
        return replace(first, evidence=replace(first.evidence, notes=notes))
    again = run_trial(stage, loaded.image, replace(plan, watch=Watch.ATTACHED), "observe-attached")
    return Trial(first.evidence.merge(again.evidence), again.behaviour)


def privileged_executed(tree: Tree, evidence: Evidence) -> tuple[str, ...]:
    """Name the executed files that change privileges (set-uid, set-gid, file capabilities)."""
    executed = {
        t.path for t in evidence.touches if t.access is Access.EXEC and t.outcome is Outcome.OK
    }
    entries = (tree.resolve(path).entry for path in sorted(executed))
    return tuple(dict.fromkeys(e.path for e in entries if e is not None and e.privileged))


def _check_drives(trial: Trial) -> None:
    """A drive that fails on the original proves nothing about the output: stop.

    The image's own health check is not the user's drive: it may well fail in this surrounding.
    """
    failed = [o for o in trial.behaviour.observations if not o.ok]
    wrong = [o for o in failed if o.drive != HEALTHCHECK]
    if wrong:
        lines = "\n".join(f"  {o.drive}: {o.error or f'HTTP {o.status}'}" for o in wrong)
        raise TraceError(
            f"{len(wrong)} of {len(trial.behaviour.observations)} probes fail on the original "
            f"image:\n{lines}",
            hint="correct the probe, give the service what it misses (--env, --mount), say what to "
            "expect in the configuration, or --no-default-probes",
        )
