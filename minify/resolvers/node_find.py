"""Where does Node.js look for a module? (nodejs.org/api: modules, esm; symlinks are followed)"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.elf.header import read_elf
from minify.model import Entry, Kind
from minify.resolvers import Scene
from minify.resolvers import node_data as data
from minify.resolvers.node_source import fits, manifest
from minify.tree import Tree

PACKAGE = re.compile(r"(@[^/]+/[^/]+|[^/@.][^/]*)")
BARE = re.compile(r"(@[\w.-]+/[\w.-]+|[\w][\w.-]*)(/.*)?$")


def package_name(specifier: str) -> str:
    """The package that a bare specifier is in; "" for a path."""
    match = BARE.match(specifier)
    return match[1] if match else ""


@dataclass(frozen=True)
class Lookup:
    """Finds packages and files for one scene."""

    scene: Scene
    _fitting: dict[str, bool] = field(default_factory=dict)

    @property
    def tree(self) -> Tree:
        """The image."""
        return self.scene.tree

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Folders of packages not named node_modules: Debian's, by architecture and for all."""
        found = [f for f in data.GLOBAL_FOLDERS if self.tree.is_dir(f)]
        for name in self.tree.children("/usr/lib"):
            path = f"/usr/lib/{name}/nodejs"
            if name.count("-") >= 2 and self.tree.is_dir(path):
                found.append(path)
        return tuple(found)

    @cached_property
    def everywhere(self) -> tuple[str, ...]:
        """Folders searched last, wherever the importer is: NODE_PATH, then the global ones."""
        told = [p for p in self.scene.env.get("NODE_PATH", "").split(":") if p.startswith("/")]
        home = self.scene.env.get("HOME", "/root")
        told += [f"{home}/.node_modules", f"{home}/.node_libraries"]
        return (*told, *self.folders, *data.GLOBAL_MODULES)

    def package_of(self, path: str) -> str | None:
        """The root of the installed package a file is in; None for the application's own."""
        _, marker, inner = path.rpartition("/node_modules/")
        if marker:
            match = PACKAGE.match(inner)
            return path[: len(path) - len(inner)] + match[1] if match else None
        for folder in self.folders:
            if path.startswith(f"{folder}/") and (match := PACKAGE.match(path[len(folder) + 1 :])):
                return f"{folder}/{match[1]}"
        return None

    def folders_above(self, directory: str) -> Iterator[str]:
        """The node_modules folders an importer in a directory sees, nearest first."""
        at = directory
        while True:
            name = at.rpartition("/")[2]
            yield at if name == "node_modules" else f"{at.rstrip('/')}/node_modules"
            if at in ("", "/"):
                return
            at = at.rpartition("/")[0] or "/"

    def package(self, name: str, directory: str) -> str | None:
        """The path (perhaps of a link) of a package as seen from a directory."""
        for folder in (*self.folders_above(directory), *self.everywhere):
            path = f"{folder}/{name}"
            if self.tree.resolve(path).entry is not None:
                return path
            if folder in self.folders and self.tree.is_file(f"{path}.js"):
                return f"{path}.js"
        return None

    def file(self, path: str) -> str | None:
        """The file a path without extension, or a directory, stands for."""
        for end in data.EXTENSIONS:
            if self.tree.is_file(path + end):
                return path + end
        for end in data.INDEXES:
            if self.tree.is_file(path + end):
                return path + end
        if self.tree.is_file(f"{path}/package.json"):
            return f"{path}/package.json"
        # TypeScript names the file that will be written: "./x.js" is x.ts.
        stem, dot, _ = path.rpartition(".")
        return next((stem + e for e in data.CODE if dot and self.tree.is_file(stem + e)), None)

    def specifier(self, specifier: str, importer: str) -> tuple[str, ...]:
        """The paths a specifier leads to from a file: a file, or a package's package.json."""
        specifier = specifier.removeprefix("file://").split("?")[0]
        directory = posixpath.dirname(importer)
        if specifier.startswith((".", "/")):
            found = self.file(posixpath.normpath(posixpath.join(directory, specifier)))
            return (found,) if found else ()
        match = BARE.match(specifier)
        if not match or specifier.startswith("node:"):
            return ()
        root = self.package(match[1], directory)
        if root is None:
            return ()
        return self.entrances(root, match[2] or "")

    def entrances(self, root: str, inner: str = "") -> tuple[str, ...]:
        """What to keep so that a package is noticed: its package.json, or what stands for it.

        Nothing of a package made for another system or C library, whose npm installed all.
        """
        if not self._fits(root):
            return ()
        paths = [f"{root}/package.json"] if self.tree.is_file(f"{root}/package.json") else []
        if inner or not paths:
            paths += [p for p in (self.file(root + inner),) if p]
        return tuple(paths)

    @cached_property
    def libcs(self) -> frozenset[str]:
        """The C libraries that the image has a loader of."""
        folders = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
        names = {n for f in folders for n in self.tree.children(self.tree.real(f) or f)}
        marks = {"glibc": "ld-linux", "musl": "ld-musl-"}
        return frozenset(c for c, mark in marks.items() if any(n.startswith(mark) for n in names))

    @cached_property
    def _machine(self) -> str:
        """The machine that the interpreter in use is built for; "" when it was not seen."""
        for path in sorted(self.scene.touched):
            if path.rpartition("/")[2] in data.INTERPRETERS:
                with self.tree.open(path) as stream:
                    facts = read_elf(stream)
                if facts is not None:
                    return facts.machine
        return ""

    def loads(self, entry: Entry) -> bool:
        """Whether an addon can be loaded here: packages bring those of other systems along."""
        with self.tree.opener(entry) as stream:
            facts = read_elf(stream)
        if facts is None:
            return not self.tree.read(entry.path, 4).startswith(data.FOREIGN_ADDONS)
        if self._machine and facts.machine != self._machine:
            return False
        return facts.libc not in ("glibc", "musl") or not self.libcs or facts.libc in self.libcs

    def _fits(self, root: str) -> bool:
        """Whether an installed package can run in this image, by its own words."""
        if root not in self._fitting:
            path = f"{root}/package.json"
            text = self.tree.read(path, data.MANIFEST) if self.tree.is_file(path) else b""
            self._fitting[root] = not text or fits(manifest(text) or {}, self.libcs)
        return self._fitting[root]

    def app_root(self, path: str) -> str:
        """The top of the source tree a file of the application is in.

        The outermost of adjoining directories with a package.json, else the working directory if
        it is around the file, else the file's own directory.
        """
        at, root = posixpath.dirname(path), ""
        while at not in data.SHARED_DIRS:
            if self.tree.get(f"{at}/package.json") is not None:
                root = at
            at = posixpath.dirname(at)
        workdir = self.tree.real(self.scene.config.workdir or "/") or "/"
        if root:
            return root
        inside = workdir not in data.SHARED_DIRS and path.startswith(f"{workdir}/")
        return workdir if inside else posixpath.dirname(path)

    def files(self, directory: str, skip: frozenset[str]) -> Iterator[Entry]:
        """Everything below a directory, less folders of some names; links as they stand."""
        for name in self.tree.children(directory):
            entry = self.tree.entries[f"{directory.rstrip('/')}/{name}"]
            if entry.kind is not Kind.DIR:
                yield entry
            elif name not in skip:
                yield entry
                yield from self.files(entry.path, skip)
