"""A plan's cases: each a container run of its own, all united into one trial."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce

from minify.model import Behaviour, Case, Image, Observation, Plan
from minify.runs import trial
from minify.runs.trial import Stage, Trial

OUTPUT_KEPT = 64 * 1024
AT_ONCE = 4  # containers


def run_trial(stage: Stage, image: Image, plan: Plan, name: str) -> Trial:
    """Run a plan once; with cases, once for each, and for its drives when it has any."""
    if not plan.cases:
        return trial.run_trial(stage, image, plan, name)
    plans = [replace(plan, cases=())] if plan.drives else []
    plans += [_plan_of(plan, case) for case in plan.cases]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        named = [(one, f"{name}-{number}") for number, one in enumerate(plans)]
        trials = list(pool.map(lambda n: trial.run_trial(stage, image, *n), named))
    for number, case in enumerate(plan.cases, len(plans) - len(plan.cases)):
        made = trials[number]
        trials[number] = replace(made, behaviour=_as_observation(case, made.behaviour))
    return reduce(_united, trials)


def _plan_of(plan: Plan, case: Case) -> Plan:
    limits = replace(plan.limits, observe=case.timeout)
    return replace(
        plan, cases=(), drives=(), argv=case.argv or plan.argv, stdin=case.stdin, ends=True,
        ready_log="", limits=limits,
    )  # fmt: skip


def _as_observation(case: Case, seen: Behaviour) -> Behaviour:
    """What one run showed, as the answer to its case."""
    text = "".join(f"{line}\n" for line in seen.log)
    output = text.encode("utf-8", "surrogateescape")
    error = _complaint(case, seen.exit_code, text)
    answer = Observation(
        drive=case.id,
        ok=not error,
        status=-1 if seen.exit_code is None else seen.exit_code,
        body=output[:OUTPUT_KEPT],
        body_size=len(output),
        body_sha256=hashlib.sha256(output).hexdigest(),
        error=error,
        protocol="run",
    )
    return replace(seen, observations=(answer,), ready=True, exit_code=0, exited_alone=True, log=())


def _complaint(case: Case, status: int | None, text: str) -> str:
    if status is None:
        return f"did not end within {case.timeout:g} s"
    if status != case.expect_exit:
        return f"exit status {status}"
    if case.expect and not re.search(case.expect, text, re.DOTALL):
        return "expected text is not in the output"
    return ""


def _united(one: Trial, two: Trial) -> Trial:
    first, second = one.behaviour, two.behaviour
    behaviour = replace(
        first,
        observations=first.observations + second.observations,
        written=tuple(sorted({*first.written, *second.written})),
        seconds_ready=max(first.seconds_ready, second.seconds_ready),
        seconds=first.seconds + second.seconds,
    )
    return Trial(one.evidence.merge(two.evidence), behaviour)
