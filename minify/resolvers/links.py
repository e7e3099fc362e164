"""Symlinks: what a kept one points to, and the other names of what is kept."""

from __future__ import annotations

from collections.abc import Iterable

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Scene
from minify.tree import Tree, glob_regex

# Names nobody uses at run time; they would only bring in directories.
NO_ALIAS = tuple(
    glob_regex(pattern)
    for pattern in (
        "/usr/share/doc/**", "/usr/share/man/**", "/usr/share/info/**", "/usr/share/lintian/**",
        "/etc/rc?.d/**", "/usr/share/bug/**", "/var/lib/dpkg/**", "/usr/share/locale/**/LC_*/**",
        "/usr/lib/debug/**",
    )
)  # fmt: skip


class LinksResolver:
    """Asks for the target of a kept symlink, and for every symlink that leads to a kept file.

    Further names of a hard-linked program cost nothing (slapd is slappasswd, too) and are asked for
    from `reach` on; of other files a name that was used is kept by its touch.
    """

    name = "links"
    level = KeepLevel.EXACT

    def __init__(self) -> None:
        self._tree: Tree | None = None
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._twins: dict[int, list[str]] = {}

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the target of a symlink, or the aliases of any other entry."""
        if entry.kind is Kind.SYMLINK:
            if scene.tree.real(entry.path) is not None:
                yield Need(entry.path, Reason(self.name, entry.path, f"points to {entry.link}"))
            return
        if self._tree is not scene.tree:
            self._tree, self._aliases = scene.tree, _aliases(scene.tree)
            self._twins = _twins(scene.tree)
        for alias in self._aliases.get(entry.path, ()):
            yield Need(alias, Reason(self.name, entry.path, "another name of it"))
        if scene.level is not KeepLevel.EXACT and entry.executable and entry.inode:
            for twin in self._twins[entry.inode]:
                yield Need(twin, Reason(self.name, entry.path, "the same program"))


def _aliases(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Index all symlinks by the real path they lead to."""
    found: dict[str, list[str]] = {}
    for path in sorted(tree.entries):
        if tree.entries[path].kind is not Kind.SYMLINK:
            continue
        if any(rule.fullmatch(path) for rule in NO_ALIAS):
            continue
        real = tree.real(path)
        if real is not None and real != "/":
            found.setdefault(real, []).append(path)
    return {real: tuple(paths) for real, paths in found.items()}


def _twins(tree: Tree) -> dict[int, list[str]]:
    """Index the names of hard-linked files."""
    found: dict[int, list[str]] = {}
    for path, entry in tree.entries.items():
        if entry.inode:
            found.setdefault(entry.inode, []).append(path)
    return found


def make() -> LinksResolver:
    """Make the resolver."""
    return LinksResolver()
