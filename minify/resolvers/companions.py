"""Commands that come with a service: what its source package has beside the program that ran.

And those of packages that somebody installed by their names (`socat` in an image of haproxy).

`varnishadm`, `rabbitmqctl`, `pg_dump`: nothing names them and no probe runs them, but whoever
operates the service starts them inside the container. Only for programs that the image's author
named (command line, health check, own scripts and settings that were read): what those start in
their turn, as a compiler, is their own affair. What would bring much along is left out and told.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.elf.loader import World, closure
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.sources import ASKED_IN, Sources, sources
from minify.policies.places import Places, interpreters, load_places
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.calls_text import INTERPRETERS
from minify.resolvers.shell_data import SHELLS, WRAPPERS
from minify.resolvers.shell_parse import first_words
from minify.resolvers.telling import some
from minify.tree import Tree

RULE = "companions"
LARGEST = 1 << 16  # bytes of a script or of settings that somebody wrote
HELPER = re.compile(r"/usr/(?:local/)?lib(?:exec)?/.+")  # programs that others start
PLUGIN = re.compile(r"^(?!lib).*\.so$")
LIBRARY = re.compile(r"\.so(?:\.[\w.]+)?$")
WORD = re.compile(r"[\w.+-]+")
# The companions of these are a language's tools: its resolver knows what a program needs.
LANGUAGES = (*(name for name, _ in INTERPRETERS), "java", "pwsh", "dotnet")

_Program = tuple[str, tuple[str, ...]]  # its path, and what it needs to run


@dataclass(frozen=True)
class _Kind:
    """Why programs are kept, and the names of the limits for one and for all of them."""

    why: str
    limit: str
    total: str


COMES = _Kind("comes with it", "companion_bytes", "companions_bytes")
ASKED = _Kind("installed by name", "asked_bytes", "asked_total_bytes")


@dataclass
class _Index:
    """What is known about one scene; `done` names sources dealt with."""

    scene: Scene
    places: Places
    done: set[str] = field(default_factory=set)

    @cached_property
    def sources(self) -> Sources:
        """Which packages belong together."""
        return sources(self.scene.tree)

    @cached_property
    def told(self) -> frozenset[str]:
        """The programs that the image's author names, in command lines and files that were read."""
        scene, config = self.scene, self.scene.config
        command_lines = (*config.entrypoint, *config.cmd, *config.health_command)
        words = set(WORD.findall(" ".join(command_lines)))
        for path in scene.touched:
            entry = scene.tree.get(path)
            if entry is None or entry.size > LARGEST or self.places.vendored.match(path):
                continue
            text = scene.tree.read(path) if scene.authored(path) else b""
            if b"\0" not in text[:4096]:  # bytecode has words too, but nobody wrote them
                words.update(WORD.findall(text.decode("latin-1")))
        named = (f"{at}/{name}" for at in self.folders for name in words & self._names(at))
        return frozenset(filter(None, map(scene.tree.real, named)))

    def _names(self, folder: str) -> frozenset[str]:
        return frozenset(self.scene.tree.children(folder))

    @cached_property
    def world(self) -> World:
        """The tree as the loader sees it."""
        env = self.scene.env
        return World(self.scene.tree, env.get("LD_LIBRARY_PATH", ""), cwd=self.scene.config.workdir)

    @cached_property
    def links(self) -> dict[str, list[str]]:
        """Links among the commands that no package owns (alternatives), by where they lead."""
        found: dict[str, list[str]] = defaultdict(list)
        for path, entry in self.scene.tree.entries.items():
            if entry.kind is Kind.SYMLINK and self.command(path) and self.scene.authored(path):
                real = self.scene.tree.real(path)
                if real is not None:
                    found[real].append(path)
        return found

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Where commands are looked up beside the usual places, in that order."""
        real = (self.scene.tree.real(folder or "/") for folder in self.scene.path_folders)
        return tuple(dict.fromkeys(filter(None, real)))

    @cached_property
    def running(self) -> frozenset[object]:
        """The files that are used anyway."""
        return frozenset(_inode(self, path) for path in self.scene.touched)

    def find(self, name: str) -> str | None:
        """Find a command that is named without a path."""
        tried = (self.scene.tree.real(f"{f}/{name}") for f in self.folders if "/" not in name)
        return next(filter(None, tried), None)

    def command(self, path: str) -> bool:
        """Whether a path is where everybody's commands are."""
        return self.places.commands.match(path) or path.rpartition("/")[0] in self.folders


class Companions:
    """Resolver of the commands that belong to a service that ran."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the commands built from the source of a program that ran."""
        name = entry.path.rpartition("/")[2]
        if entry.kind is not Kind.FILE or not entry.executable or entry.path not in scene.touched:
            return
        if self._index is None or self._index.scene is not scene:
            self._index = _Index(scene, load_places())
            yield from _asked(self._index)
        index = self._index
        if ".so" in name or name.startswith(LANGUAGES) or name in WRAPPERS:
            return
        package = scene.owned.package_of(entry.path)
        if package is None or entry.path not in index.told:
            return
        if package in index.sources.base or package in index.done:
            return
        packages = index.sources.together(package)
        index.done.update(packages)
        programs = [*_programs(index, packages), *_plugins(index, package)]
        yield from _kept(index, entry.path, programs, COMES)


