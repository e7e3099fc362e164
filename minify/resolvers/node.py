"""Node.js: the application's tree, its production dependencies, whole packages, addons.

The application's own code is kept whole and searched for module names; an installed package that
is used, named, or depended on is kept whole, less what only its developers read, and so are the
packages its package.json depends on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Answered, Need, Resolver, Scene
from minify.resolvers import node_data as data
from minify.resolvers.node_find import Lookup, package_name
from minify.resolvers.node_source import (
    dependencies,
    developers,
    manifest,
    named,
    strings,
    targets,
)

RULE = "node"
LIMIT = 16 * 1024 * 1024
CHUNK = 1024 * 1024
SHEBANG = re.compile(rb"#!.*\b(?:node|nodejs|bun|deno)\b")
BINARY = re.compile(r"(?:node|nodejs|bun|deno|libnode\.so[.\d]*)")
# Internal modules a distribution's build loads from files (node's --shared-builtin-* options).
OUTSIDE = re.compile(rb"/usr/(?:share|lib|local)/[\w@./-]{1,200}\.(?:js|mjs|cjs|wasm|json)\b")
EXTRA_VARIABLES = ("NODE_EXTRA_CA_CERTS", "NODE_ICU_DATA")
PRELOADS = ("-r", "--require", "--import", "--loader", "--experimental-loader")
PNP = (".pnp.cjs", ".pnp.js", ".pnp.loader.mjs", ".pnp.data.json", ".yarnrc.yml", "yarn.lock")


class Node:
    """Resolver of JavaScript modules."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._work: _Work | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Say what a module, a package.json, a script or the interpreter needs."""
        if entry.kind is not Kind.FILE:
            return ()
        if self._work is None or self._work.scene is not scene:
            self._work = _Work(scene)
        return self._work.needs(entry)


def make() -> Resolver:
    """Make the resolver."""
    return Node()


