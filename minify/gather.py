"""What containers tell: evidence from one that is watched, and two originals beside it.

Containers take their time to start and to stop. What needs no result of theirs is done meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from minify.building import Building
from minify.codec import loads
from minify.compare import agree
from minify.errors import UsageError
from minify.masking import evidence_to_keep, holds
from minify.model import Behaviour, Evidence, Image
from minify.observe import observe
from minify.resolve import warm_up
from minify.runs.trial import Trial
from minify.verify import Originals, run_original


@dataclass(frozen=True)
class Gathered:
    """Evidence, how the watched run behaved (None: there was none), whether it is an older one."""

    evidence: Evidence
    behaviour: Behaviour | None = None
    reused: bool = True


def originals(it: Building) -> Future[Originals]:
    """Two runs of the original, once `it.traced` is set; or what is stored.

    The traced run is one of them where it shows nothing that an unwatched one does not: then there
    is no noise to tell from differences. Else the original runs twice unwatched.
    """
    stored = it.shelf.get("originals", Originals, key=it.key) if it.reusing else None
    image, plan, stage = it.loaded.image, it.plan, it.stage

    def both() -> Originals:
        if stored:
            return stored
        # Everybody waits for the traced run: these begin when it ends, beside what comes then.
        it.traced.wait()
        first = run_original(stage, image, plan, "original-1")
        watched = it.watched.result()
        if watched is not None and agree(first, watched):
            return Originals(first, watched)
        return Originals(first, run_original(stage, image, plan, "original-2"))

    return it.spawn(both)


def evidence(it: Building) -> Gathered:
    """Evidence from files the user names, from the last run of the same plan, or from a trial."""
    options = it.options
    with _ahead(it):
        if options.lock:
            return Gathered(Evidence(it.loaded.image.digest))
        if options.evidence:
            return Gathered(read_evidence(options.evidence, it.loaded.image))
        stored = it.shelf.get("trial", Trial, key=it.key) if it.reusing else None
        if stored and stored.evidence.complete:
            # What of the environment was not written down, the plan says again.
            known = replace(stored.evidence, env=frozenset(it.plan.env))
            return Gathered(known, stored.behaviour)
        trial = observe(it.stage, it.loaded, it.plan)
        it.watched.set_result(trial.behaviour)
        _keep(it, trial)
        return Gathered(trial.evidence, trial.behaviour, reused=False)


def _keep(it: Building, trial: Trial) -> None:
    """Store a trial for the next build, unless a secret turned up in what it showed."""
    if not holds((trial.behaviour, trial.evidence.argvs), it.secrets):
        kept = evidence_to_keep(trial.evidence, it.secrets)
        it.put("trial", replace(trial, evidence=kept), it.key)


@contextlib.contextmanager
def _ahead(it: Building) -> Iterator[None]:
    """While containers start and stop, let other runs begin, and prepare to resolve."""
    warm = it.spawn(lambda: warm_up(it.loaded, it.options.keep_level))
    plain = it.stage
    it.stage = replace(plain, driven=it.traced.set)
    try:
        yield
    finally:
        it.none_watched()
        it.stage = plain
    warm.result()


def read_evidence(files: tuple[str, ...], image: Image) -> Evidence:
    """Unite evidence files; raises UsageError for one that is of another image."""
    united = Evidence(image.digest)
    for name in files:
        try:
            one = loads(Path(name).read_text(encoding="utf-8"), Evidence)
        except OSError as error:
            raise UsageError(f"cannot read evidence {name}: {error.strerror}") from error
        if one.image != image.digest:
            raise UsageError(
                f"{name} was observed on {one.image[:19]}, not on {image.reference}",
                hint="trace this image: minify trace IMAGE --output FILE",
            )
        united = united.merge(one)
    return united
