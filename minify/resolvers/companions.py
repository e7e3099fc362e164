"""Commands that come with a service: what its source package has beside the program that ran.

And those of packages that somebody installed by their names (`socat` in an image of haproxy).

`varnishadm`, `rabbitmqctl`, `pg_dump`: nothing names them and no probe runs them, but whoever
operates the service starts them inside the container. Only for programs that the image's author
named (command line, health check, own scripts and settings that were read): what those start in
their turn, as a compiler, is their own affair. What would bring much along is left out and told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from minify.elf.loader import closure
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.sources import ASKED_IN
from minify.policies.places import interpreters
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.calls_text import INTERPRETERS
from minify.resolvers.companions_index import LARGEST, Batch, Index, Program, Spent
from minify.resolvers.shell_data import SHELLS, WRAPPERS
from minify.resolvers.shell_parse import first_words
from minify.resolvers.telling import left_out
from minify.tree import Tree

RULE = "companions"
HELPER = re.compile(r"/usr/(?:local/)?lib(?:exec)?/.+")  # programs that others start
PLUGIN = re.compile(r"^(?!lib).*\.so$")
LIBRARY = re.compile(r"\.so(?:\.[\w.]+)?$")
# The companions of these are a language's tools: its resolver knows what a program needs.
LANGUAGES = (*(name for name, _ in INTERPRETERS), "java", "pwsh", "dotnet")

_Answers = Generator[Need | Finding, None, Spent]


@dataclass(frozen=True)
class _Kind:
    """Why programs are kept, and the names of the limits for one and for all of them."""

    why: str
    limit: str
    total: str


COMES = _Kind("comes with it", "companion_bytes", "companions_bytes")
ASKED = _Kind("installed by name", "asked_bytes", "asked_total_bytes")


class Companions:
    """Resolver of the commands that belong to a service that ran."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the commands built from the source of a program that ran."""
        if entry.kind is not Kind.FILE or not entry.executable:
            return
        if self._index is None or self._index.scene is not scene:
            self._index = Index(scene)
        index = self._index
        yield from _woken(index, entry.path)
        if entry.path not in scene.touched:
            return
        if index.once(ASKED.why):
            yield from _asked(index)
        name = entry.path.rpartition("/")[2]
        if ".so" in name or name.startswith(LANGUAGES) or name in WRAPPERS:
            return
        package = scene.owned.package_of(entry.path)
        if package is None or entry.path not in index.told:
            return
        if package in index.sources.base or package in index.done:
            return
        packages = index.sources.together(package)
        index.done.update(packages)
        yield from _coming(
            index, entry.path, [*_programs(index, packages), *_plugins(index, package)]
        )


def make() -> Resolver:
    """Make the resolver."""
    return Companions()


def _coming(index: Index, because: str, programs: Sequence[Program]) -> Iterator[Need | Finding]:
    """Keep what comes with a service; scripts whose interpreter may yet be kept have to wait.

    Each interpreter's scripts start from what the programs have spent, whoever comes first: the
    outcome does not depend on the order in which interpreters are met.
    """
    ready = [program for program in programs if not program.waits]
    spent = yield from _kept(index, because, ready, COMES, Spent(index.running))
    for at in sorted({program.waits for program in programs} - {""}):
        scripts = tuple(sorted((p for p in programs if p.waits == at), key=lambda p: p.path))
        what = f"programs ({COMES.why}, nothing keeps {at} that runs them)"
        yield left_out(RULE, because, what, [(p.path, p.path) for p in scripts], unless=at)
        batch = Batch(because, at, scripts, spent)
        if index.inode(at) in index.seen:
            yield from _judged(index, batch)
        else:
            index.waiting[index.inode(at)].append(batch)


def _woken(index: Index, path: str) -> Iterator[Need | Finding]:
    """Deal with the scripts that waited for an interpreter, now that it is kept."""
    index.seen.add(index.inode(path))
    for batch in index.waiting.pop(index.inode(path), ()):
        yield from _judged(index, batch)


def _judged(index: Index, batch: Batch) -> _Answers:
    """Keep scripts whose interpreter is kept, with its libraries: these cost nothing."""
    there = {batch.interpreter, *closure(index.world, batch.interpreter).objects}
    spent = Spent(batch.spent.have | set(map(index.inode, there)), batch.spent.size)
    return (yield from _kept(index, batch.because, batch.scripts, COMES, spent))


def _asked(index: Index) -> Iterator[Need | Finding]:
    """Keep the commands of what was installed by name; scripts would bring much along."""
    ran = filter(index.command, index.scene.touched)  # of these, see below
    used = set(map(index.scene.owned.package_of, ran))
    programs = [p for package in sorted(index.sources.asked - used) for p in _own(index, package)]
    told = next((p for p in ASKED_IN if index.scene.tree.is_file(p)), "")
    yield from _kept(index, told, programs, ASKED, Spent(index.running))


