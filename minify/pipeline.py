"""The table of contents: load, plan, observe, resolve, pack, verify, report."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from minify import __version__
from minify.bench import Bench
from minify.codec import dumps, loads
from minify.documents import Shelf
from minify.engines import Loaded
from minify.errors import UsageError
from minify.foreign import check_runs
from minify.gates import Packed, check_gates, judge_gates
from minify.lock import keep_from_lock, read_lock
from minify.model import (
    Behaviour,
    Evidence,
    Image,
    KeepLevel,
    KeepSet,
    Kind,
    Limits,
    OutputImage,
    Plan,
    Reason,
    Verdict,
    Watch,
)
from minify.names import SOURCE_LABEL, VERSION_LABEL
from minify.observe import observe
from minify.options import Options
from minify.outputs import Wanted, check_outputs, deliver, wanted_of
from minify.pack import pack, shared, single
from minify.plan import make_plan
from minify.policies.rules import flag_rules, load_packs
from minify.report import Documents, Facts, Report, make_report
from minify.resolve import Rules, rehearse, resolve, warm_up
from minify.runs.kit import prepare_kit
from minify.runs.trial import Stage, Trial, unwatched
from minify.tree import Tree
from minify.verify import (
    Originals,
    judge,
    missing_paths,
    patience_for,
    run_copy,
    run_original,
    verify,
)
from minify.workspace import remember_image

T = TypeVar("T")


@dataclass(frozen=True)
class Made:
    """An output image and the keep set it was packed from."""

    keep: KeepSet
    output: OutputImage
    image_id: str


@dataclass
class _Build:
    """A build under way: what it was given, and the seconds each stage took."""

    bench: Bench
    options: Options
    loaded: Loaded
    plan: Plan
    stage: Stage
    shelf: Shelf
    seconds: dict[str, float] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    extra: list[tuple[str, Reason]] = field(default_factory=list)
    patience: Limits | None = None
    under_way: threading.Event = field(default_factory=threading.Event)
    writes: list[Future[Path]] = field(default_factory=list)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def put(self, pool: ThreadPoolExecutor, name: str, noun: object, key: str = "") -> None:
        """Write a document beside the work that goes on; `_build` waits for it at its end."""
        for earlier in self.writes:  # one of the same name must not come after this one
            earlier.result()
        self.writes.append(pool.submit(self.shelf.put, name, noun, key))


def build(bench: Bench, options: Options, *, weigh_levels: bool = False) -> Report:
    """Minify an image: observe it, keep what it needs, pack, prove, and only then tag."""
    began = time.monotonic()
    check_gates(options)
    wanted = wanted_of(options)
    it = prepare(bench, options)
    if options.verify or not (options.lock or options.evidence):
        _check_runs(it)
    check_outputs(bench, wanted, it.loaded.image, force=options.force)
    with ThreadPoolExecutor(6) as pool:
        try:
            report = _build(it, pool, wanted, weigh_levels)
        except BaseException:
            # Threads wait on containers: without them they end, and the pool can be left.
            bench.engine.abort()
            raise
        finally:
            for image_id in it.saved:  # those that got a name stay
                bench.engine.remove_image(image_id)
    report = replace(report, seconds={**report.seconds, "total": time.monotonic() - began})
    it.shelf.put("report", report)
    return report


def prepare(bench: Bench, options: Options) -> _Build:
    """Load the image and plan; nothing runs yet."""
    began = time.monotonic()
    loaded = bench.engine.load(options.image, options.platform)
    plan = make_plan(loaded, options)
    shelf = Shelf(bench.home.work(loaded.image.digest))
    shelf.put("image", loaded.image)
    shelf.put("plan", plan)
    kit = None if options.lock else prepare_kit(bench.home.folder("kit"))
    stage = Stage(bench.engine, kit, bench.run.folder)
    it = _Build(bench, options, loaded, plan, stage, shelf)
    it.seconds["load"] = time.monotonic() - began
    return it


def _build(it: _Build, pool: ThreadPoolExecutor, wanted: Wanted, weigh_levels: bool) -> Report:
    originals = _originals(it, pool) if it.options.verify else None
    with it.timed("observe"), _ahead(it, pool):
        evidence, behaviour, reused = _evidence(it, pool)
    made = _make(it, pool, evidence)
    levels = _spawn(pool, lambda: _weigh(it, evidence)) if weigh_levels else None
    verdict = Verdict(False, skipped="verification was switched off (--no-verify)")
    if originals is not None:
        with it.timed("verify"):
            if behaviour is not None:
                it.patience = patience_for(behaviour.seconds_ready, it.plan.limits)
            made, verdict = _prove(it, pool, evidence, (originals, made))
            it.shelf.put("originals", originals.result(), key=_key(it))
            behaviour = behaviour or originals.result().first
    it.shelf.put("verdict", verdict)
    it.shelf.put("output", made.output)
    gates = judge_gates(Packed(it.loaded, made.keep, made.output), it.options)
    good = (verdict.passed or bool(verdict.skipped)) and all(gate.passed for gate in gates)
    with it.timed("write"):
        outputs = deliver(it.bench, wanted, made.output, made.image_id) if good else {}
        for write in it.writes:
            write.result()
    facts = Facts(
        __version__, it.bench.engine.name, wanted.title, str(it.shelf.folder), good, reused,
        it.seconds, levels.result() if levels else {}, gates, outputs,
    )  # fmt: skip
    behaviour = behaviour or Behaviour()
    documents = Documents(it.loaded, evidence, behaviour, made.keep, made.output, verdict)
    return make_report(documents, facts)


@contextlib.contextmanager
def _ahead(it: _Build, pool: ThreadPoolExecutor) -> Iterator[None]:
    """Use the time that containers take: other runs begin, and resolving is prepared."""
    ended = threading.Event()
    level = it.options.keep_level
    beside = [_spawn(pool, lambda: warm_up(it.loaded, level))]

    def rehearsed(seen: Callable[[], Evidence]) -> None:
        rules = _rules(it, level)
        beside.append(pool.submit(lambda: rehearse(it.loaded, seen(), rules, ended.is_set)))

    plain = it.stage
    it.stage = replace(plain, started=it.under_way.set, ready=rehearsed)
    try:
        yield
    finally:
        ended.set()
        it.under_way.set()
        it.stage = plain
    for done in beside:
        done.result()


def _check_runs(it: _Build) -> None:
    """Raise Unsupported for an image of an architecture that cannot be run here."""
    if it.bench.engine.local:
        check_runs(it.loaded.image.reference, it.loaded.image.platform)


def _spawn(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    """Run something beside us, with our progress listener."""
    return pool.submit(contextvars.copy_context().run, work)


def _key(it: _Build) -> str:
    return dumps(it.plan) + __version__


def _reusing(it: _Build) -> bool:
    return it.plan.repeatable and not it.options.fresh


def _originals(it: _Build, pool: ThreadPoolExecutor) -> Future[Originals]:
    stored = it.shelf.get("originals", Originals, key=_key(it)) if _reusing(it) else None
    if stored:
        return _spawn(pool, lambda: stored)
    image, plan, stage = it.loaded.image, it.plan, it.stage

    def both() -> Originals:
        # Everybody waits for the traced run: it starts alone, and these two one after the other.
        it.under_way.wait()
        first = run_original(stage, image, plan, "original-1")
        return Originals(first, run_original(stage, image, plan, "original-2"))

    return _spawn(pool, both)


def _evidence(it: _Build, pool: ThreadPoolExecutor) -> tuple[Evidence, Behaviour | None, bool]:
    """Evidence from files the user names, from the last run of the same plan, or from a trial."""
    if it.options.lock:
        return Evidence(it.loaded.image.digest), None, True
    if it.options.evidence:
        return read_evidence(it.options.evidence, it.loaded.image), None, True
    stored = it.shelf.get("trial", Trial, key=_key(it)) if _reusing(it) else None
    if stored and stored.evidence.complete:
        return stored.evidence, stored.behaviour, True
    trial = observe(it.stage, it.loaded, it.plan)
    it.put(pool, "trial", trial, _key(it))
    return trial.evidence, trial.behaviour, False


def _keep(it: _Build, evidence: Evidence, level: KeepLevel) -> KeepSet:
    if it.options.lock:
        lock = read_lock(Path(it.options.lock).read_text(), it.options.lock)
        return keep_from_lock(lock, it.loaded.tree, it.loaded.image.digest)
    return resolve(it.loaded, evidence, _rules(it, level))


def _rules(it: _Build, level: KeepLevel) -> Rules:
    options = it.options
    extra = tuple(Path(p) for p in options.policies)
    policy = load_packs(extra, options.policies_off) + flag_rules(options.keep, options.drop)
    return Rules(level, policy, tuple(it.extra))


def _make(it: _Build, pool: ThreadPoolExecutor, evidence: Evidence) -> Made:
    """Resolve, pack and hand the result to the engine, still without a name."""
    with it.timed("resolve"):
        keep = _keep(it, evidence, it.options.keep_level)
        arrange = shared if it.options.layers == "shared" else single
        keep, parts = arrange(it.loaded, keep)
        it.put(pool, "keep", keep)
    with it.timed("pack"):
        folder = it.bench.run.folder
        output = pack(it.loaded, keep, parts, folder, it.options.epoch, _labels(it))
        image_id = it.bench.engine.save(output)
        remember_image(it.bench.run, image_id)
        it.saved.append(image_id)
    return Made(keep, output, image_id)


def _labels(it: _Build) -> dict[str, str]:
    return {SOURCE_LABEL: it.loaded.image.digest, VERSION_LABEL: __version__}


def _prove(
    it: _Build, pool: ThreadPoolExecutor, evidence: Evidence, both: tuple[Future[Originals], Made]
) -> tuple[Made, Verdict]:
    """Verify, and repair what the copy looked for in vain, a bounded number of times."""
    originals, made = both
    repaired: list[str] = []
    plan = replace(it.plan, limits=it.patience or it.plan.limits)
    for _round in range(it.options.repairs + 1):
        copy = it.bench.engine.find(made.image_id)
        assert copy is not None  # it was saved a moment ago
        verdict = verify(it.stage, originals.result, copy, plan)
        if verdict.passed:
            break
        watched = run_copy(it.stage, copy, replace(plan, watch=Watch.FULL))
        missing = missing_paths(it.loaded.tree, made.keep.paths, watched.evidence)
        if not missing:
            verdict = _confirm(it, copy, originals.result(), verdict)
            break
        repaired += missing
        it.extra += [(p, Reason("repair", _cause(verdict), p)) for p in missing]
        made = _make(it, pool, evidence)
    unexplained = () if verdict.passed else tuple(str(d) for d in verdict.differences)
    return made, replace(verdict, repaired=tuple(repaired), unexplained=unexplained)


def _cause(verdict: Verdict) -> str:
    first = verdict.differences[0]
    return f"{first.subject}: {first.field}"


def _confirm(it: _Build, copy: Image, originals: Originals, verdict: Verdict) -> Verdict:
    """A difference counts when it is still there against a third original: some noise is rare."""
    third = run_original(it.stage, it.loaded.image, it.plan, "original-3")
    again = run_copy(it.stage, copy, unwatched(it.plan)).behaviour
    second = judge(Originals(originals.second, third), again)
    if second.passed:
        return second
    known = {(d.subject, d.field) for d in verdict.differences}
    stays = tuple(d for d in second.differences if (d.subject, d.field) in known)
    return replace(second, passed=not stays, differences=stays)


def _weigh(it: _Build, evidence: Evidence) -> dict[str, int]:
    """What each keep level would weigh, in bytes."""
    return {k.value: content_bytes(it.loaded.tree, _keep(it, evidence, k)) for k in KeepLevel}


def content_bytes(tree: Tree, keep: KeepSet) -> int:
    """Bytes of the regular files of a keep set; hard-linked names count once."""
    entries = [e for p in keep.paths if (e := tree.get(p)) is not None and e.kind is Kind.FILE]
    linked = {e.inode: e.size for e in entries if e.inode}
    return sum(linked.values()) + sum(e.size for e in entries if not e.inode)


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


def trace(bench: Bench, options: Options) -> Evidence:
    """Observe an image and return the evidence."""
    it = prepare(bench, replace(options, lock=""))
    _check_runs(it)
    try:
        return observe(it.stage, it.loaded, it.plan).evidence
    except BaseException:
        bench.engine.abort()
        raise


def verify_images(bench: Bench, options: Options, candidate: str) -> Verdict:
    """Compare any two images under the same plan."""
    it = prepare(bench, replace(options, lock="none"))
    _check_runs(it)
    copy = bench.engine.load(candidate, options.platform).image
    it.under_way.set()  # nothing is traced here
    with ThreadPoolExecutor(3) as pool:
        try:
            return verify(it.stage, _originals(it, pool).result, copy, it.plan)
        except BaseException:
            bench.engine.abort()
            raise
