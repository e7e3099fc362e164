"""At the widest level: the whole package of each touched file, less documentation.

Distribution packages (dpkg, apk, rpm) and language packages (wheel, npm, gem). What of them is
documentation is said by the policy's drops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.owners import Ownership, package_dir, wheel_owners
from minify.resolvers import Need, Resolver, Scene
from minify.tree import Tree

RULE = "package"


@dataclass
class _Index:
    tree: Tree
    system: Ownership
    wheels: Ownership
    done: set[str] = field(default_factory=set)


class Package:
    """Resolver of whole packages."""

    name = RULE
    level = KeepLevel.PACKAGE

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name every file of the packages that a touched file belongs to."""
        if self._index is None or self._index.tree is not scene.tree:
            self._index = _Index(scene.tree, scene.owned, wheel_owners(scene.tree))
            yield from self._index.system.findings
        if entry.kind is not Kind.FILE or entry.path not in scene.touched:
            return
        index = self._index
        for owned in (index.system, index.wheels):
            package = owned.package_of(entry.path)
            if package is not None and package not in index.done:
                index.done.add(package)
                yield from _all(entry, package, owned.files_of(package))
        found = package_dir(entry.path)
        if found is not None and found[0] not in index.done:
            index.done.add(found[0])
            below = (e.path for e in scene.tree.walk(found[1]))
            yield from _all(entry, found[0], below)


def make() -> Resolver:
    """Make the resolver."""
    return Package()


def _all(entry: Entry, package: str, paths: Iterable[str]) -> Iterator[Need]:
    for path in paths:
        yield Need(path, Reason(RULE, entry.path, package))