@dataclass
class _Work(Answered):
    """One scene: what has been said, and files met before any interpreter was."""

    waiting: list[Entry] = field(default_factory=list)
    running: bool = False
    internal: set[str] = field(default_factory=set)
    _spare: dict[str | None, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """An interpreter that was used counts from the start."""
        names = {path.rpartition("/")[2] for path in self.scene.touched}
        self.running = any(BINARY.fullmatch(name) for name in names)

    @cached_property
    def lookup(self) -> Lookup:
        """Look-ups of modules."""
        return Lookup(self.scene)

    def needs(self, entry: Entry) -> Iterator[Need | Finding]:
        """Dispatch by the file's name; JavaScript without Node.js is for browsers, and waits."""
        name = entry.path.rpartition("/")[2]
        if BINARY.fullmatch(name) and (entry.executable or ".so" in name):
            self.running = True
            yield from self._interpreter(entry)
            while self.waiting:
                yield from self._module(self.waiting.pop())
        elif not self._is_module(entry, name):
            return
        elif self.running:
            yield from self._module(entry)
        else:
            self.waiting.append(entry)

    def _is_module(self, entry: Entry, name: str) -> bool:
        if name.endswith((*data.CODE, ".node")) or name == "package.json":
            return True
        if self.lookup.package_of(entry.path) is not None or entry.path in self._commanded:
            return True
        if entry.executable and entry.size < LIMIT:
            return SHEBANG.match(self.scene.tree.read(entry.path, 128)) is not None
        return False

    @cached_property
    def _commanded(self) -> frozenset[str]:
        """Files that command lines name: scripts, and what options preload."""
        base = self.scene.config.workdir or "/"
        words = {word for argv in self._argvs for word in argv}
        words |= set(self.scene.env.get("NODE_OPTIONS", "").split())
        plain = {word.partition("=")[2] if word.startswith("-") else word for word in words}
        names = {w for w in plain if w and len(w) < 200 and "\0" not in w}
        found = (self.scene.tree.real(w, base) for w in names if "/" in w or "." in w)
        return frozenset(path for path in found if path and self.scene.tree.is_file(path))

    @property
    def _argvs(self) -> set[tuple[str, ...]]:
        config = self.scene.config
        return {*self.scene.argvs, config.entrypoint + config.cmd, config.health_command}

    # ------------------------------------------------------------ the interpreter

    def _interpreter(self, entry: Entry) -> Iterator[Need | Finding]:
        """Internal modules kept in files, and what options and environment load."""
        self.internal |= set(self._outside(entry))
        for path in sorted(self.internal):
            yield _need(path, entry.path, "internal module of the interpreter")
        if self.once("commands"):
            yield from self._preloaded(entry.path)
            yield from self._surroundings(entry.path)

    def _preloaded(self, because: str) -> Iterator[Need]:
        """Modules that options name, on command lines and in NODE_OPTIONS."""
        base = (self.scene.config.workdir or "/").rstrip("/") + "/."
        words = [w for argv in sorted(self._argvs) for w in argv]
        words += self.scene.env.get("NODE_OPTIONS", "").split()
        for before, word in zip(("", *words), words, strict=False):
            option, equals, value = word.partition("=")
            if equals and option.startswith("-"):
                before, word = option, value
            if before in PRELOADS:
                for path in self.lookup.specifier(word, base):
                    yield _need(path, because, f"loaded by {before}")

    def _surroundings(self, because: str) -> Iterator[Need]:
        """Files and folders that environment variables name."""
        for variable in EXTRA_VARIABLES:
            told = self.scene.env.get(variable, "")
            real = self.scene.tree.real(told) if told.startswith("/") else None
            if real is not None and real != "/":
                yield _need(told, because, f"named by {variable}")
                for item in self.scene.tree.walk(real):
                    yield _need(item.path, because, f"named by {variable}")

    def _outside(self, entry: Entry) -> Iterator[str]:
        """Files of the image that the interpreter's own strings name."""
        with self.scene.tree.open(entry.path) as stream:
            tail = b""
            while chunk := stream.read(CHUNK):
                block = tail + chunk
                for match in OUTSIDE.finditer(block):
                    path = match[0].decode()
                    if self.scene.tree.is_file(path):
                        yield self.scene.tree.real(path) or path
                tail = block[-256:]

    # ------------------------------------------------------------ modules

    def _module(self, entry: Entry) -> Iterator[Need | Finding]:
        root = self.lookup.package_of(entry.path)
        if root is None:
            yield from self._own(entry)
        elif entry.path not in self.internal or entry.path in self.scene.touched:
            yield from self._installed(entry, root)

    def _own(self, entry: Entry) -> Iterator[Need | Finding]:
        root = self.lookup.app_root(entry.path)
        if root not in data.SHARED_DIRS and self.once(f"own {root}"):
            yield from self._own_tree(root, entry.path)
        yield from self._read(entry, own=True)

    def _own_tree(self, root: str, because: str) -> Iterator[Need | Finding]:
        """The application's folder, less installed packages; of Plug'n'Play, its cache."""
        count = size = 0
        for entry in self.lookup.files(root, data.FOREIGN_DIRS):
            count, size = count + 1, size + entry.size
            if count > data.OWN_FILES or size > data.OWN_BYTES:
                yield Finding(RULE, root, f"source tree too large: stopped after {count} files")
                return
            yield _need(entry.path, because, f"source tree {root}")
        if any(self.scene.tree.get(f"{root}/{name}") is not None for name in PNP[:2]):
            message = "Yarn Plug'n'Play: packages are kept in their archives, which are not read"
            yield Finding(RULE, f"{root}/{PNP[0]}", message)

    def _read(self, entry: Entry, *, own: bool) -> Iterator[Need | Finding]:
        """Follow what one file names."""
        path = entry.path
        if path.endswith("/package.json"):
            yield from self._manifest(entry)
            return
        if path.endswith((".json", ".node")):
            return
        if entry.size > LIMIT:
            yield Finding(RULE, path, f"larger than {LIMIT} bytes: not read")
            return
        text = self.scene.tree.read(path)
        spare = frozenset() if own or path in self.scene.touched else self._developers(path)
        for specifier in named(text, bundled=own):
            if package_name(specifier) in spare:
                continue
            for found in self.lookup.specifier(specifier, path):
                yield _need(found, path, f"import {specifier}")
        for specifier in strings(text) if own else ():
            for found in self.lookup.specifier(specifier, path):
                yield _need(found, path, f"named in a string: {specifier}")

    def _developers(self, path: str) -> frozenset[str]:
        """Packages that a package's build and test files import, which nobody runs here."""
        root = self.lookup.package_of(path)
        if root not in self._spare:
            where = f"{root}/package.json"
            text = self.scene.tree.read(where, LIMIT) if self.scene.tree.is_file(where) else b""
            self._spare[root] = developers(manifest(text) or {})
        return self._spare[root]

    def _manifest(self, entry: Entry) -> Iterator[Need | Finding]:
        """What a package.json depends on, as far as it is installed."""
        folder = entry.path.rpartition("/")[0]
        package = manifest(self.scene.tree.read(entry.path, LIMIT))
        if package is None:
            yield Finding(RULE, entry.path, "not a JSON object")
            return
        for name in dependencies(package):
            root = self.lookup.package(name, folder)
            for path in self.lookup.entrances(root) if root else ():
                yield _need(path, entry.path, f"dependency {name}")

    # ------------------------------------------------------------ installed packages

    def _installed(self, entry: Entry, root: str) -> Iterator[Need | Finding]:
        tree = self.scene.tree
        if _package_name(root) in data.BUILDERS:
            return
        if self.once(f"whole {root}") and tree.is_dir(root):
            lines = [f"{root}/package.json"] if tree.is_file(f"{root}/package.json") else []
            lines += [found.path for found in self._whole(root)]
            yield from (_need(path, entry.path, f"package {root}") for path in lines)
        if entry.path.endswith(("/package.json", *data.CODE)):
            yield from self._read(entry, own=False)

    def _whole(self, root: str) -> Iterator[Entry]:
        """A package's files, less tests, documents, maps, and other systems' addons."""
        tree = self.scene.tree
        package = None
        if tree.is_file(f"{root}/package.json"):
            package = manifest(tree.read(f"{root}/package.json", LIMIT))
        used = {t.removeprefix("./").partition("/")[0] for t in targets(package or {})}
        prefix = f"{root}/"
        used |= {
            p[len(prefix) :].partition("/")[0] for p in self.scene.touched if p.startswith(prefix)
        }
        for name in tree.children(root):
            entry = tree.entries[f"{root}/{name}"]
            if name in data.FOREIGN_DIRS or (name in data.SKIPPED_DIRS and name not in used):
                continue
            below = (
                self.lookup.files(entry.path, data.FOREIGN_DIRS) if entry.kind is Kind.DIR else ()
            )
            yield from (e for e in (entry, *below) if self._worth(e))

    def _worth(self, entry: Entry) -> bool:
        if "/prebuilds/" in entry.path:
            folder = entry.path.partition("/prebuilds/")[2].partition("/")[0]
            if folder.startswith(data.FOREIGN_PREBUILDS):
                return False
        if entry.kind is Kind.FILE and entry.path.endswith(".node"):
            return self.lookup.loads(entry)
        if entry.kind is not Kind.FILE or not entry.path.endswith(data.SKIPPED_ENDS):
            return True
        return self._typed and entry.path.endswith((".ts", ".mts", ".cts"))

    @cached_property
    def _typed(self) -> bool:
        """Whether TypeScript is run as it stands, so that its declarations may be read."""
        return any(p.endswith((".ts", ".mts", ".cts", ".tsx")) for p in self.scene.touched)


def _package_name(root: str) -> str:
    """A package's name by its folder, the scope included: `@npmcli/node-gyp` is not `node-gyp`."""
    above, _, name = root.rpartition("/")
    scope = above.rpartition("/")[2]
    return f"{scope}/{name}" if scope.startswith("@") else name


def _need(path: str, because: str, detail: str) -> Need:
    return Need(path, Reason(RULE, because, detail))
