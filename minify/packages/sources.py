"""Which packages were built together, were asked for by name, or are part of every system.

dpkg: `Source`, `Essential` and `Priority` of deb-control(5), and what apt-mark(8) calls manual;
apk: the origin `o:` of a package, and /etc/apk/world (apk-world(5)).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Kind
from minify.packages.owners import APK, DPKG, dpkg_lists
from minify.tree import READ_MAX, Tree

AUTOMATIC = "/var/lib/apt/extended_states"  # what apt installed because something else needs it
WORLD = "/etc/apk/world"
APK_BASE = frozenset(
    f"apk:{name}"
    for name in ("alpine-base", "alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools",
                 "busybox", "libc-utils", "musl-utils")
)  # fmt: skip
ASKED_IN = (f"{DPKG}/status", WORLD)  # where it stands which packages those are, more or less
_NAME = re.compile(r"[\w.+-]+")
APT = "dpkg:apt"  # of priority "important", and in every base image


@dataclass(frozen=True)
class Sources:
    """The source of each package, named as in `owners`.

    `base` are packages every system has, `asked` others that somebody installed by their name.
    """

    source: Mapping[str, str] = field(default_factory=dict)
    base: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()

    def together(self, package: str) -> tuple[str, ...]:
        """Name the packages built from the same source, the package itself among them."""
        source = self.source.get(package)
        if source is None:
            return (package,)
        return self._built[source]

    @cached_property
    def _built(self) -> Mapping[str, tuple[str, ...]]:
        built: dict[str, list[str]] = defaultdict(list)
        for package in sorted(self.source):
            built[self.source[package]].append(package)
        return {source: tuple(packages) for source, packages in built.items()}


def sources(tree: Tree) -> Sources:
    """Read the databases of dpkg and apk; what cannot be read tells nothing."""
    found: dict[str, str] = {}
    required, important = {APT}, set[str]()
    for fields in _dpkg(tree):
        package = f"dpkg:{fields.get('Package', '')}"
        source = fields.get("Source", fields.get("Package", "")).partition(" ")[0]
        found[package] = f"dpkg:{source}"
        if fields.get("Essential") == "yes" or fields.get("Priority") == "required":
            required.add(package)
        elif fields.get("Priority") == "important":
            important.add(package)
    for database in APK:
        for record in _text(tree, database).split("\n\n"):
            told = dict(line.partition(":")[::2] for line in record.split("\n"))
            if name := told.get("P"):
                found[f"apk:{name}"] = f"apk:{told.get('o', name)}"
    base = frozenset(required | important) & frozenset(found)
    return Sources(found, base, _asked(tree, found, important) - required)


def _asked(tree: Tree, packages: Iterable[str], important: set[str]) -> frozenset[str]:
    """Packages asked for by name; of dpkg none where apt left no notes."""
    lines = _text(tree, WORLD).split()
    world = {f"apk:{found[0]}" for line in lines if (found := _NAME.match(line))} - APK_BASE
    noted = list(_paragraphs(tree, AUTOMATIC))
    automatic = {f"dpkg:{f['Package']}" for f in noted if f.get("Auto-Installed") == "1"}
    added = _added(tree, important) - automatic if noted else frozenset()
    return frozenset(packages) & (world | added)


def _added(tree: Tree, important: set[str]) -> frozenset[str]:
    """Packages of dpkg that came with a layer above the base image's.

    Where it is one layer all but those that an ordinary base has: logrotate and ps are of them, so
    they count where somebody added them for certain.
    """
    lists = ((package, tree.resolve(path).entry) for package, path in dpkg_lists(tree))
    found = {package: entry.layer for package, entry in lists if entry is not None}
    base = min(found.values(), default=0)
    several = any(layer != base for layer in found.values())
    if not several:
        return frozenset(found) - important
    return frozenset(p for p, layer in found.items() if layer != base)


def _dpkg(tree: Tree) -> Iterator[dict[str, str]]:
    """Read paragraphs of the status files; continuation lines are of no interest."""
    folder = f"{DPKG}/status.d"
    parts = [f"{folder}/{n}" for n in tree.children(folder) if not n.endswith(".md5sums")]
    for path in (f"{DPKG}/status", *parts):
        yield from _paragraphs(tree, path)


def _paragraphs(tree: Tree, path: str) -> Iterator[dict[str, str]]:
    for paragraph in _text(tree, path).split("\n\n"):
        lines = (line for line in paragraph.split("\n") if line[:1].strip())
        fields = {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if "Package" in fields:
            yield fields


def _text(tree: Tree, path: str) -> str:
    entry = tree.resolve(path).entry
    if entry is None or entry.kind is not Kind.FILE or entry.size > READ_MAX:
        return ""
    return tree.read(path).decode("utf-8", "surrogateescape")
