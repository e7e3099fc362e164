"""Evidence becomes a keep set: a fixpoint over resolvers and policy, every path with reasons."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field

from minify.engines import Loaded
from minify.masking import is_withheld
from minify.model import (
    Access,
    Entry,
    Evidence,
    Finding,
    KeepLevel,
    KeepSet,
    Kind,
    Outcome,
    Reason,
    Touch,
)
from minify.policies.places import load_places
from minify.policies.rules import Rule, apply
from minify.resolvers import Need, Resolver, Scene, all_resolvers
from minify.resolvers.telling import LeftOut
from minify.steps import step
from minify.tree import Tree

REASONS_KEPT = 8  # more reasons than that for one path tell nobody anything
USED = (Access.OPEN, Access.EXEC)


@dataclass
class _Work:
    """The state of one resolution: what is kept so far, and what still has to be asked about."""

    tree: Tree
    kept: dict[str, list[Reason]] = field(default_factory=dict)
    queue: deque[Entry] = field(default_factory=deque)
    findings: set[Finding] = field(default_factory=set)

    def keep(self, path: str, reason: Reason) -> None:
        """Keep what a path leads to, every symlink crossed, and the directories above."""
        resolved = self.tree.resolve(path)
        for link in resolved.crossed:
            self._add(link, reason)
        if resolved.real is not None and resolved.entry is not None:
            self._add(resolved.real, reason)

    def keep_itself(self, path: str, reason: Reason) -> None:
        """Keep a path as it stands: a symlink stays a symlink, and leads where it leads."""
        parent, _, name = path.rpartition("/")
        resolved = self.tree.resolve(parent or "/")
        if resolved.real is not None:
            self._add(f"{resolved.real.rstrip('/')}/{name}", reason)
        self.keep(path, reason)

    def _add(self, path: str, reason: Reason) -> None:
        entry = self.tree.get(path)
        if entry is None:
            return
        reasons = self.kept.get(path)
        if reasons is not None:
            if len(reasons) < REASONS_KEPT and reason not in reasons:
                reasons.append(reason)
            return
        self.kept[path] = [reason]
        self.queue.append(entry)
        parent = path.rpartition("/")[0] or "/"
        if path != "/" and parent not in self.kept:
            self._add(parent, Reason("parent", path))


@dataclass(frozen=True)
class Rules:
    """What decides beside the evidence: the level, policy rows, and extra paths with reasons."""

    level: KeepLevel
    policy: tuple[Rule, ...]
    extra: tuple[tuple[str, Reason], ...] = ()


def resolve(loaded: Loaded, evidence: Evidence, rules: Rules) -> KeepSet:
    """Keep what was used, and what that needs, until nothing new is needed."""
    with step("Resolving", level=rules.level.value) as progress:
        work = _Work(loaded.tree)
        scene = make_scene(loaded, evidence, rules.level)
        for touch in sorted(evidence.touches):
            _keep_touch(work, touch)
        for path, reason in rules.extra:
            work.keep_itself(path, reason)
        resolvers = all_resolvers(rules.level)
        dropped = _fixpoint(work, scene, resolvers, rules)
        paths = {p: tuple(r) for p, r in work.kept.items() if p not in dropped}
        progress.count("paths", len(paths))
        findings = tuple(sorted(_in_the_end(work.findings, paths)))
        return KeepSet(loaded.image.digest, rules.level, paths, dropped, findings)


def warm_up(loaded: Loaded, level: KeepLevel) -> None:
    """Do what a resolution needs whatever the evidence is, while that is still being gathered."""
    all_resolvers(level)
    load_places()
    loaded.tree.children("/")


def _fixpoint(
    work: _Work, scene: Scene, resolvers: tuple[Resolver, ...], rules: Rules
) -> dict[str, Reason]:
    while True:
        _drain(work, lambda entry: (n for r in resolvers for n in r.needs(scene, entry)))
        outcome = apply(rules.policy, scene, work.kept)
        for path, reason in outcome.keeps:
            work.keep_itself(path, reason)
        if not work.queue:
            work.findings.update(outcome.findings)
            return dict(outcome.drops)


def _drain(work: _Work, needs: Callable[[Entry], Iterable[Need | Finding]]) -> None:
    while work.queue:
        entry = work.queue.popleft()
        for need in needs(entry):
            if isinstance(need, Finding):
                work.findings.add(need)
            else:
                work.keep_itself(need.path, need.reason)


def _in_the_end(findings: Iterable[Finding], kept: Container[str]) -> Iterator[Finding]:
    """What one resolver left out another may have kept: only now is it known."""
    for finding in findings:
        told = finding.when(kept) if isinstance(finding, LeftOut) else finding
        if told is not None:
            yield told


def _keep_touch(work: _Work, touch: Touch) -> None:
    """Keep what a touch found; a directory that was written into is kept as a place to write."""
    reason = Reason(f"touch:{touch.access}", touch.watcher, touch.path)
    if touch.outcome is Outcome.ABSENT and touch.access is not Access.WRITE:
        # Absence needs nothing but the links on the way: a dangling one stays as it is.
        for link in work.tree.resolve(touch.path).crossed:
            work.keep_itself(link, reason)
        return
    if touch.access is Access.LINK:
        work.keep_itself(touch.path, reason)
    else:
        work.keep(touch.path, reason)
    if touch.access is Access.WRITE:
        _keep_place(work, touch.path, reason)


def _keep_place(work: _Work, path: str, reason: Reason) -> None:
    """Keep the nearest directory above a path that exists in the image."""
    # From the top: what a program nested below it may be thousands of folders deep.
    place, at = "/", path.find("/", 1)
    while at > 0 and work.tree.resolve(path[:at]).entry is not None:
        place, at = path[:at], path.find("/", at + 1)
    if path != "/" and work.tree.resolve(place).entry is not None:
        work.keep(place, reason)


def make_scene(loaded: Loaded, evidence: Evidence, level: KeepLevel) -> Scene:
    """Gather what resolvers may look at."""
    tree = loaded.tree
    touched: set[str] = set()
    listed: set[str] = set()
    for touch in evidence.touches:
        if touch.outcome is not Outcome.OK:
            continue
        entry = tree.resolve(touch.path).entry
        if entry is None:
            continue
        if touch.access in USED and entry.kind is Kind.FILE:
            touched.add(entry.path)
        elif touch.access is Access.LIST and entry.kind is Kind.DIR:
            listed.add(entry.path)
    environment = dict(loaded.image.config.environment)
    environment.update(e.partition("=")[::2] for e in sorted(evidence.env) if not is_withheld(e))
    return Scene(
        tree=tree,
        config=loaded.image.config,
        env=environment,
        argvs=evidence.argvs,
        touched=frozenset(touched),
        listed=frozenset(listed),
        level=level,
    )
