"""Data beside code: the rest of a directory that was read from, and paths that programs name.

A program that read some of its templates, pages or tables may read the others; a program that names
an absolute path means to use it. Both under size limits, and every rule says what it cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from minify.elf.header import read_elf
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.packages.owners import above
from minify.policies.facts import substitute, variables
from minify.policies.places import (
    Places,
    Weight,
    is_foreign,
    load_places,
    runtime_homes,
    script_of_another,
    system_place,
    weigh,
)
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.calls_text import kind_of
from minify.resolvers.pieces import pieces
from minify.tree import Tree, normalise

BESIDE, NAMED, SHELL = "data:beside", "data:named", "data:shell"
ELF = b"\x7fELF"
# Functions of the C library that start a shell (system(3), popen(3)), as symbol names.
STARTERS = (b"\0system\0", b"\0popen\0")
SHELL_NAME = b"/bin/sh"
SMALLEST = 1024  # bytes of an ELF file that can name anything
SHORTEST = 3  # letters of a name that something else is stuck to
LIBRARY = re.compile(r"\.so(\.[\w.]+)?$")
WITHIN = frozenset(bytes([c]) for c in b"0123456789abcdefghijklmnopqrstuvwxyz"
                   b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_.$}@%~+/-")  # fmt: skip
ABSOLUTE = re.compile(rb"(?:/[\w.+@%-]+)+")
COMMENT = re.compile(rb"^[ \t]*(?:#(?!!)|;|//).*$", re.MULTILINE)


@dataclass
class _Index:
    """What is known about one tree; `done` names directories and paths dealt with."""

    tree: Tree
    places: Places
    homes: frozenset[str]
    singles: frozenset[str]
    paths: re.Pattern[bytes]
    touched: frozenset[str]
    authored: Callable[[str], bool]
    installed_own: Callable[[str], bool]
    used: frozenset[str]  # directories above what was touched
    done: set[str] = field(default_factory=set)
    weights: dict[str, Weight] = field(default_factory=dict)

    def weigh(self, directory: str) -> Weight:
        """Weigh a directory once: each one below it asks again how heavy the top is."""
        if directory not in self.weights:
            self.weights[directory] = weigh(self.tree, directory, self.foreign)
        return self.weights[directory]

    def foreign(self, path: str) -> bool:
        """Whether a path belongs to a language's packages or run time, or is a leftover."""
        return is_foreign(self.places, self.homes, path)

    def own(self, path: str) -> bool:
        """Whether a file is surely the application's own, wherever it lies."""
        return self.installed_own(path) or (self.authored(path) and not self.foreign(path))

    def shared(self, directory: str) -> bool:
        """Whether a directory holds things that have nothing to do with one another."""
        return self.places.generic.match(directory) or self.foreign(directory)

    def once(self, name: str) -> bool:
        """Whether this is the first time that something is asked for."""
        if name in self.done:
            return False
        self.done.add(name)
        return True


class Data:
    """Resolver of data beside code and of named paths."""

    name = "data"
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what lies beside a used data file, and the paths that a used file names."""
        if self._index is None or self._index.tree is not scene.tree:
            self._index = _look(scene)
        index = self._index
        if entry.kind is Kind.DIR and entry.path in scene.listed:
            yield from _whole(index, entry.path, entry.path)
        elif entry.kind is Kind.FILE:
            yield from _of_file(index, entry)


def _of_file(index: _Index, entry: Entry) -> Iterator[Need | Finding]:
    """What a kept file names, and what lies beside it if it was read."""
    if entry.path in index.touched:
        if index.tree.read(entry.path, 4) == ELF:
            yield from _of_program(index, entry)
        else:
            yield from _beside(index, entry)
            yield from _of_text(index, entry)
    elif _never_ran(index, entry):
        yield from _of_program(index, entry)
    elif _never_read(index, entry) or _own_source(index, entry):
        yield from _of_text(index, entry)
    elif _library_source(index, entry):
        yield from _of_text(index, entry, below="/usr/share/")


def _never_ran(index: _Index, entry: Entry) -> bool:
    """Whether it is a program, or a library, that is kept because something may start it.

    What data it needs nobody saw: only the paths in it tell.
    """
    library = LIBRARY.search(entry.path) is not None
    if not library and not (entry.executable and index.places.commands.match(entry.path)):
        return False
    if entry.size < SMALLEST or index.foreign(entry.path):
        return False
    with index.tree.opener(entry) as stream:
        return stream.read(4) == ELF


def _never_read(index: _Index, entry: Entry) -> bool:
    """Whether it holds settings that somebody wrote for this image, for another way to start it."""
    if entry.size > index.places.limits["settings_file_bytes"] or index.foreign(entry.path):
        return False
    return index.places.settings.match(entry.path) and index.authored(entry.path)


def _own_source(index: _Index, entry: Entry) -> bool:
    """Whether it is source of the application: a page nobody asked for may read what it names."""
    path, folder = entry.path, entry.path.rpartition("/")[0]
    if not kind_of(path, b""):
        return False
    if index.own(path):  # in /usr/lib/cgi-bin, or installed by pip from its sources
        return True
    return not (folder and system_place(folder)) and not index.foreign(path)


def _library_source(index: _Index, entry: Entry) -> bool:
    """Whether it is source of an installed library: a distribution has their data apart from it."""
    return bool(kind_of(entry.path, b"")) and index.foreign(entry.path)


def make() -> Resolver:
    """Make the resolver."""
    return Data()


def _look(scene: Scene) -> _Index:
    tree, places = scene.tree, load_places()
    values = variables(scene)
    singles = (tree.real(p) for row in places.singles for p in substitute(row, values))
    # Only the beginning: compilers put strings side by side, so that matches may overlap.
    tops = "|".join(map(partial(_top, places), tree.children("/")))
    pattern = rf"/(?:{tops})".encode("utf-8", "surrogateescape")
    homes = runtime_homes(tree, places)
    alone = frozenset(filter(None, singles))
    used = frozenset(above(scene.touched))
    seen = (scene.touched, scene.authored, scene.installed_own, used)
    return _Index(tree, places, homes, alone, re.compile(pattern), *seen)


def _top(places: Places, name: str) -> str:
    """A pattern for a name in /: where it is everybody's, something else may not follow at once."""
    free = len(name) >= SHORTEST and not places.generic.match(f"/{name}")
    return re.escape(name) + ("" if free else r"(?![\w.+@%-])")


