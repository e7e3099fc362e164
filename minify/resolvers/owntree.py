"""The application's own tree: files no package brought, in the place where others of it are used.

Also what somebody put into shared directories by hand (a COPY of one file), and settings: files in
/etc that belong to a package in use, or lie beside settings in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.owners import Ownership, above, wheel_owners
from minify.policies.places import (
    Places,
    Weight,
    is_foreign,
    load_places,
    runtime_homes,
    system_place,
    weigh,
)
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.telling import some
from minify.tree import Tree, normalise

RULE = "owntree"
SETTINGS, STRAYS = f"{RULE}:settings", f"{RULE}:stray"


@dataclass
class _Index:
    """What is known about one tree; `done` names directories and packages dealt with."""

    tree: Tree
    places: Places
    owned: Ownership
    wheels: Ownership
    shared: frozenset[str]
    homes: frozenset[str]
    done: set[str] = field(default_factory=set)

    def foreign(self, path: str) -> bool:
        """Whether a path belongs to a language's packages or run time, or is a leftover."""
        return is_foreign(self.places, self.homes, path)

    def own(self, directory: str) -> bool:
        """Whether all below a directory is unowned and it is nobody's in particular."""
        if directory in self.shared or self.places.generic.match(directory):
            return False
        return self.owned.known or not system_place(directory)

    def root_of(self, directory: str) -> str | None:
        """Find the highest directory of the own tree that a directory is in."""
        if self.foreign(directory):
            return None
        root, at = None, directory
        while at and self.own(at):
            root, at = at, at.rpartition("/")[0]
        return root

    def base_of(self, folder: str, entry: Entry, scene: Scene) -> str | None:
        """Take a directory made to hold applications as one where a file right in it is used."""
        used = entry.path in scene.touched and not self.places.generated.match(entry.path)
        return folder if used and self.is_base(folder) else None

    def is_base(self, directory: str) -> bool:
        """Whether a directory was made to hold applications, and no package has files in it."""
        free = directory not in self.shared and not self.foreign(directory)
        return free and self.places.bases.match(directory)

    def by_hand(self, entry: Entry) -> bool:
        """Whether a layer without package changes, above the distribution's, brought an entry."""
        layers = self.owned.layers
        return bool(layers) and entry.layer > min(layers) and entry.layer not in layers

    def once(self, name: str) -> bool:
        """Whether this is the first time that something is asked for."""
        if name in self.done:
            return False
        self.done.add(name)
        return True


class OwnTree:
    """Resolver of the application's own files and settings."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the rest of the own tree, and the settings, that a kept file is part of."""
        if self._index is None or self._index.tree is not scene.tree:
            self._index = _look(scene)
            yield from self._index.owned.findings
            yield from _strays(self._index)
            yield from _workdir(self._index, scene)
            yield from _stocked(self._index, scene)
        index = self._index
        if entry.kind is not Kind.FILE:
            return
        folder = entry.path.rpartition("/")[0] or "/"
        root = index.root_of(folder) or index.base_of(folder, entry, scene)
        if root is not None and index.once(root):
            yield from _keep_tree(index, scene, root, entry.path)
        if entry.path in scene.touched:
            yield from _package_settings(index, entry)
            yield from _beside_settings(index, entry)


def make() -> Resolver:
    """Make the resolver."""
    return OwnTree()


def _look(scene: Scene) -> _Index:
    places, tree, owned = load_places(), scene.tree, scene.owned
    shared = frozenset(above(owned.owner))
    wheels = wheel_owners(tree)
    return _Index(tree, places, owned, wheels, shared, runtime_homes(tree, places))


def _workdir(index: _Index, scene: Scene) -> Iterator[Need | Finding]:
    real = scene.tree.real(normalise(scene.config.workdir or "/"))
    if real is None or not scene.tree.is_dir(real):
        return
    root = index.root_of(real) or (real if index.is_base(real) else None)
    if root is not None and index.once(root):
        yield from _keep_tree(index, scene, root, f"{root} (working directory)")
    if real == "/":
        yield from _top(index, scene)


def _stocked(index: _Index, scene: Scene) -> Iterator[Need | Finding]:
    """Small trees that somebody made for another user than root: what is there is to be worked on.

    A repository that is pushed to, a mailbox, the home of an account that somebody logs in to.
    """
    limits = index.places.limits
    if not index.owned.known:
        return
    for path in sorted(e.path for e in scene.tree.entries.values() if e.lent):
        root = index.root_of(path) or (path if index.is_base(path) else None)
        if root is None or not index.once(f"stocked:{root}"):
            continue
        found = weigh(index.tree, root, index.foreign)
        if found.within(limits["named_bytes"], limits["named_files"]):
            for below in found.entries:
                yield Need(below.path, Reason(RULE, root, "made for another user than root"))


