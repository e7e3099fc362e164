"""One scene as the Python rules see it: environments, look-ups, and what was said already."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from minify.model import Entry, Kind, Reason
from minify.resolvers import Answered, Need
from minify.resolvers.python_data import NEVER_BY_STDLIB
from minify.resolvers.python_dist import Distributions
from minify.resolvers.python_env import World
from minify.resolvers.python_find import Finder
from minify.resolvers.python_imports import LIMIT, Import, Source, names_in_bytecode, scan, words

RULE = "python"
BINARY_LIMIT = 16 * 1024 * 1024


def need(path: str, because: str, detail: str) -> Need:
    """Name a path to keep, because of another."""
    return Need(path, Reason(RULE, because, detail))


@dataclass
class Work(Answered):
    """One scene's environments, and what has been said already."""

    waiting: list[Entry] = field(default_factory=list)
    running: bool = False

    def __post_init__(self) -> None:
        """A standard library that was read from means that Python runs."""
        self.running = bool(self.world.used_stdlibs)

    @cached_property
    def world(self) -> World:
        """The environments in the image."""
        return World(self.scene)

    @cached_property
    def finder(self) -> Finder:
        """Look-ups of modules."""
        return Finder(self.scene.tree, self.world.versions)

    @cached_property
    def library_roots(self) -> tuple[str, ...]:
        """Directories of the standard libraries in use."""
        return tuple(chain(*((s.path, f"{s.path}/lib-dynload") for s in self.world.active_stdlibs)))

    @cached_property
    def site_roots(self) -> tuple[str, ...]:
        """Directories of installed packages in use."""
        return tuple(s.path for s in self.world.active_sites)

    @cached_property
    def distributions(self) -> dict[str, Distributions]:
        """Installed distributions by package folder."""
        return {s.path: Distributions(self.scene.tree, s.path) for s in self.world.sites}

    def scan(self, entry: Entry) -> Source:
        """The imports of a library's module, by the kind of file it is."""
        known = self.scene.tree.facts("python:imports")
        found: Source | None = known.get(entry.path)
        if found is None:
            found = known[entry.path] = self._scan(entry)
        return found

    def _scan(self, entry: Entry) -> Source:
        path = entry.path
        ends = (".py", ".so", ".pyc")
        if not path.endswith(ends):
            return Source(frozenset())
        if ".libs/" in path:
            return Source(frozenset())  # a shared library beside the modules (auditwheel)
        if entry.size > (BINARY_LIMIT if path.endswith(".so") else LIMIT):
            return Source(frozenset(), "too large: not read")
        text = self.scene.tree.read(path)
        if path.endswith(".so"):
            return words(text)
        return names_in_bytecode(text) if path.endswith(".pyc") else scan(text)

    def files(self, item: Import, importer: str, roots: Iterable[str]) -> Iterator[str]:
        """The files one import may load."""
        if item.level:
            base = posixpath.dirname(importer)
            for _ in range(item.level - 1):
                base = posixpath.dirname(base)
            roots = (base,)
        roots = tuple(roots)
        if item.module:
            yield from self.finder.find(item.module, roots)
        prefix = f"{item.module}." if item.module else ""
        for name in item.names:
            if name == "*":
                yield from self.all_in(item.module, roots)
            else:
                yield from self.finder.find(prefix + name, roots)

    def all_in(self, module: str, roots: tuple[str, ...]) -> Iterator[str]:
        """Every module of a package: for `import *` and names computed at run time."""
        for root in roots:
            folder = self.finder.folder(f"{root}/{module.replace('.', '/')}".rstrip("/"))
            if folder and folder not in (*self.library_roots, *self.site_roots):
                yield from self.finder.submodules(folder)
                return

    def plausible(self, item: Import) -> bool:
        """Whether a mere string may count: not a word that only the standard library has."""
        if not item.text:
            return True
        head, dot, _ = item.module.partition(".")
        if head in NEVER_BY_STDLIB:
            return False
        return bool(dot) or not self.finder.find(head, self.library_roots)

    def whole(self, folder: str, because: str) -> Iterator[Need]:
        """Keep a package's folder, and folders its links lead to."""
        if not self.once(f"whole {folder}"):
            return
        for entry in self.finder.whole(folder, self.world.touched_dirs):
            yield need(entry.path, because, f"package {folder}")
            target = self.finder.folder(entry.path) if entry.kind is Kind.SYMLINK else None
            if target and not folder.startswith(target) and target.count("/") > 2:
                yield from self.whole(target, because)

    def bytecode(self, path: str) -> Iterator[Need]:
        """The cached bytecode of a source file (PEP 3147), of the versions in use.

        Asked for what was used and what is the application's; a library module that is merely
        within reach is compiled when it is first imported, which weighs half as much.
        """
        folder, _, name = path.rpartition("/")
        if not name.endswith(".py"):
            return
        cache = f"{folder}/__pycache__"
        for found in self.finder.names(cache).get(name[:-3].partition(".")[0], ()):
            if ".opt-" not in found and self.finder.fits(found):
                yield need(f"{cache}/{found}", path, "bytecode")
