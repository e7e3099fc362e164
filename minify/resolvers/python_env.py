"""Which Python environments are in the image, and which of them are in use?

A standard library is known by its `os.py` beside `encodings`; installed packages by the names
`site-packages` and `dist-packages` (Debian), or by the metadata in a folder of any name (`pip
install --target`); a virtual environment by its `pyvenv.cfg` (PEP 405).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from minify.model import Kind
from minify.packages.wheels import targets
from minify.resolvers import Scene
from minify.resolvers.python_data import SHARED_DIRS

VERSION = re.compile(r"(?:python|pypy)(\d+\.\d+)")
SITES = ("site-packages", "dist-packages")
PTH_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Place:
    """A directory of modules: a standard library ("stdlib") or installed packages ("site").

    `prefix` is the installation it belongs to, `version` "3.11" (empty: any).
    """

    path: str
    kind: str
    prefix: str
    version: str = ""


@dataclass(frozen=True)
class World:
    """The Python environments of one scene."""

    scene: Scene

    @cached_property
    def _marks(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Standard libraries, package folders and virtual environments, by one pass."""
        libraries, sites, venvs = set[str](), list[str](), list[str]()
        entries = self.scene.tree.entries
        for path, entry in entries.items():
            parent, _, name = path.rpartition("/")
            if name in ("os.py", "os.pyc") and f"{parent}/encodings" in entries:
                libraries.add(parent)
            elif name in SITES and entry.kind is Kind.DIR:
                sites.append(path)
            elif name == "pyvenv.cfg":
                venvs.append(parent)
        return tuple(sorted(libraries)), tuple(sorted(sites)), tuple(sorted(venvs))

    @cached_property
    def stdlibs(self) -> tuple[Place, ...]:
        """Every standard library."""
        return tuple(Place(p, "stdlib", _prefix(p), _version(p)) for p in self._marks[0])

    @cached_property
    def sites(self) -> tuple[Place, ...]:
        """Every folder of installed packages, whoever uses it."""
        paths = (*self._marks[1], *sorted(self.targets))
        return tuple(Place(p, "site", _prefix(p), _version(p)) for p in paths)

    @cached_property
    def targets(self) -> Mapping[str, frozenset[str]]:
        """Folders of another name with installed packages in them, and which names those are."""
        return targets(self.scene.tree)

    @cached_property
    def places(self) -> dict[str, Place]:
        """Both, by path."""
        return {place.path: place for place in (*self.stdlibs, *self.sites)}

    def place(self, path: str) -> Place | None:
        """The innermost standard library or package folder around a file."""
        while path:
            path, _, below = path.rpartition("/")
            if path in self.places and below in self.targets.get(path, (below,)):
                return self.places[path]
        return None

    @cached_property
    def touched_dirs(self) -> frozenset[str]:
        """Every directory with a file that was used, at any depth."""
        return _above(self.scene.touched)

    @cached_property
    def active_stdlibs(self) -> tuple[Place, ...]:
        """The standard libraries in use; all of them when none was seen in use."""
        return self.used_stdlibs or self.stdlibs

    @cached_property
    def used_stdlibs(self) -> tuple[Place, ...]:
        """The standard libraries from which a module was read."""
        return tuple(s for s in self.stdlibs if s.path in self._used_dirs)

    @cached_property
    def _used_dirs(self) -> frozenset[str]:
        """As `touched_dirs`, by files only Python reads."""
        return _above(p for p in self.scene.touched if p.endswith((".py", ".pyc", ".so", ".zip")))

    @cached_property
    def versions(self) -> frozenset[str]:
        """The versions in use, such as "3.11"."""
        return frozenset(s.version for s in self.active_stdlibs if s.version)

    @cached_property
    def venvs(self) -> tuple[str, ...]:
        """The virtual environments in use: by what ran from them or by the environment."""
        path = self.scene.env.get("PATH", "").split(":")
        told = {self.scene.env.get("VIRTUAL_ENV", "")}
        words = {a for argv in self.scene.argvs for a in argv[:2] if a.startswith("/")}
        return tuple(
            v
            for v in self._marks[2]
            if v in self._used_dirs
            or v in told
            or f"{v}/bin" in path
            or any(w.startswith(f"{v}/") for w in words)
        )

    @cached_property
    def active_sites(self) -> tuple[Place, ...]:
        """The package folders a running interpreter searches."""
        prefixes = {s.prefix for s in self.active_stdlibs}
        owners = {s.prefix for s in self.stdlibs}
        system = not self.venvs or any(self._sees_system(v) for v in self.venvs)
        found = []
        for site in self.sites:
            if site.version and self.versions and site.version not in self.versions:
                continue
            if site.path in self.targets:
                active = site.path in self.scene.env.get("PYTHONPATH", "").split(":")
            elif site.prefix in self._marks[2]:
                active = site.prefix in self.venvs
            elif site.prefix in owners:
                active = system and site.prefix in prefixes
            else:
                active = system
            if active or site.path in self._used_dirs:
                found.append(site)
        return tuple(found)

    def _sees_system(self, venv: str) -> bool:
        text = self.scene.tree.read(f"{venv}/pyvenv.cfg", PTH_LIMIT).decode("utf-8", "replace")
        return re.search(r"include-system-site-packages\s*=\s*true", text, re.I) is not None

    @cached_property
    def own_roots(self) -> tuple[str, ...]:
        """Where the application's own modules are looked up, beside the importer's own root."""
        scene, tree = self.scene, self.scene.tree
        base = scene.config.workdir or "/"
        told = [base, *scene.env.get("PYTHONPATH", "").split(":"), *self._pth_dirs()]
        told += [r for r in (self._plain_root(p) for p in sorted(scene.touched)) if r]
        real = (tree.real(d, base) for d in told if d)
        return tuple(dict.fromkeys(d for d in real if d and tree.is_dir(d)))

    def _plain_root(self, path: str) -> str:
        """The folder a module that was used is imported from, if it is the application's own."""
        if not path.endswith((".py", ".pyc")) or "/__pycache__/" in path or self.place(path):
            return ""
        return self.package_root(path)

    def package_root(self, path: str) -> str:
        """The directory above the outermost package a file is in."""
        at, tree = posixpath.dirname(path), self.scene.tree
        while at != "/" and any(tree.get(f"{at}/__init__.{end}") for end in ("py", "pyc")):
            at = posixpath.dirname(at)
        return at

    def own_root(self, path: str) -> str:
        """The top of the source tree a file of the application belongs to."""
        root = self.package_root(path)
        wide = [r for r in self.own_roots if r not in SHARED_DIRS and root.startswith(f"{r}/")]
        return min(wide, key=len, default=root)

    def _pth_dirs(self) -> Iterator[str]:
        """Directories added by .pth files (site module), egg links, and editable finders."""
        tree = self.scene.tree
        for site in self.active_sites:
            for name in tree.children(site.path):
                path = f"{site.path}/{name}"
                if name.endswith((".pth", ".egg-link")) and tree.is_file(path):
                    lines = tree.read(path, PTH_LIMIT).decode("utf-8", "replace").splitlines()
                    plain = (line.strip() for line in lines if not line.startswith(("import", "#")))
                    yield from (posixpath.join(site.path, line) for line in plain if line)
                elif name.startswith("__editable__") and name.endswith(".py"):
                    text = tree.read(path, PTH_LIMIT).decode("utf-8", "replace")
                    yield from map(posixpath.dirname, re.findall(r"""['"](/[^'"\n]+)['"]""", text))


def _above(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            if path in found:
                break
            found.add(path)
    return frozenset(found)


def _version(path: str) -> str:
    names = [m[1] for name in path.split("/") if (m := VERSION.fullmatch(name))]
    return names[-1] if names else ""


def _prefix(path: str) -> str:
    """The installation a module directory belongs to: what stands before its lib folder."""
    parts = path.split("/")
    libs = [i for i, name in enumerate(parts) if name in ("lib", "lib64", "lib32", "local")]
    at = next((i for i in reversed(libs) if parts[i] != "local"), len(parts) - 1)
    return "/".join(parts[:at]) or "/"