def _top(index: _Index, scene: Scene) -> Iterator[Need | Finding]:
    """With / as the working directory, what was put there by hand may be named relatively."""
    limits = index.places.limits
    for name in index.tree.children("/"):
        entry = index.tree.entries[f"/{name}"]
        if entry.kind is not Kind.DIR or not index.by_hand(entry):
            continue
        if index.root_of(entry.path) is None or not index.once(entry.path):
            continue
        found = weigh(index.tree, entry.path, index.foreign)
        if found.within(limits["beside_bytes"], limits["beside_files"]):
            yield from _keep_tree(index, scene, entry.path, "/ (working directory)")
        else:
            text = f"left out {found.files} files, {found.size} bytes: nothing in it was used"
            index.done.discard(entry.path)
            yield Finding(RULE, entry.path, text)


# ---------------------------------------------------------------- the own tree


def _keep_tree(index: _Index, scene: Scene, root: str, because: str) -> Iterator[Need | Finding]:
    limits = index.places.limits
    found = weigh(index.tree, root, index.foreign)
    left: list[Entry] = []
    if found.size > limits["tree_bytes"]:
        left = _too_large(found, scene, limits["tree_bytes"], limits["tree_file_bytes"])
    out = {e.path for e in left}
    for entry in found.entries:
        if entry.path not in out:
            yield Need(entry.path, Reason(RULE, because, root))
    size = sum(e.size for e in left)
    yield Finding(RULE, root, f"kept {found.files - len(left)} files, {found.size - size} bytes")
    if left:
        names = some([e.path for e in left], 3)
        yield Finding(RULE, root, f"left out {len(left)} files, {size} bytes: {names}")


def _too_large(found: Weight, scene: Scene, most: int, most_file: int) -> list[Entry]:
    """Choose what to leave out of a large tree: big files never touched, then the next biggest."""
    free = [e for e in found.entries if e.kind is Kind.FILE and e.path not in scene.touched]
    free.sort(key=lambda e: (-e.size, e.path))
    left, size = [], found.size
    for entry in free:
        if entry.size <= most_file and size <= most:
            break
        left.append(entry)
        size -= entry.size
    return left


# ---------------------------------------------------------------- single files


def _strays(index: _Index) -> Iterator[Need | Finding]:
    """Keep small files that a layer without package changes put into shared directories."""
    found = [e for e in index.tree.entries.values() if _stray(index, e)]
    size = sum(e.size for e in found)
    if size > index.places.limits["stray_bytes"]:
        text = f"left out {len(found)} files added to shared directories, {size} bytes"
        yield Finding(STRAYS, "/", text)
        return
    for entry in found:
        yield Need(entry.path, Reason(STRAYS, entry.path, f"added by layer {entry.layer}"))
    if found:
        yield Finding(STRAYS, "/", f"kept {len(found)} files, {size} bytes")


def _stray(index: _Index, entry: Entry) -> bool:
    if entry.kind is not Kind.FILE or entry.size > index.places.limits["stray_file_bytes"]:
        return False
    path = entry.path
    folder = path.rpartition("/")[0]
    by_hand = index.by_hand(entry)
    unowned_setting = path.startswith("/etc/") and path not in index.owned.owner
    if not (by_hand or unowned_setting or (not folder and path not in index.owned.owner)):
        return False
    if index.places.generated.match(path) or path in index.wheels.owner or index.foreign(path):
        return False
    nobodys = index.places.scratch if by_hand else index.places.generic
    # What lies in an own directory is kept with it, when that is used.
    return not nobodys.match(path) and not index.own(folder or "/")


# ---------------------------------------------------------------- settings


def _package_settings(index: _Index, entry: Entry) -> Iterator[Need | Finding]:
    package = index.owned.package_of(entry.path)
    if package is None or not index.once(package):
        return
    for path in index.owned.files_of(package):
        if path.startswith("/etc/") and _setting(index, path):
            yield Need(path, Reason(SETTINGS, entry.path, f"settings of {package}"))


def _setting(index: _Index, path: str) -> bool:
    entry = index.tree.entries[path]
    small = entry.size <= index.places.limits["settings_file_bytes"]
    return small and not index.places.generic.match(path)


def _beside_settings(index: _Index, entry: Entry) -> Iterator[Need | Finding]:
    parts = entry.path.split("/")
    top = "/".join(parts[:3])
    if parts[1] != "etc" or len(parts) < 4 or index.places.generic.match(top):
        return
    if not index.once(f"beside:{top}"):
        return
    limit = index.places.limits["settings_bytes"]
    found = weigh(index.tree, top, index.foreign)
    if found.size > limit:
        text = f"left out {found.files} files, {found.size} bytes: more than {limit}"
        yield Finding(SETTINGS, top, text)
        return
    for other in found.entries:
        yield Need(other.path, Reason(SETTINGS, entry.path, top))
    yield Finding(SETTINGS, top, f"kept {found.files} files, {found.size} bytes")
