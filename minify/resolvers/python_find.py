"""Find modules in directories of the image, as importlib's path finder does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minify.model import Entry, Kind
from minify.resolvers.python_data import SKIPPED_DIRS, SKIPPED_ENDS
from minify.tree import Tree

TAG = re.compile(r"\.(?:cpython-|pypy)(\d)(\d+)")
ENDS = (".py", ".pyc", ".so", ".pyd")
STUB, STUB_LIMIT = b"attach_stub", 64 * 1024


@dataclass(frozen=True)
class Finder:
    """Looks modules up in a tree; remembers how directories look."""

    tree: Tree
    versions: frozenset[str]
    _found: dict[tuple[str, tuple[str, ...]], list[str]] = field(default_factory=dict, repr=False)
    _heads: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict, repr=False)
    _seen: dict[str, dict[str, list[str]]] = field(default_factory=dict, repr=False)

    def names(self, directory: str) -> dict[str, list[str]]:
        """The modules and folders of a directory: stem (up to the first dot) to file names."""
        if directory not in self._seen:
            found: dict[str, list[str]] = defaultdict(list)
            for name in self.tree.children(directory):
                if name.endswith(ENDS) or "." not in name:
                    found[name.partition(".")[0]].append(name)
            self._seen[directory] = dict(found)
        return self._seen[directory]

    def is_package(self, directory: str) -> bool:
        """Whether a directory has an `__init__` in any form."""
        return "__init__" in self.names(directory)

    def find(self, module: str, roots: Iterable[str]) -> list[str]:
        """Files of a dotted module and of the packages it is in, from the first root that has it.

        Parts that name no module (attributes) end the search: what was found so far counts.
        """
        key = (module, tuple(roots))
        if module.partition(".")[0] not in self.heads(key[1]):
            return []
        if key not in self._found:
            self._found[key] = self._search(*key)
        return self._found[key]

    def heads(self, roots: tuple[str, ...]) -> frozenset[str]:
        """Every top-level name in some directories: most names looked up are none of them."""
        if roots not in self._heads:
            self._heads[roots] = frozenset(name for root in roots for name in self.names(root))
        return self._heads[roots]

    def _search(self, module: str, roots: tuple[str, ...]) -> list[str]:
        parts = module.split(".")
        for root in roots:
            if parts[0] in self.names(root):
                files, inside = self._below(parts, root)
                if files or inside:
                    return files
        return []

    def _below(self, parts: list[str], root: str) -> tuple[list[str], bool]:
        """Files found, and whether the whole name is a folder without code (PEP 420)."""
        files: list[str] = []
        at: str | None = root
        for part in parts:
            if at is None:
                break
            here = self.module(at, part)
            folder = self.folder(f"{at}/{part}") if part in self.names(at) else None
            if not here and folder is None:
                return files, False
            files += here
            at = folder
        return files, not files and at is not None

    def module(self, directory: str, name: str) -> list[str]:
        """The files of one module in one directory: a package's `__init__`, or its own."""
        names = self.names(directory).get(name, ())
        folder = self.folder(f"{directory}/{name}") if name in names else None
        if folder and (inits := self.names(folder).get("__init__")):
            return [f"{folder}/{n}" for n in inits if self.fits(n)]
        return [f"{directory}/{n}" for n in names if n != name and self.fits(n)]

    def folder(self, path: str) -> str | None:
        """The real directory a path leads to."""
        entry = self.tree.get(path)
        if entry is None or entry.kind is not Kind.DIR:
            entry = self.tree.resolve(path).entry
        return entry.path if entry is not None and entry.kind is Kind.DIR else None

    def fits(self, name: str) -> bool:
        """Whether a file name's version tag (PEP 3147, 3149) is one in use, or absent."""
        match = TAG.search(name)
        if not match or not self.versions or name.find(".pypy") > 0:
            return True
        return f"{match[1]}.{match[2]}" in self.versions

    def submodules(self, directory: str) -> Iterator[str]:
        """The files of every module directly in a directory."""
        for name in self.names(directory):
            yield from self.module(directory, name)

    def whole(self, directory: str, used: frozenset[str]) -> Iterator[Entry]:
        """A package's files, less tests, documents and what only compilers read.

        Folders with files in use (`used`) are not left out. Bytecode is asked for by itself.
        """
        for name in self.tree.children(directory):
            entry = self.tree.entries[f"{directory.rstrip('/')}/{name}"]
            if entry.kind is Kind.DIR:
                spare = self._is_spare(entry.path, name) and entry.path not in used
                if name != "__pycache__" and not spare:
                    yield entry
                    yield from self.whole(entry.path, used)
            elif not name.endswith(SKIPPED_ENDS) or self._is_read(entry.path):
                yield entry

    def _is_spare(self, path: str, name: str) -> bool:
        if name not in SKIPPED_DIRS:
            return False
        return name not in ("docs", "doc", "examples") or not self.is_package(path)

    def _is_read(self, path: str) -> bool:
        """Whether a file that is left out elsewhere is read here while the program runs.

        A .pyc that stands in for a source that is not there; a stub by which a package loads its
        parts lazily (lazy_loader's attach_stub).
        """
        if path.endswith(".pyi"):
            source = path[:-1]
            return self.tree.is_file(source) and STUB in self.tree.read(source, STUB_LIMIT)
        return path.endswith(".pyc") and self.tree.get(path[:-1]) is None