def make() -> Resolver:
    """Make the resolver."""
    return Companions()


def _asked(index: _Index) -> Iterator[Need | Finding]:
    """Keep the commands of what was installed by name; scripts would bring much along."""
    ran = filter(index.command, index.scene.touched)  # of these, see below
    used = set(map(index.scene.owned.package_of, ran))
    programs = _programs(index, sorted(index.sources.asked - used))
    compiled = [(p, n) for p, n in programs if index.command(p) and _compiled(index.scene.tree, p)]
    told = next((p for p in ASKED_IN if index.scene.tree.is_file(p)), "")
    yield from _kept(index, told, compiled, ASKED)


def _compiled(tree: Tree, path: str) -> bool:
    real = tree.resolve(path).entry
    return real is not None and not interpreters(tree, real)


def _kept(
    index: _Index, because: str, programs: Iterable[_Program], kind: _Kind
) -> Iterator[Need | Finding]:
    """Keep the cheapest of some programs, up to the limits."""
    limits, left = index.places.limits, []
    programs, have = list(programs), set(index.running)
    users = Counter(one for _, needed in programs for one in {_inode(index, n) for n in needed})
    size, count = 0, 0
    for share, path, needed in sorted((_share(index, n, users), path, n) for path, n in programs):
        cost = _cost(index, needed, have)
        if share > limits[kind.limit] or size + cost > limits[kind.total]:
            left.append((path, cost))
            continue
        have.update(_inode(index, one) for one in needed)
        size, count = size + cost, count + 1
        reason = Reason(RULE, because, kind.why)
        for name in (path, *index.links.get(path, ())):
            yield Need(name, reason)
    if count:
        yield Finding(RULE, because, f"kept {count} programs: {kind.why}, {size} bytes")
    if left:
        names = some([f"{path} ({cost} bytes)" for path, cost in left])
        text = f"left out {len(left)} programs ({kind.why}): {names}"
        yield Finding(RULE, because, text)


def _programs(index: _Index, packages: Iterable[str]) -> Iterator[_Program]:
    """The commands and helpers of packages that can be run as things are, and what they load."""
    tree = index.scene.tree
    for package in packages:
        for path in index.scene.owned.files_of(package):
            real = tree.resolve(path).entry
            if real is None or real.kind is not Kind.FILE or not real.executable:
                continue
            if not (index.command(path) or HELPER.fullmatch(path)) or LIBRARY.search(path):
                continue
            if index.places.building.match(path):
                continue
            needed = _needed(index, real)
            if needed:
                yield path, needed


def _plugins(index: _Index, package: str) -> Iterator[_Program]:
    """Shared objects of a service's own package that are no libraries: settings may name them."""
    tree = index.scene.tree
    for path in index.scene.owned.files_of(package):
        name = path.rpartition("/")[2]
        real = tree.get(path)
        if not PLUGIN.search(name) or real is None or real.kind is not Kind.FILE:
            continue
        yield path, tuple(sorted({path, *closure(index.world, path).objects}))


def _needed(index: _Index, real: Entry) -> tuple[str, ...]:
    """What a program needs to run, itself among it; empty where a language would come along."""
    tree = index.scene.tree
    places = interpreters(tree, real)
    program = next(filter(None, map(tree.real, places)), None) if places else real.path
    if program is None:
        return ()
    needed = {program, *closure(index.world, program, secure=real.privileged).objects}
    small = index.places.limits["companion_interpreter_bytes"]
    if (
        places
        and program not in index.scene.touched
        and _cost(index, needed, index.running) > small
    ):
        return ()
    needed.add(real.path)
    if program.rpartition("/")[2] in SHELLS and real.size <= LARGEST:
        found = (index.find(name) for name in first_words(tree.read(real.path)))
        needed.update(filter(None, found))
    return tuple(sorted(needed))


def _inode(index: _Index, path: str) -> object:
    """What tells a file from others: names of the same file (hard links) cost nothing."""
    entry = index.scene.tree.get(path)
    return entry.inode if entry is not None and entry.inode else path


def _share(index: _Index, needed: Iterable[str], users: Counter[object]) -> int:
    """A program's part in what some programs add: a library that three need is shared by three."""
    new = (path for path in needed if _inode(index, path) not in index.running)
    return sum(_cost(index, (path,), ()) // users[_inode(index, path)] for path in new)


def _cost(index: _Index, needed: Iterable[str], have: Container[object]) -> int:
    """Bytes of a program and of what it loads, as far as they are not there already."""
    found = (index.scene.tree.get(path) for path in needed if _inode(index, path) not in have)
    return sum(e.size for e in found if e is not None)