def _words(index: _Index, data: bytes) -> list[str]:
    """Find the absolute paths in a text that begin with a directory there is."""
    starts = (m.start() for m in index.paths.finditer(data))
    whole = (at for at in starts if data[at - 1 : at] not in WITHIN)
    return sorted({_spelled(m[0]) for at in whole if (m := ABSOLUTE.match(data, at))})


def _strings(index: _Index, data: bytes) -> set[str]:
    """Find the absolute paths in a program that begin with a directory there is.

    C ends a string with a NUL. Go and Rust do not, and what follows looks like a part of the path:
    there a name of the tree is taken as far as it goes.
    """
    found = set()
    for start in index.paths.finditer(data):
        match = ABSOLUTE.match(data, start.start())
        if match is None:
            continue
        path = _spelled(match[0])
        before = data[max(0, start.start() - 1) : start.start()]
        after = data[match.end() : match.end() + 1]
        stuck = after and before + after != b"\0\0"  # at the end of a piece the next one has it
        if stuck and index.tree.resolve(path).entry is None:
            path = _as_far(index, path)
        found.add(path)
    return found


def _spelled(path: bytes) -> str:
    return normalise(path.decode("utf-8", "surrogateescape").rstrip("."))


def _as_far(index: _Index, path: str) -> str:
    """Follow a path with something else stuck to its end as far as the tree has it."""
    tree, at = index.tree, ""
    for name in path.split("/")[1:]:
        if tree.resolve(f"{at}/{name}").entry is None:
            ends = range(len(name) - 1, SHORTEST - 1, -1)
            fits = (f"{at}/{name[:end]}" for end in ends)
            at = next((p for p in fits if tree.resolve(p).entry is not None), at)
            return path if tree.is_dir(at or "/") and index.shared(at or "/") else at
        at = f"{at}/{name}"
    return at


# ---------------------------------------------------------------- beside


def _beside(index: _Index, entry: Entry) -> Iterator[Need | Finding]:
    folder = entry.path.rpartition("/")[0] or "/"
    if entry.path in index.singles or index.shared(folder) or not index.once(f"beside:{folder}"):
        return
    limits = index.places.limits
    top = folder
    while not index.shared(up := top.rpartition("/")[0] or "/"):
        top = up
    if index.weigh(top).within(limits["top_bytes"], limits["top_files"]):
        folder = top
    yield from _whole(index, folder, entry.path)


def _whole(index: _Index, folder: str, because: str) -> Iterator[Need | Finding]:
    """Keep a directory; libraries only where the directory itself was listed."""
    if index.shared(folder) or not index.once(f"whole:{folder}:{folder == because}"):
        return
    found = index.weigh(folder)
    limits = index.places.limits
    if not found.within(limits["beside_bytes"], limits["beside_files"]):
        yield Finding(BESIDE, folder, f"left out {found.files} files, {found.size} bytes")
        return
    size, count = 0, 0
    for entry in found.entries:
        if folder == because or not _runnable(index, entry):
            size, count = size + entry.size, count + 1
            yield Need(entry.path, Reason(BESIDE, because, folder))
    if count > 1:
        yield Finding(BESIDE, folder, f"kept {count} entries, {size} bytes")


def _runnable(index: _Index, entry: Entry) -> bool:
    """Whether a file is code: reading a directory's data says nothing about it."""
    return bool(LIBRARY.search(entry.path)) or _of_another(index, entry)


def _of_another(index: _Index, entry: Entry) -> bool:
    return script_of_another(index.tree, entry, index.touched, index.authored)


# ---------------------------------------------------------------- named


