"""Which packages were built together, and which are part of every system of a distribution.

dpkg: `Source`, `Essential` and `Priority` of deb-control(5); apk: the origin `o:` of a package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minify.model import Kind
from minify.packages.owners import APK, DPKG, LARGEST
from minify.tree import Tree

BASE_PRIORITIES = frozenset({"required", "important"})


@dataclass(frozen=True)
class Sources:
    """The source of each package, named as in `owners`; `base` are packages every system has."""

    source: Mapping[str, str] = field(default_factory=dict)
    base: frozenset[str] = frozenset()

    def together(self, package: str) -> tuple[str, ...]:
        """Name the packages built from the same source, the package itself among them."""
        source = self.source.get(package)
        if source is None:
            return (package,)
        return tuple(sorted(p for p, s in self.source.items() if s == source))


def sources(tree: Tree) -> Sources:
    """Read the databases of dpkg and apk; what cannot be read tells nothing."""
    found: dict[str, str] = {}
    base: set[str] = set()
    for fields in _dpkg(tree):
        package = f"dpkg:{fields.get('Package', '')}"
        source = fields.get("Source", fields.get("Package", "")).partition(" ")[0]
        found[package] = f"dpkg:{source}"
        if fields.get("Essential") == "yes" or fields.get("Priority") in BASE_PRIORITIES:
            base.add(package)
    for database in APK:
        for record in _text(tree, database).split("\n\n"):
            told = dict(line.partition(":")[::2] for line in record.split("\n"))
            if name := told.get("P"):
                found[f"apk:{name}"] = f"apk:{told.get('o', name)}"
    return Sources(found, frozenset(base))


def _dpkg(tree: Tree) -> Iterator[dict[str, str]]:
    """Read paragraphs of the status files; continuation lines are of no interest."""
    folder = f"{DPKG}/status.d"
    parts = [f"{folder}/{n}" for n in tree.children(folder) if not n.endswith(".md5sums")]
    for path in (f"{DPKG}/status", *parts):
        for paragraph in _text(tree, path).split("\n\n"):
            lines = (line for line in paragraph.split("\n") if line[:1].strip())
            fields = {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}
            if "Package" in fields:
                yield fields


def _text(tree: Tree, path: str) -> str:
    entry = tree.resolve(path).entry
    if entry is None or entry.kind is not Kind.FILE or entry.size > LARGEST:
        return ""
    return tree.read(path).decode("utf-8", "surrogateescape")
