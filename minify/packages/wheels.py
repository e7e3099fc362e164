"""Folders that hold installed Python packages and are not named so: `pip install --target`.

An application's own modules may lie in such a folder too: only what a distribution's RECORD
(PEP 376) begins with counts as installed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from minify.jsontext import parse_json
from minify.model import Kind
from minify.tree import Tree

NAMED = ("site-packages", "dist-packages")
RECORD = ".dist-info/RECORD"
DIRECT_URL = ".dist-info/direct_url.json"
LIMIT = 16 * 1024 * 1024


def targets(tree: Tree) -> Mapping[str, frozenset[str]]:
    """Name the folders, and what in each of them distributions brought."""
    tops: dict[str, set[str]] = defaultdict(set)
    for path, entry in tree.entries.items():
        if path.endswith(RECORD) and entry.kind is Kind.FILE:
            base, _, name = path.removesuffix("/RECORD").rpartition("/")
            if base and base.rpartition("/")[2] not in NAMED:
                paths = _recorded(tree, path)
                if _installed(tree, base, paths):
                    tops[base] |= {name, *_tops(paths)}
    return {base: _present(tree, base, names) for base, names in tops.items()}


def own_modules(tree: Tree) -> frozenset[str]:
    """Paths of top-level modules and packages that were installed from a directory of sources.

    `pip install .` says so in direct_url.json (PEP 610): that is the application, not a library.
    """
    found: set[str] = set()
    for path, entry in tree.entries.items():
        if path.endswith(DIRECT_URL) and entry.kind is Kind.FILE and entry.size < LIMIT:
            record = path.removesuffix(DIRECT_URL) + RECORD
            if _from_sources(tree.read(path)) and tree.is_file(record):
                base = record.removesuffix(RECORD).rpartition("/")[0]
                tops = _tops(_recorded(tree, record))
                found |= {f"{base}/{top}" for top in tops if not top.endswith(".dist-info")}
    return frozenset(found)


def _recorded(tree: Tree, record: str) -> list[str]:
    """The paths in a RECORD, counted from the folder that its distribution is in."""
    text = tree.read(record, LIMIT).decode("utf-8", "replace")
    return [line.partition(",")[0] for line in text.splitlines()]


def _tops(paths: Iterable[str]) -> set[str]:
    """First parts of the paths in a RECORD: modules and packages beside it."""
    return {path.partition("/")[0] for path in paths} - {"", "..", "__pycache__"}


def _installed(tree: Tree, base: str, paths: Iterable[str]) -> bool:
    """Whether source that a RECORD names is there.

    Programs frozen by PyInstaller have a distribution's metadata and its shared objects beside
    them, the modules in an archive of their own: that folder is the application.
    """
    sources = [path for path in paths if path.endswith(".py")]
    return not sources or any(
        tree.resolve(f"{base}/{path}{end}").entry for path in sources for end in ("", "c")
    )


def _from_sources(text: bytes) -> bool:
    try:
        document = parse_json(text)
        return "dir_info" in document and str(document["url"]).startswith("file:")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _present(tree: Tree, base: str, names: set[str]) -> frozenset[str]:
    """What is there of the recorded names; bytecode may have taken a module's place."""
    return frozenset(
        name
        for name in tree.children(base)
        if name in names or (name.endswith(".pyc") and name[:-1] in names)
    )
