"""Libraries that source code opens by name: ctypes, cffi, Fiddle, FFI of Ruby, Perl and PHP.

`ctypes.CDLL("libmagic.so.1")`, `find_library("zbar")`, `ffi_lib "vips"`: whether such a line ran is
a matter of chance. Names count where a file that opens libraries holds them as literals. Python's
`find_library` asks `ldconfig -p` (ctypes/util.py), so that is kept for whoever calls it.
The languages' own libraries are left alone: they name what they do without.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from minify.elf.cache import rows_of
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.telling import heavy

RULE = "libraries"
LIMIT = 1 << 20  # bytes of a source file
SOURCE = (".py", ".rb", ".pl", ".pm", ".php", ".lua")
OPENS = re.compile(rb"\b(?:(?:C|Py)DLL|cdll|find_library|dlopen|ffi_lib|FFI|Fiddle|ffi\.load)\b")
SONAME = re.compile(rb"['\"]((?:/[\w+./-]{1,200}/)?lib[\w+.-]{1,100}\.so(?:\.\d+)*)['\"]")
# A name without `lib` and `.so`, as compilers take it.
SHORT = re.compile(
    rb"\b(?:find_library|ffi_lib|ffi\.load)\b[ \t]*+[\[(]?[ \t]*+['\"]([\w+.-]{1,100})['\"]"
)
FINDS = re.compile(rb"\bfind_library[ \t]*\(")
LDCONFIG = "/sbin/ldconfig"  # as ctypes/util.py spells it
DEFAULT = ("/lib", "/usr/local/lib", "/usr/lib")  # where a loader without a cache looks (musl)
# The standard libraries of languages.
STANDARD = re.compile(
    r".*/lib(?:64)?/(?:python[\d.]+|ruby/[\d.]+)/(?!(?:site|dist)-packages/|gems/)"
)


class Libraries:
    """Resolver of libraries named in source code."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._installed: _Installed | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the libraries that a kept source file may open."""
        if entry.kind is not Kind.FILE or not entry.path.endswith(SOURCE) or entry.size > LIMIT:
            return
        if STANDARD.match(entry.path):
            return
        if self._installed is None or self._installed.scene is not scene:
            self._installed = _Installed(scene)
        known = scene.tree.facts("libraries")
        if entry.path not in known:
            known[entry.path] = named(scene.tree.read(entry.path))
        names, finds = known[entry.path]
        for name in names:
            yield from _opened(self._installed, entry, name)
        if finds and scene.tree.resolve(LDCONFIG).entry is not None:
            yield Need(LDCONFIG, Reason(RULE, entry.path, "find_library asks it"))


def make() -> Resolver:
    """Make the resolver."""
    return Libraries()


def named(text: bytes) -> tuple[tuple[str, ...], bool]:
    """The libraries that source may open, and whether it asks Python where they are.

    A short name has a `*` where the version would be. Pure.
    """
    if not OPENS.search(text):
        return (), False
    short = {f"lib{m.decode()}.so*" for m in SHORT.findall(text) if b".so" not in m}
    sonames = {m.decode() for m in SONAME.findall(text)}
    return tuple(sorted(short | sonames)), FINDS.search(text) is not None


class _Installed:
    """The libraries that a loader finds in an image, by soname."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    @cached_property
    def places(self) -> dict[str, list[str]]:
        """Paths by soname."""
        tree = self.scene.tree
        rows = rows_of(tree)
        found = {soname: [row.path for row in of_it] for soname, of_it in rows.items()}
        told = self.scene.env.get("LD_LIBRARY_PATH", "").split(":")
        for folder in (*filter(None, told), *(() if rows else DEFAULT)):
            for name in tree.children(tree.real(folder) or folder):
                if ".so" in name:
                    found.setdefault(name, []).append(f"{folder}/{name}")
        return found

    def find(self, name: str) -> Iterator[str]:
        """Where a library is; of a short name the versions that are installed."""
        if name.startswith("/"):
            yield posixpath.normpath(name)
        elif name.endswith("*"):
            exact = name[:-1]
            for soname, paths in self.places.items():
                if soname == exact or soname.startswith(f"{exact}."):
                    yield from paths
        else:
            yield from self.places.get(name, ())


def _opened(installed: _Installed, entry: Entry, name: str) -> Iterator[Need | Finding]:
    for path in installed.find(name):
        there = installed.scene.tree.resolve(path).entry
        if there is None or there.kind is not Kind.FILE:
            continue
        yield Need(path, Reason(RULE, entry.path, f"opens {name.rstrip('*')}"))
        yield from heavy(RULE, path, there, entry.path)
