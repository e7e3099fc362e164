"""What does a kept file need? One resolver per kind of need, all of one shape.

A resolver is asked once for every kept entry and answers with `Need`s (paths to keep, with a
reason) and `Finding`s (what it could not analyse). It reads only the tree, never the host, never
runs anything, and never raises for bad content: bad content costs precision, not the build.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from minify.model import DEFAULT_PATH, Entry, Finding, ImageConfig, KeepLevel, Reason
from minify.packages.owners import Ownership, above, owners
from minify.packages.wheels import own_modules
from minify.tree import Tree


@dataclass(frozen=True, slots=True)
class Need:
    """A path to keep and why. Relative to nothing: `path` is absolute, may cross symlinks."""

    path: str
    reason: Reason


@dataclass(frozen=True)
class Scene:
    """What every resolver may look at.

    `touched` holds the real paths of files whose content was opened or executed while observed;
    `listed` real directories that were listed. `env` is the effective environment.
    """

    tree: Tree
    config: ImageConfig
    env: dict[str, str]
    argvs: frozenset[tuple[str, ...]]
    touched: frozenset[str]
    listed: frozenset[str]
    level: KeepLevel

    @cached_property
    def owned(self) -> Ownership:
        """Which package of the distribution owns what."""
        return owners(self.tree)

    @cached_property
    def path_folders(self) -> tuple[str, ...]:
        """The absolute directories of PATH in order: where execvp(3) looks commands up."""
        told = (self.env.get("PATH") or DEFAULT_PATH).split(":")
        return tuple(dict.fromkeys(f.rstrip("/") for f in told if f.startswith("/")))

    @cached_property
    def _own_modules(self) -> frozenset[str]:
        return own_modules(self.tree)

    def installed_own(self, path: str) -> bool:
        """Whether a file among a language's packages is the application itself, installed there."""
        own = self._own_modules  # of most images none
        return bool(own) and any(d in own for d in (path, *above([path])))

    def authored(self, path: str) -> bool:
        """Whether no package brought a file, in an image that tells what its packages brought."""
        return self.owned.known and self.owned.package_of(path) is None


@dataclass
class Answered:
    """A scene, and what has been answered for in it; base of what resolvers know of a scene."""

    scene: Scene
    done: set[str] = field(default_factory=set)

    def once(self, what: str) -> bool:
        """Whether this is the first time something is asked for."""
        new = what not in self.done
        self.done.add(what)
        return new


class Resolver(Protocol):
    """One kind of need. `level` is the narrowest keep level at which it is asked."""

    name: str
    level: KeepLevel

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Say what this kept entry needs; empty for an entry that is none of its business."""
        ...


# Adding an ecosystem is one file and one line here.
MODULES = (
    "links",
    "elf",
    "script",
    "system",
    "accounts",
    "owntree",
    "data",
    "beside",
    "told",
    "zones",
    "locales",
    "package",
    "plugins",
    "companions",
    "shell",
    "calls",
    "libraries",
    "java",
    "php",
    "ruby",
    "perl",
    "erlang",
    "python",
    "node",
)


def all_resolvers(level: KeepLevel) -> tuple[Resolver, ...]:
    """Make the resolvers that apply at a keep level. Each module has `make() -> Resolver`."""
    made = (importlib.import_module(f"minify.resolvers.{name}").make() for name in MODULES)
    return tuple(r for r in made if r.level.rank <= level.rank)
