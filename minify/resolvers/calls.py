"""Commands that code in a language other than the shell starts by name.

`subprocess.run(["pdftotext", ...])`, `exec("convert ...")`, Perl's backticks: which commands those
are is seen only when that line runs. In the application's own sources and scripts any literal
that is a command of the image counts. In libraries only one that is nothing but the command's
name, and only for commands that the image's author installed: those are what the library is for.
A library may name its commands in other files than the one that starts them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.places import Places, load_places
from minify.resolvers import Need, Resolver, Scene, calls_go, calls_java, calls_program
from minify.resolvers.calls_text import STARTERS, commands, kind_of, words

RULE = "calls"
LIMIT = 1 << 20
LIBRARY = re.compile(
    r"(.*/(?:site-packages|dist-packages|node_modules|gems|vendor|vendor_ruby|pear)/"
    r"(?:@[^/]+/)?[^/]+?)(?:\.py|\.rb|\.js)?(?:/.*)?",
    re.DOTALL,
)
ASIDE = re.compile(r"/(?:tests?|specs?|docs?|examples?|tasks|generators|node_modules)/")
# Libraries that name tools for their own developers, or for installing others.
NOT_LIBRARIES = re.compile(
    r"/node_modules/(?:npm|node-gyp|yarn|corepack)/|/(?:pip|setuptools|wheel|distutils|pbr"
    r"|numpy/(?:f2py|distutils)|scipy/_build_utils|torch/utils|bundler[-\w.]*|rubygems)/"
    r"|/_?version(?:eer)?\.py$"
)
# What libraries name to build, to show or to find out, and do without.
TOOLS = frozenset({
    "ar", "as", "bash", "c++", "c89", "c99", "cargo", "cc", "clang", "clang++", "cmake", "cpp",
    "csh", "docker", "dpkg", "emacs", "f77", "f95", "firefox", "g++", "gcc", "gdb", "gfortran",
    "go", "hg", "javac", "ld", "less", "lynx", "make", "man", "more", "nano",
    "npm", "nm", "objdump", "perl", "php", "pip", "pip3", "python", "python2", "python3", "readelf",
    "rpm", "ruby", "rustc", "strace", "svn", "swig", "systemctl", "test", "valgrind", "vi", "vim",
    "w3m", "xdg-open", "yarn", "zsh",
})  # fmt: skip
# Words that stand in files beside the one that starts something for other reasons than these.
COMMON = TOOLS | {"bundle", "erb", "file", "git", "irb", "node", "nodejs", "openssl", "rails",
                  "rake", "sqlite3", "tar", "unzip", "zip"}  # fmt: skip


@dataclass
class _Index:
    scene: Scene
    places: Places
    done: set[str] = field(default_factory=set)

    @cached_property
    def names(self) -> frozenset[str]:
        """What the folders hold: of a thousand words hardly one is a command."""
        tree = self.scene.tree
        real = (tree.real(folder or "/") for folder in self.scene.path_folders)
        return frozenset(name for folder in real if folder for name in tree.children(folder))

    @cached_property
    def told(self) -> frozenset[str]:
        """The files that command lines name, also as the only entry of a path."""
        scene = self.scene
        words = {w for argv in scene.argvs for w in argv} | {*scene.config.entrypoint}
        named = (w for word in (*words, *scene.config.cmd) for w in word.split(":") if w)
        real = (scene.tree.real(w, scene.config.workdir or "/") for w in named)
        return frozenset(r for r in real if r)

    def find(self, name: str) -> str | None:
        """Find a command as execvp(3) does; an absolute one where the commands are."""
        if "/" in name:
            path = posixpath.normpath(name)
            tried = [path] if self.places.commands.match(path) else []
        else:
            tried = [f"{folder}/{name}" for folder in self.scene.path_folders if name in self.names]
        for path in tried:
            entry = self.scene.tree.resolve(path).entry
            if entry is not None and entry.kind is Kind.FILE and entry.executable:
                return path
        return None

    def installed(self, path: str) -> bool:
        """Whether a layer above the base brought a command (in one layer nobody can tell)."""
        entry = self.scene.tree.resolve(path).entry
        return entry is not None and (entry.layer > 0 or not self._layered)

    @cached_property
    def _layered(self) -> bool:
        """Whether there is more than the base layer."""
        return any(entry.layer for entry in self.scene.tree.entries.values())


class Calls:
    """Resolver of commands named in source code."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._index: _Index | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the commands that a kept source file may start."""
        if entry.kind is not Kind.FILE or entry.size < 8:
            return
        if self._index is None or self._index.scene is not scene:
            self._index = _Index(scene, load_places())
        index, path = self._index, entry.path
        if path.endswith(calls_java.ENDS):
            yield from _of_java(index, entry)
            return
        if _own_program(index, entry):
            yield from _of_program(index, entry)
        if entry.size > LIMIT:
            return
        library = index.places.vendored.match(path) and not scene.installed_own(path)
        inside = LIBRARY.fullmatch(path) if library else None
        if library and (not inside or NOT_LIBRARIES.search(path)):
            return
        kind = _kind(index, entry)
        if not kind:
            return
        starts, names = _read(scene, path, kind, library=library)
        for name in names:
            yield from _call(index, entry, name, library=library)
        if inside and starts and f"asked:{inside[1]}" not in index.done:
            index.done.add(f"asked:{inside[1]}")
            yield from _beside(index, inside[1])