def _own(index: Index, package: str) -> Iterator[Program]:
    """The compiled commands of a package; where one is named as the package, others go with it.

    `git-shell` is of no use to somebody who asked for a git that is too large.
    """
    leaders = frozenset(_namesakes(index, package))
    for program in _programs(index, (package,)):
        if index.command(program.path) and _compiled(index.scene.tree, program.path):
            beside = frozenset[str]() if program.path in leaders else leaders
            yield replace(program, beside=beside)


def _namesakes(index: Index, package: str) -> Iterator[str]:
    """The commands named as their package, by themselves or as an alternative."""
    tree, name = index.scene.tree, package.partition(":")[2]
    for path in filter(index.command, index.scene.owned.files_of(package)):
        real = tree.resolve(path).entry
        names = {n.rpartition("/")[2] for n in (path, *index.links.get(path, ()))}
        if name in names and real is not None and real.kind is Kind.FILE and real.executable:
            yield path


def _compiled(tree: Tree, path: str) -> bool:
    real = tree.resolve(path).entry
    return real is not None and not interpreters(tree, real)


def _kept(
    index: Index, because: str, programs: Sequence[Program], kind: _Kind, spent: Spent
) -> _Answers:
    """Keep the cheapest of some programs, up to the limits; those beside others after these."""
    limits, left = index.places.limits, []
    users = Counter(i for p in programs for i in {index.inode(n) for n in p.needed})
    have, size, kept = set(spent.have), spent.size, set[str]()
    judged = [(bool(p.beside), _share(index, p, users, spent.have), p) for p in programs]
    for _, share, program in sorted(judged, key=lambda found: (*found[:2], found[2].path)):
        path, cost = program.path, index.cost(program.needed, have)
        alone = bool(program.beside) and not program.beside & kept
        if alone or share > limits[kind.limit] or size + cost > limits[kind.total]:
            left.append((path, f"{path} ({cost} bytes)"))
            continue
        have.update(map(index.inode, program.needed))
        size += cost
        kept.add(path)
        reason = Reason(RULE, because, kind.why)
        for name in (path, *index.links.get(path, ())):
            yield Need(name, reason)
    if kept:
        told = f"kept {len(kept)} programs: {kind.why}, {size - spent.size} bytes"
        yield Finding(RULE, because, told)
    if left:
        yield left_out(RULE, because, f"programs ({kind.why})", left)
    return Spent(frozenset(have), size)


def _programs(index: Index, packages: Iterable[str]) -> Iterator[Program]:
    """The commands and helpers of packages that can be run as things are, and what they load."""
    tree = index.scene.tree
    for package in packages:
        for path in index.scene.owned.files_of(package):
            real = tree.resolve(path).entry
            if real is None or real.kind is not Kind.FILE or not real.executable:
                continue
            if not (index.command(path) or HELPER.fullmatch(path)) or LIBRARY.search(path):
                continue
            if not index.places.building.match(path):
                yield from _program(index, path, real)


def _plugins(index: Index, package: str) -> Iterator[Program]:
    """Shared objects of a service's own package that are no libraries: settings may name them."""
    tree = index.scene.tree
    for path in index.scene.owned.files_of(package):
        name = path.rpartition("/")[2]
        real = tree.get(path)
        if not PLUGIN.search(name) or real is None or real.kind is not Kind.FILE:
            continue
        yield Program(path, tuple(sorted({path, *closure(index.world, path).objects})))


def _program(index: Index, path: str, real: Entry) -> Iterator[Program]:
    """A program with what it needs to run; none where its interpreter is not in the image."""
    tree = index.scene.tree
    places = interpreters(tree, real)
    runs = next(filter(None, map(tree.real, places)), None) if places else real.path
    if runs is None:
        return
    needed = {runs, *closure(index.world, runs, secure=real.privileged).objects}
    small = index.places.limits["companion_interpreter_bytes"]
    unused = places and runs not in index.scene.touched
    waits = runs if unused and index.cost(needed, index.running) > small else ""
    needed.add(real.path)
    if runs.rpartition("/")[2] in SHELLS and real.size <= LARGEST:
        found = (index.find(name) for name in first_words(tree.read(real.path)))
        needed.update(filter(None, found))
    yield Program(path, tuple(sorted(needed)), waits)


def _share(index: Index, program: Program, users: Counter[object], have: Container[object]) -> int:
    """A program's part in what some programs add: a library that three need is shared by three."""
    new = (path for path in program.needed if index.inode(path) not in have)
    return sum(index.cost((path,), ()) // users[index.inode(path)] for path in new)
