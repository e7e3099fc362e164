"""What a program that never ran names beside itself.

A browser finds its parts in the directory of /proc/self/exe (proc(5)), a library in that of its own
file (dladdr(3)): no absolute path tells of them, only the plain names of what lies there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minify.elf.header import ElfFacts
from minify.elf.loader import World, facts_of
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.places import (
    Places,
    is_foreign,
    load_places,
    runtime_homes,
    script_of_another,
    weigh,
)
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.pieces import pieces
from minify.tree import Tree

RULE = "beside"
SMALLEST = 1024  # bytes of an ELF file that can name anything
SHORTEST = 4  # letters of a name that is no chance
MOST = 200  # entries of a directory that belongs to a few programs
FEW = 8  # programs that work together; more of them are commands, to be called one by one


@dataclass(frozen=True)
class _Ground:
    """What is known about one tree."""

    scene: Scene
    places: Places
    homes: frozenset[str]

    @property
    def tree(self) -> Tree:
        return self.scene.tree

    def foreign(self, path: str) -> bool:
        """Whether a path belongs to a language's packages or run time, or is a leftover."""
        return is_foreign(self.places, self.homes, path)

    def shared(self, folder: str) -> bool:
        """Whether what lies in a directory has nothing to do with what else does."""
        places = self.places
        return places.generic.match(folder) or places.commands.match(folder) or self.foreign(folder)

    def of_another(self, entry: Entry) -> bool:
        """Whether it is a script for an interpreter that nothing used."""
        return script_of_another(self.tree, entry, self.scene.touched, self.scene.authored)


class Beside:
    """Resolver of what programs that never ran name beside themselves."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._ground: _Ground | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the entries of its directory that a kept program or library names."""
        if entry.path in scene.touched or not _may_be_elf(entry):
            return
        if self._ground is None or self._ground.scene is not scene:
            places = load_places()
            self._ground = _Ground(scene, places, runtime_homes(scene.tree, places))
        ground, folder = self._ground, entry.path.rpartition("/")[0] or "/"
        if ground.shared(folder) or ground.places.quiet.match(entry.path):
            return
        facts = facts_of(World(scene.tree), entry.path)
        if facts is not None:
            yield from _of_program(ground, entry, facts)


def make() -> Resolver:
    """Make the resolver."""
    return Beside()


def _may_be_elf(entry: Entry) -> bool:
    """Whether it is worth opening: it can be executed, or is named like a library."""
    named = entry.executable or ".so" in entry.path.rpartition("/")[2]
    return named and entry.kind is Kind.FILE and entry.size >= SMALLEST


def _of_program(ground: _Ground, entry: Entry, facts: ElfFacts) -> Iterator[Need | Finding]:
    if entry.size > ground.places.limits["beside_binary_bytes"]:
        yield Finding(RULE, entry.path, f"{entry.size} bytes: not searched for names beside it")
        return
    known = ground.tree.facts(RULE)
    if entry.path not in known:
        known[entry.path] = _named(ground.tree, entry, facts)
    kept: list[Entry] = []
    for path in known[entry.path]:
        found = ground.tree.resolve(path).entry
        if found is None or ground.foreign(found.path) or ground.of_another(found):
            continue
        below = _folder(ground, found) if found.kind is Kind.DIR else (found,)
        size = sum(e.size for e in below if e.kind is Kind.FILE)
        limits = ground.places.limits
        if size > limits["named_unseen_bytes"] or len(below) > limits["named_files"]:
            text = (
                f"{len(below)} entries, {size} bytes: too much to keep for a name in {entry.path}"
            )
            yield Finding(RULE, path, text)
            continue
        reason = Reason(RULE, entry.path, path.rpartition("/")[2])
        kept += below
        yield from (Need(p, reason) for p in (path, *(e.path for e in below)))
    if kept:
        size = sum(e.size for e in kept if e.kind is Kind.FILE)
        yield Finding(RULE, entry.path, f"kept {len(kept)} entries, {size} bytes, named beside it")


def _folder(ground: _Ground, found: Entry) -> tuple[Entry, ...]:
    """What is below a directory, without scripts for interpreters that nothing used."""
    if ground.shared(found.path):
        return ()
    below = weigh(ground.tree, found.path, ground.foreign).entries
    return tuple(e for e in below if not ground.of_another(e))


def _named(tree: Tree, entry: Entry, facts: ElfFacts) -> tuple[str, ...]:
    """The entries beside a program whose names are in its bytes.

    The loader has its own way to what is linked (DT_NEEDED), and so has another resolver.
    """
    folder, _, own = entry.path.rpartition("/")
    names = tree.children(folder)
    if len(names) > MOST:
        return ()
    others = {own, facts.soname, *facts.needed}
    others |= _commands(tree, folder, names)
    left = {n: _forms(n) for n in names if len(n) >= SHORTEST and n not in others}
    found: set[str] = set()
    with tree.opener(entry) as stream:
        for data in pieces(stream) if left else ():
            # Most names are nowhere: one search for each of them says so.
            new = {n for n, (plain, *forms) in left.items()
                   if plain in data and any(form in data for form in forms)}  # fmt: skip
            found |= new
            for name in new:
                del left[name]
    return tuple(f"{folder}/{name}" for name in sorted(found))


def _commands(tree: Tree, folder: str, names: tuple[str, ...]) -> set[str]:
    """The programs in a directory of many: each of git's has a table with the names of all."""
    files = {n: tree.resolve(f"{folder}/{n}").entry for n in names if ".so" not in n}
    programs = {n for n, e in files.items() if e and e.kind is Kind.FILE and e.executable}
    return programs if len(programs) > FEW else set()


def _forms(name: str) -> tuple[bytes, ...]:
    """How a name stands in a program: plain, then with what bounds it.

    A name with a dot may have anything before it, as linkers merge strings with a common end; one
    without may be a word of a message or a symbol, and stands alone or in a path.
    """
    plain = name.encode("utf-8", "surrogateescape")
    if "." in name[1:]:
        quoted = (start + plain + end for start in (b"/", b'"', b"'") for end in (b'"', b"'"))
        return (plain, plain + b"\0", *quoted)
    return (plain, *(a + plain + b for a in (b"\0", b"/") for b in (b"\0", b"/")))
