"""The application's own Python: its whole source tree, parsed."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator

from minify.model import Entry, Finding, Kind
from minify.resolvers import Need
from minify.resolvers import python_data as data
from minify.resolvers.python_imports import (
    LIMIT,
    Import,
    Source,
    names_in_bytecode,
    parse,
    scan,
    strings,
)
from minify.resolvers.python_library import required
from minify.resolvers.python_work import BINARY_LIMIT, RULE, Work, need

SETTINGS = (".ini", ".cfg", ".conf", ".toml", ".yaml", ".yml", ".json")
SETTINGS_LIMIT = 256 * 1024
DOTTED = re.compile(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?::\w+)?")


def own(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """What a module or a script of the application needs."""
    path = entry.path
    yield from _own_tree(work, path)
    yield from work.bytecode(entry.path)
    if entry.size > LIMIT:
        yield Finding(RULE, path, f"larger than {LIMIT} bytes: not read")
        return
    text = work.scene.tree.read(path)
    source = names_in_bytecode(text) if path.endswith(".pyc") else parse(text)
    if source.trouble:
        yield Finding(RULE, path, source.trouble)
    yield from _follow(work, source, path)
    yield from required(work, text, path)


def _follow(work: Work, source: Source, path: str) -> Iterator[Need]:
    """Resolve imports of the application's own code.

    A file beside it counts where it is run as a script; where it is part of a package, such as
    project/celery.py, "import celery" means the installed one. So both count.
    """
    own = (work.world.own_root(path), work.world.package_root(path), *work.world.own_roots)
    roots = ((*own, posixpath.dirname(path)), (*work.library_roots, *work.site_roots))
    for item in source.imports:
        if work.plausible(item):
            for group in roots[:1] if item.level else roots:
                for found in work.files(item, path, group):
                    yield need(found, path, f"import {item.module}")


def _own_tree(work: Work, path: str) -> Iterator[Need | Finding]:
    """Every module of the source tree a file of the application is in."""
    root, tree = work.world.own_root(path), work.scene.tree
    if not path.endswith((".py", ".pyc")) and root in data.SHARED_DIRS:
        return
    if not work.once(f"own {root}"):
        return
    if root in data.SHARED_DIRS:
        found = work.finder.submodules(root)
        yield from (need(p, path, f"beside it in {root}") for p in sorted(found)[:100])
        return
    count = size = 0
    for entry in _source_files(work, root):
        count, size = count + 1, size + entry.size
        if count > data.OWN_FILES or size > data.OWN_BYTES:
            message = f"source tree too large to keep whole: stopped after {count} files"
            yield Finding(RULE, root, message)
            return
        yield need(entry.path, path, f"source tree {root}")
    if tree.get(f"{root}/pyproject.toml") is not None:
        yield need(f"{root}/pyproject.toml", path, f"source tree {root}")


def _source_files(work: Work, root: str) -> Iterator[Entry]:
    entries = work.scene.tree.entries
    for name in work.scene.tree.children(root):
        entry = entries[f"{root}/{name}"]
        if root in work.world.targets and work.world.place(entry.path) is not None:
            continue
        if entry.kind is Kind.DIR:
            if name not in data.FOREIGN_DIRS and f"{entry.path}/pyvenv.cfg" not in entries:
                yield from _source_files(work, entry.path)
        elif name.endswith((".py", ".pyc", ".so")) and work.finder.fits(name):
            yield entry


def settings(work: Work, entry: Entry) -> Iterator[Need]:
    """Modules that the application's settings name in full: a handler, a middleware, a worker."""
    path = entry.path
    roots = [r for r in work.world.own_roots if r not in data.SHARED_DIRS]
    if entry.size > SETTINGS_LIMIT or not any(path.startswith(f"{root}/") for root in roots):
        return
    words = set(DOTTED.findall(work.scene.tree.read(path).decode("utf-8", "replace")))
    found = frozenset(item for word in words for item in strings(word))
    yield from _follow(work, Source(found), path)


def archive(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """Follow the imports of modules inside a zip file (zipimport)."""
    if entry.size > BINARY_LIMIT * 4:
        yield Finding(RULE, entry.path, "archive too large: not read")
        return
    found: set[Import] = set()
    try:
        with work.scene.tree.open(entry.path) as stream, zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".py") and info.file_size < LIMIT:
                    found |= scan(archive.read(info)).imports
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        yield Finding(RULE, entry.path, f"not a readable zip archive: {error}")
    absolute = frozenset(item for item in found if not item.level)
    yield from _follow(work, Source(absolute), entry.path)
