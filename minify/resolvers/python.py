"""Python: what the source of kept modules imports, whole packages, their metadata and bytecode.

Three kinds of module, three rules. The application's own: its whole source tree, parsed. Installed
packages: each one used or reached is kept whole, its import lines followed. The standard library:
followed by import lines, packages whole, plus what the interpreter loads by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minify.model import Entry, Finding, KeepLevel, Kind
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.python_imports import LIMIT
from minify.resolvers.python_library import INTERPRETER, interpreter, site, stdlib
from minify.resolvers.python_own import SETTINGS, archive, own, settings
from minify.resolvers.python_work import RULE, Work, need

SHEBANG = re.compile(rb"#!.*(?:python|pypy)")
ARCHIVES = (".pyz", ".pyzw", ".egg", ".whl", ".zip")


class Python:
    """Resolver of Python modules."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._work: Work | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Say what a module, a script, an interpreter or an archive of modules needs."""
        if entry.kind is not Kind.FILE:
            return ()
        if self._work is None or self._work.scene is not scene:
            self._work = Work(scene)
        if not self._work.world.stdlibs:
            return ()
        return _unsaid(self._work, _installed(self._work, entry))


def make() -> Resolver:
    """Make the resolver."""
    return Python()


def _unsaid(work: Work, items: Iterable[Need | Finding]) -> Iterator[Need | Finding]:
    """Leave out paths named before: modules import the same few modules over and over."""
    for item in items:
        if isinstance(item, Finding) or work.once(item.path):
            yield item


def _installed(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """Dispatch by where the file is."""
    folder, cached, name = entry.path.rpartition("/__pycache__/")
    place = work.world.place(entry.path)
    if cached:
        source = f"{folder}/{name.partition('.')[0]}.py"
        if work.scene.tree.get(source) is not None:
            yield need(source, entry.path, "source of the bytecode")
    elif place is None:
        yield from _elsewhere(work, entry)
    elif place.kind == "stdlib":
        yield from stdlib(work, entry, place)
        yield from _started(work)
    else:
        yield from site(work, entry, place)
        if name.endswith(ARCHIVES):
            yield from archive(work, entry)


def _started(work: Work) -> Iterator[Need | Finding]:
    """Deal with the files that were met before it was known that Python runs here."""
    work.running = True
    while work.waiting:
        yield from _run(work, work.waiting.pop())


def _elsewhere(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """Dispatch by what the file is called; a script of Python that never runs is mere data."""
    name = entry.path.rpartition("/")[2]
    if INTERPRETER.fullmatch(name):
        yield from interpreter(work, entry)
        yield from _started(work)
    elif not work.running:
        if name.endswith((".py", ".pyc", *ARCHIVES)) or entry.executable:
            work.waiting.append(entry)
    else:
        yield from _run(work, entry)


def _run(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """What a module, an archive or a script (known by its first line) needs."""
    name = entry.path.rpartition("/")[2]
    if name.endswith((".py", ".pyc")):
        yield from own(work, entry)
    elif name.endswith(ARCHIVES):
        yield from archive(work, entry)
    elif name.endswith(SETTINGS):
        yield from settings(work, entry)
    elif entry.executable and ".so" not in name and entry.size < LIMIT:
        head = work.scene.tree.read(entry.path, 128)
        if SHEBANG.match(head):
            yield from archive(work, entry) if b"PK\3\4" in head else own(work, entry)