def _of_program(index: _Index, entry: Entry) -> Iterator[Need | Finding]:
    if index.places.quiet.match(entry.path):
        return
    if entry.size > index.places.limits["binary_bytes"]:
        yield Finding(NAMED, entry.path, f"{entry.size} bytes: not searched for paths")
        return
    names: set[str] = set()
    shells, starts = False, False
    with index.tree.open(entry.path) as stream:
        for data in pieces(stream):
            names.update(_strings(index, data))
            shells = shells or SHELL_NAME in data
            starts = starts or any(symbol in data for symbol in STARTERS)
    program = _is_program(index, entry)
    for path in sorted(names):
        yield from _named(index, entry, path, commands=program and not _packaged(entry.path))
    if shells or (starts and program):
        for shell in index.places.shells:
            yield Need(shell, Reason(SHELL, entry.path, "starts commands through a shell"))


def _is_program(index: _Index, entry: Entry) -> bool:
    """Whether an ELF file is started itself: a library's rare helpers do not count as shells'."""
    with index.tree.open(entry.path) as stream:
        facts = read_elf(stream)
    return facts is not None and (facts.is_program or facts.is_static)


def _packaged(path: str) -> bool:
    """Whether a program lies where distributions put theirs: those name what they were built with.

    PostgreSQL has the paths of tar, perl and prove in it, and never starts them.
    """
    return path.startswith(("/bin/", "/sbin/", "/lib", "/usr/")) and "/local/" not in path[:11]


def _of_text(index: _Index, entry: Entry, below: str = "/") -> Iterator[Need | Finding]:
    if entry.size > index.places.limits["text_bytes"] or index.places.generated.match(entry.path):
        return
    text = index.tree.read(entry.path)
    if below.encode() not in text:
        return
    text = COMMENT.sub(b"", text)
    foreign = index.foreign(entry.path)
    # What is told by settings for another way to start, or by a library, is a file, no command.
    commands = not foreign and (entry.path in index.touched or bool(kind_of(entry.path, b"")))
    for path in _words(index, text) if b"\0" not in text[:4096] else ():
        if path.startswith(below):
            yield from _named(index, entry, path, commands=commands)


def _named(index: _Index, entry: Entry, path: str, *, commands: bool) -> Iterator[Need | Finding]:
    if not index.once(f"named:{path}:{commands}"):
        return
    found = index.tree.resolve(path).entry
    if found is None:
        # "/usr/share/app/%s.txt", or a name cut off wrongly: something in that directory is meant.
        path = path.rpartition("/")[0]
        found = index.tree.resolve(path).entry
        if found is None or found.kind is not Kind.DIR:
            return
        if index.shared(found.path):
            if index.authored(entry.path):  # a file to be made: its directory has to be there
                yield Need(path, Reason(NAMED, entry.path, path))
            return
    if found.kind is Kind.DIR:
        yield from _named_folder(index, entry, path, found)
    elif found.kind is Kind.FILE and _wanted(index, path, found, commands=commands):
        yield Need(path, Reason(NAMED, entry.path, path))


def _wanted(index: _Index, path: str, found: Entry, *, commands: bool) -> bool:
    """Whether a named file is meant to be used: data, an own helper, or a command of a script."""
    if index.foreign(found.path) or index.places.generated.match(found.path):
        return False
    if found.executable and index.places.commands.match(path):
        return commands
    return found.size <= index.places.limits["named_file_bytes"]


def _site(index: _Index, entry: Entry, directory: str) -> bool:
    """Whether the image's author names a place for applications: `root /srv`, `httpd -h /srv`.

    A distribution's own files name those places too, and mean whatever may come to be there.
    """
    place = index.places.bases.match(directory) and not index.foreign(directory)
    return place and index.authored(entry.path)


def _named_folder(index: _Index, entry: Entry, path: str, found: Entry) -> Iterator[Need | Finding]:
    yield Need(path, Reason(NAMED, entry.path, path))
    shared = index.shared(found.path) and not _site(index, entry, found.path)
    if shared or not index.once(f"folder:{found.path}"):
        return
    weight = index.weigh(found.path)
    limits = index.places.limits
    # What a program that ran left alone may be meant for it all the same: the author's plug-ins.
    authors = index.authored(entry.path) and index.own(found.path)
    few = entry.path in index.touched and not authors
    most = limits["named_bytes" if few else "named_unseen_bytes"]
    if found.path in index.used:  # and something of it was read: error pages in another language
        most = max(most, limits["beside_bytes"])
    if not weight.within(most, limits["named_files"]):
        text = f"left out {weight.files} files, {weight.size} bytes, named by {entry.path}"
        yield Finding(NAMED, found.path, text)
        return
    kept = [e for e in weight.entries if not _of_another(index, e)]
    for below in kept:
        yield Need(below.path, Reason(NAMED, entry.path, path))
    if weight.files:
        size = sum(e.size for e in kept if e.kind is Kind.FILE)
        text = f"kept {len(kept)} entries, {size} bytes, named by {entry.path}"
        yield Finding(NAMED, found.path, text)
