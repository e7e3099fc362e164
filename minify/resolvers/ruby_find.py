"""Where Ruby code lives in an image: the load path, and the gems."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Kind
from minify.resolvers import Answered

GEM_FOLDER = re.compile(r"(?P<home>.*)/gems/(?P<full>[^/]+)")
EXTENSION = re.compile(r"(?P<home>.*)/extensions/[^/]+/[^/]+/(?P<full>[^/]+)/")
GEM_NAME = re.compile(r"(?P<name>.+?)-(?P<version>\d[^/]*|[0-9a-f]{7,})")


@dataclass
class Here(Answered):
    """A scene, what has been answered for in it, and where its Ruby code lives."""

    extra: set[str] = field(default_factory=set)
    places: dict[tuple[str, bool, frozenset[str]], list[str]] = field(default_factory=dict)

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The folders of the load path that belong to no gem."""
        found: set[str] = set()
        for path in self.scene.tree.entries:
            folder, _, name = path.rpartition("/")
            if name in ("rubygems.rb", "rbconfig.rb") and "/gems/" not in path:
                found.add(folder)
            elif "/vendor_ruby" in path or "/site_ruby" in path:
                parts = path.split("/")
                at = next((i for i, p in enumerate(parts) if p in ("vendor_ruby", "site_ruby")), 0)
                if at and len(parts) > at + 1:
                    found.add("/".join(parts[: at + 1]))
                    version = parts[at + 1][:1].isdigit() and len(parts) > at + 2
                    found |= {"/".join(parts[: at + 2])} if version else set()
                    if version and "-linux" in parts[at + 2] and len(parts) > at + 3:
                        found.add("/".join(parts[: at + 3]))
        env = {**self.scene.config.environment, **self.scene.env}
        told = [p for p in env.get("RUBYLIB", "").split(":") if p.startswith("/")]
        return tuple(dict.fromkeys([*told, *sorted(found)]))

    @cached_property
    def gems(self) -> dict[str, str]:
        """The folder of every gem, with the home it is installed in."""
        found = {}
        for path, entry in self.scene.tree.entries.items():
            if entry.kind is Kind.FILE or "/gems/" not in path:
                continue
            if match := GEM_FOLDER.fullmatch(path):
                home = match["home"]
                specs = f"{home}/specifications"
                if self.scene.tree.get(specs) is not None or home.endswith("/bundler"):
                    found[path] = home
        return found

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """The folders of the gems of each name."""
        found: dict[str, list[str]] = {}
        for folder in self.gems:
            match = GEM_NAME.fullmatch(posixpath.basename(folder))
            if match:
                found.setdefault(match["name"], []).append(folder)
        return found

    @cached_property
    def in_gems(self) -> dict[str, list[tuple[str, str]]]:
        """For every file below a gem's lib: the gems that have it, and where."""
        found: dict[str, list[tuple[str, str]]] = {}
        for gem in self.gems:
            real = self.scene.tree.real(f"{gem}/lib")
            for entry in self.scene.tree.walk(real) if real else ():
                if real and entry.path.endswith((".rb", ".so")):
                    inside = entry.path[len(real) + 1 :]
                    found.setdefault(inside, []).append((gem, f"{gem}/lib/{inside}"))
        return found

    @cached_property
    def used(self) -> frozenset[str]:
        """The folders of gems that were used while observed."""
        return frozenset(g for path in self.scene.touched if (g := self.gem_of(path)))

    def gem_of(self, path: str) -> str | None:
        """The folder of the gem a path is in; what was built for a gem lies apart from it."""
        built = EXTENSION.match(path)
        if built and (folder := f"{built['home']}/gems/{built['full']}") in self.gems:
            return folder
        at = path.find("/gems/")
        while at >= 0:
            folder = "/".join([path[:at], "gems", path[at + 6 :].partition("/")[0]])
            if folder in self.gems and path != folder:
                return folder
            at = path.find("/gems/", at + 6)
        return None

    def root_of(self, path: str) -> str | None:
        """The longest folder of the load path around a path."""
        around = [root for root in self.roots if path.startswith(root + "/")]
        return max(around, key=len, default=None)
