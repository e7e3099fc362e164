"""What is known about one scene's commands: who named them, what they load, what that costs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from minify.elf.loader import World
from minify.model import Kind
from minify.packages.sources import Sources, sources
from minify.policies.places import Places, load_places
from minify.resolvers import Answered

LARGEST = 1 << 16  # bytes of a script or of settings that somebody wrote
WORD = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class Program:
    """A program: its path, and what it needs to run, itself among it.

    `waits` is an interpreter too large to come for its sake; of `beside` one has to be kept.
    """

    path: str
    needed: tuple[str, ...]
    waits: str = ""
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Spent:
    """The files that cost nothing (again), and the bytes that were spent."""

    have: frozenset[object]
    size: int = 0


@dataclass(frozen=True)
class Batch:
    """Scripts of a service that wait for their interpreter, and what its programs have spent."""

    because: str
    interpreter: str
    scripts: tuple[Program, ...]
    spent: Spent


@dataclass
class Index(Answered):
    """What is known about one scene; `done` names sources dealt with.

    `seen` are the executables that are kept as far as is known, `waiting` the scripts by the
    interpreter they wait for.
    """

    places: Places = field(default_factory=load_places)
    seen: set[object] = field(default_factory=set)
    waiting: dict[object, list[Batch]] = field(default_factory=lambda: defaultdict(list))

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
        return frozenset(map(self.inode, self.scene.touched))

    def find(self, name: str) -> str | None:
        """Find a command that is named without a path."""
        tried = (self.scene.tree.real(f"{f}/{name}") for f in self.folders if "/" not in name)
        return next(filter(None, tried), None)

    def command(self, path: str) -> bool:
        """Whether a path is where everybody's commands are."""
        return self.places.commands.match(path) or path.rpartition("/")[0] in self.folders

    def inode(self, path: str) -> object:
        """What tells a file from others: names of the same file (hard links) cost nothing."""
        entry = self.scene.tree.get(path)
        return entry.inode if entry is not None and entry.inode else path

    def cost(self, needed: Iterable[str], have: Container[object]) -> int:
        """Bytes of a program and of what it loads, as far as they are not there already."""
        found = (self.scene.tree.get(path) for path in needed if self.inode(path) not in have)
        return sum(e.size for e in found if e is not None)