def _of_java(index: _Index, entry: Entry) -> Iterable[Need]:
    """Of jars that are the application itself every word counts, of its libraries only names."""
    if not index.scene.authored(entry.path):
        return
    own = not entry.path.endswith(".jar") or entry.path in index.told
    known = index.scene.tree.facts("calls:java")
    if entry.path not in known:
        known[entry.path] = calls_java.commands(index.scene.tree, entry)
    for name, alone in known[entry.path]:
        if own or (alone and name not in COMMON):
            yield from _call(index, entry, name, library=not own)


def _own_program(index: _Index, entry: Entry) -> bool:
    """Whether it is a compiled program that no package brought."""
    if not entry.executable or entry.size > calls_program.LIMIT or ".so" in entry.path:
        return False
    if index.places.vendored.match(entry.path) or not index.scene.authored(entry.path):
        return False
    with index.scene.tree.opener(entry) as stream:
        return stream.read(4) == b"\x7fELF"


def _of_program(index: _Index, entry: Entry) -> Iterable[Need]:
    """Of what comes with every system only what looks like a command line."""
    known = index.scene.tree.facts("calls:program")
    if entry.path not in known:
        data = index.scene.tree.read(entry.path)
        named = ((name, True) for name in calls_go.commands(data, index.find))
        known[entry.path] = frozenset((*calls_program.commands(data), *named))
    for name, sure in sorted(known[entry.path]):
        found = index.find(name)
        if found is not None and (sure or (index.installed(found) and len(name) > 2)):
            yield Need(found, Reason(RULE, entry.path, f"starts {name}"))


def _kind(index: _Index, entry: Entry) -> str:
    """The kind of source; scripts without a suffix have to be executable."""
    kind = kind_of(entry.path, b"")
    if kind or not entry.executable or ".so" in entry.path:
        return kind
    with index.scene.tree.opener(entry) as stream:
        return kind_of(entry.path, stream.read(256))


def _read(scene: Scene, path: str, kind: str, *, library: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether a file starts programs, and its words that may be commands.

    Of library code, only literals that are one word: most others are words for people.
    """
    known = scene.tree.facts("calls:library" if library else "calls")
    found: tuple[bool, tuple[str, ...]] | None = known.get(path)
    if found is None:
        text = scene.tree.read(path)
        starts = STARTERS[kind].search(text) is not None
        names = (words(text) if library else commands(kind, text)) if starts else ()
        found = known[path] = (starts, tuple(names))
    return found


def _beside(index: _Index, package: str) -> Iterable[Need]:
    """Commands named in any file of a library of which one file starts commands."""
    folder = index.scene.tree.real(package)
    if folder is None or f"beside:{folder}" in index.done:
        return
    index.done.add(f"beside:{folder}")
    for entry in index.scene.tree.walk(folder):
        kind = kind_of(entry.path, b"") if entry.kind is Kind.FILE else ""
        if kind and entry.size <= LIMIT and not ASIDE.search(entry.path[len(folder) :]):
            for name in words(index.scene.tree.read(entry.path)):
                if name not in COMMON:
                    yield from _call(index, entry, name, library=True)


def _call(index: _Index, entry: Entry, name: str, *, library: bool) -> Iterable[Need]:
    key = f"{library}:{name}"
    if key in index.done or (library and name.rpartition("/")[2] in TOOLS):
        return
    index.done.add(key)
    wrapper, _, name = name.rpartition(" ")
    if wrapper and index.find(wrapper) is None:
        return
    found = index.find(name)
    if found is not None and (not library or index.installed(found)):
        yield Need(found, Reason(RULE, entry.path, f"starts {name}"))


def make() -> Resolver:
    """Make the resolver."""
    return Calls()
