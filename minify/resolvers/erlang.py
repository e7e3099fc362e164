"""Erlang and Elixir: applications are loaded module by module, when a function is first called.

Whoever used one module of an application may call any other, and those of the applications that
its `.app` file lists (app(4)). The emulator itself needs boot files and small programs beside it.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Entry, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene

RULE = "erlang"
LIMIT = 1 << 20
PROGRAM_LIMIT = 1 << 20  # bytes of a helper; emulators with debugging aids are larger
EMULATOR = re.compile(r"(.*)/erts-[^/]+/bin/beam(?:\.[a-z]+)?")
MODULE = re.compile(r"(.*)/(?:ebin|priv)/.+")
LISTS = re.compile(
    rb"\{\s*(?:included_applications|applications|runtime_dependencies|optional_applications)"
    rb"\s*,\s*\[([^]]*)\]"
)
NAME = re.compile(rb"[a-z]\w*")
COMMENT = re.compile(rb"%[^\n]*")
ALWAYS = ("kernel", "stdlib")  # what every boot file starts (script(4))
USED_PARTS = ("ebin", "priv")  # what is there at run time; src and include are for building


@dataclass
class _Index:
    """Where the applications of one tree are."""

    scene: Scene
    done: set[str] = field(default_factory=set)

    @cached_property
    def applications(self) -> dict[str, list[str]]:
        """The directories of each application, by its name."""
        found: dict[str, list[str]] = defaultdict(list)
        for path, entry in self.scene.tree.entries.items():
            if path.endswith(".app") and entry.kind is Kind.FILE:
                folder, _, name = path.rpartition("/")
                if folder.endswith("/ebin"):
                    found[name.removesuffix(".app")].append(folder.removesuffix("/ebin"))
        return found


class Erlang:
    """Resolver of the Erlang run time and of applications in its code path."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need]:
        """Name what is beside a kept emulator, and the applications that a used one may call."""
        if entry.kind is not Kind.FILE:
            return
        if self._index is None or self._index.scene is not scene:
            self._index = _Index(scene)
        index, path = self._index, entry.path
        emulator = EMULATOR.fullmatch(path) if "/erts-" in path else None
        if emulator is not None:
            yield from _run_time(index, path, emulator[1])
        elif path.endswith(".app") and entry.size <= LIMIT:
            yield from _listed(index, entry)
        elif path in scene.touched and (part := MODULE.fullmatch(path)):
            yield from _application(index, part[1], path)


def make() -> Resolver:
    """Make the resolver."""
    return Erlang()


def _run_time(index: _Index, emulator: str, root: str) -> Iterator[Need]:
    """Keep boot files, the programs that the emulator starts, and what every node runs."""
    tree = index.scene.tree
    for folder in (f"{root}/bin", posixpath.dirname(emulator), f"{root}/releases"):
        reason = Reason(RULE, emulator, folder)
        if not tree.is_dir(folder):
            continue
        for found in tree.walk(folder):
            if found.kind is not Kind.FILE or found.size <= PROGRAM_LIMIT:
                yield Need(found.path, reason)
    for name in ALWAYS:
        yield from _named(index, name, emulator, f"{root}/lib")


def _application(index: _Index, folder: str, because: str) -> Iterator[Need]:
    """Keep an application as it is at run time."""
    tree = index.scene.tree
    name = posixpath.basename(folder).partition("-")[0]
    if folder in index.done or folder not in index.applications.get(name, ()):
        return
    index.done.add(folder)
    reason = Reason(RULE, because, f"application {name}")
    for part in USED_PARTS:
        if tree.is_dir(f"{folder}/{part}"):
            yield from (Need(found.path, reason) for found in tree.walk(f"{folder}/{part}"))


def _listed(index: _Index, entry: Entry) -> Iterator[Need]:
    """Keep the applications that a kept one lists; they lie beside it or in the run time."""
    folder = posixpath.dirname(posixpath.dirname(entry.path))
    yield from _application(index, folder, entry.path)
    text = COMMENT.sub(b"", index.scene.tree.read(entry.path))
    names = {n.decode() for listed in LISTS.findall(text) for n in NAME.findall(listed)}
    for name in sorted(names & index.applications.keys()):
        yield from _named(index, name, entry.path, posixpath.dirname(folder))


def _named(index: _Index, name: str, because: str, beside: str) -> Iterator[Need]:
    """Find an application: the one beside what asks for it, or wherever it is."""
    places = index.applications.get(name, [])
    near = [place for place in places if posixpath.dirname(place) == beside]
    for place in near or places:
        yield from _application(index, place, because)
