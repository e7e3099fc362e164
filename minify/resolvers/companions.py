"""Commands that come with a service: what its source package has beside the program that ran.

`varnishadm`, `rabbitmqctl`, `pg_dump`: nothing names them and no probe runs them, but whoever
operates the service starts them inside the container. Only for programs that the image's author
named (command line, health check, own scripts and settings that were read): what those start in
their turn, as a compiler, is their own affair. What would bring much along is left out and told.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.elf.loader import World, closure
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.sources import Sources, sources
from minify.policies.places import Places, load_places, script_of_another
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.calls_text import INTERPRETERS
from minify.resolvers.shell_data import DEFAULT_PATH

RULE = "companions"
# Programs whose companions are a language's tools: its resolver knows what a program needs.
LARGEST = 1 << 16  # bytes of a script or of settings that somebody wrote
WORD = re.compile(r"[\w.+-]+")
LANGUAGES = (*(name for name, _ in INTERPRETERS), "java", "pwsh", "dotnet")


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
        check = config.healthcheck.test if config.healthcheck else ()
        words = set(WORD.findall(" ".join((*config.entrypoint, *config.cmd, *check))))
        for path in scene.touched:
            entry = scene.tree.get(path)
            if entry is not None and entry.size <= LARGEST and scene.authored(path):
                words.update(WORD.findall(scene.tree.read(path).decode("latin-1")))
        folders = scene.env.get("PATH", DEFAULT_PATH).split(":")
        named = (f"{folder}/{word}" for folder in folders for word in words)
        return frozenset(filter(None, map(scene.tree.real, named)))

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
    def folders(self) -> frozenset[str]:
        """Where commands are looked up beside the usual places."""
        told = self.scene.env.get("PATH", DEFAULT_PATH).split(":")
        return frozenset(r for f in told if f.startswith("/") and (r := self.scene.tree.real(f)))

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
        if ".so" in name or name.startswith(LANGUAGES):
            return
        if self._index is None or self._index.scene is not scene:
            self._index = _Index(scene, load_places())
        index = self._index
        package = scene.owned.package_of(entry.path)
        if package is None or entry.path not in index.told:
            return
        if package in index.sources.base or package in index.done:
            return
        packages = index.sources.together(package)
        index.done.update(packages)
        yield from _companions(index, entry, packages)


def make() -> Resolver:
    """Make the resolver."""
    return Companions()


def _companions(index: _Index, entry: Entry, packages: Iterable[str]) -> Iterator[Need | Finding]:
    """Keep the cheapest commands of some packages, up to the limits."""
    limits, left = index.places.limits, []
    size, count = 0, 0
    for cost, path in sorted(_commands(index, packages)):
        if cost > limits["companion_bytes"] or size + cost > limits["companions_bytes"]:
            left.append((path, cost))
            continue
        size, count = size + cost, count + 1
        reason = Reason(RULE, entry.path, "comes with it")
        for name in (path, *index.links.get(path, ())):
            yield Need(name, reason)
    if count:
        yield Finding(RULE, entry.path, f"kept {count} commands that come with it, {size} bytes")
    if left:
        names = ", ".join(f"{path} ({cost} bytes)" for path, cost in left[:5])
        more = ", ..." if len(left) > 5 else ""
        yield Finding(
            RULE, entry.path, f"left out {len(left)} commands that come with it: {names}{more}"
        )


def _commands(index: _Index, packages: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The commands of packages that could be run as things are, with what each would add."""
    tree = index.scene.tree
    for package in packages:
        for path in index.scene.owned.files_of(package):
            if not index.command(path):
                continue
            real = tree.resolve(path).entry
            if real is None or real.kind is not Kind.FILE or not real.executable:
                continue
            if not script_of_another(tree, real, index.scene.touched, lambda _: False):
                yield _cost(index, real), path


def _cost(index: _Index, entry: Entry) -> int:
    """Bytes of a program and of what it loads, as far as nothing that ran has them open."""
    needed = {entry.path, *closure(index.world, entry.path, secure=entry.privileged).objects}
    found = (index.scene.tree.get(path) for path in needed - index.scene.touched)
    return sum(e.size for e in found if e is not None)
