"""Installed distributions: which metadata folder goes with which modules.

Sources: PEP 376 and 427 (RECORD), setuptools' `top_level.txt`, `installed-files.txt`, the entry
points specification of the Python packaging guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from minify.tree import Tree

LIMIT = 8 * 1024 * 1024
ENDS = (".dist-info", ".egg-info")
PREFIX = re.compile(r"(.*)/lib(?:64)?/python[\d.]*/(?:site|dist)-packages$")
RECORDED = re.compile(r"(?:\.\./)+bin/[^/,]+,")


@dataclass(frozen=True)
class Distribution:
    """One installed distribution: its metadata (a folder or one file), and top-level names.

    `plugins` are (group, module) of its entry points, `scripts` the paths of its commands.
    """

    path: str
    name: str
    tops: frozenset[str]
    plugins: tuple[tuple[str, str], ...] = ()
    scripts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Distributions:
    """The distributions of one package folder."""

    tree: Tree
    site: str

    @cached_property
    def all(self) -> tuple[Distribution, ...]:
        """Every distribution found there, by name."""
        names = (n for n in self.tree.children(self.site) if n.endswith(ENDS))
        return tuple(self._read(name) for name in names)

    def _read(self, folder: str) -> Distribution:
        path = f"{self.site}/{folder}"
        name = _normal(re.split(r"-\d|\.dist-info|\.egg-info", folder)[0])
        tops = frozenset(self._tops(path)) or self._guess(name)
        return Distribution(path, name, tops, tuple(self._plugins(path)), self._scripts(path))

    def _scripts(self, path: str) -> tuple[str, ...]:
        """Commands it installed: recorded ones, and those its entry points are named after."""
        match = PREFIX.match(self.site)
        prefix = match[1] if match else self.site  # pip install --target has them inside
        lines = self._text(f"{path}/RECORD").splitlines()
        names = {line.split(",", 1)[0].rpartition("/")[2] for line in lines if RECORDED.match(line)}
        sections = re.split(r"(?m)^\[", self._text(f"{path}/entry_points.txt"))
        for section in sections:
            if section.startswith("console_scripts]"):
                names |= set(re.findall(r"(?m)^\s*([\w.-]+)\s*=", section))
        found = (f"{prefix}/bin/{name}" for name in sorted(names))
        return tuple(path for path in found if self.tree.is_file(path))

    def _text(self, path: str) -> str:
        if not self.tree.is_file(path):
            return ""
        return self.tree.read(path, LIMIT).decode("utf-8", "replace")

    def _tops(self, path: str) -> Iterator[str]:
        """First parts of the recorded paths, without suffix where they are modules."""
        yield from self._text(f"{path}/top_level.txt").split()
        for line in self._text(f"{path}/RECORD").splitlines():
            first = line.split(",", 1)[0].partition("/")[0]
            if first and first != ".." and not first.endswith(ENDS) and first != "__pycache__":
                yield first if first.endswith(".libs") else first.partition(".")[0]
        for line in self._text(f"{path}/installed-files.txt").splitlines():
            if line.startswith("../") and not line.startswith("../../"):
                yield line[3:].partition("/")[0].partition(".")[0]

    def _guess(self, name: str) -> frozenset[str]:
        here = {_normal(n.partition(".")[0]): n for n in self.tree.children(self.site)}
        return frozenset({here[name].partition(".")[0]} if name in here else ())

    def _plugins(self, path: str) -> Iterator[tuple[str, str]]:
        group = ""
        for line in self._text(f"{path}/entry_points.txt").splitlines():
            if line.startswith("["):
                group = line.strip(" []")
            elif "=" in line:
                module = re.match(r"\s*[\w.]+", line.partition("=")[2])
                if module:
                    yield group, module[0].strip()

    @cached_property
    def by_top(self) -> dict[str, tuple[Distribution, ...]]:
        """Distributions by top-level name."""
        found: dict[str, tuple[Distribution, ...]] = {}
        for dist in self.all:
            for top in dist.tops:
                found[top] = (*found.get(top, ()), dist)
        return found


def _normal(name: str) -> str:
    """A project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "_", name).lower()
