"""The list of files that a fleet of minified images shares as one layer (docs/adr/0007).

A text file to review and commit, beside `minify.lock`: how many bottom layers the originals have in
common, and the files of those layers that every image keeps. Every build that names it writes the
same first layer, whatever else the image keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minify.engines import Loaded
from minify.errors import UsageError
from minify.images.split import common_layers, fleet_core
from minify.lock import quoted, unquoted
from minify.model import Reason
from minify.tree import Tree

HEAD = "# minify.shared 1 — files of the common base layers that all images of a fleet keep"
HINT = "write one with: minify lock --shared --output FILE IMAGE IMAGE"
RULE = "layers"


@dataclass(frozen=True)
class Fleet:
    """What a fleet shares: paths of the tree of its originals' `layers` bottom layers."""

    layers: int
    paths: frozenset[str]

    def of(self, base: Tree) -> frozenset[str]:
        """The files the shared layer has when it is made from a base tree."""
        found = (entry for path in self.paths if (entry := base.get(path)) is not None)
        return frozenset(name for entry in found for name in base.twins(entry))


@dataclass(frozen=True)
class Member:
    """An image of a fleet: its name, its original, and what is kept of it and why."""

    name: str
    loaded: Loaded
    paths: Mapping[str, tuple[Reason, ...]]

    def shareable(self, count: int) -> set[str]:
        """What is kept of the lowest layers for its own sake and that no upper layer changed.

        With the other names of those files: they cost nothing.
        """
        tree = self.loaded.tree
        own = (path for path, why in self.paths.items() if any(r.rule != RULE for r in why))
        below = (e for p in own if (e := tree.get(p)) is not None and e.layer < count)
        return {name for entry in below for name in tree.twins(entry)}


def fleet_of(members: Sequence[Member]) -> Fleet:
    """The fleet of images that were built; raises UsageError when they have nothing in common."""
    count = common_layers([[layer.diff_id for layer in m.loaded.image.layers] for m in members])
    names = ", ".join(member.name for member in members)
    base_of = members[0].loaded.base
    if not count or base_of is None:
        raise UsageError(f"no layer in common: {names}", hint="build them FROM the same image")
    paths = fleet_core(base_of(count), [member.shareable(count) for member in members])
    if not paths:
        raise UsageError(f"of the {count} common layers no file is kept by all of: {names}")
    return Fleet(count, paths)


def write_fleet(fleet: Fleet) -> str:
    """Write a fleet as text; the same fleet is the same text."""
    lines = [HEAD, f"layers {fleet.layers}", "", *map(quoted, sorted(fleet.paths))]
    return "\n".join(lines) + "\n"


def load_fleet(source: str) -> Fleet | None:
    """Read the file of a fleet, None where no file is named; raises UsageError."""
    if not source:
        return None
    try:
        text = Path(source).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}", hint=HINT) from error
    return read_fleet(text, source)


def read_fleet(text: str, source: str) -> Fleet:
    """Read a fleet's text; raises UsageError naming the line that is wrong."""
    layers, paths = 1, set[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("/"):
            paths.add(unquoted(line))
        elif line.startswith("layers ") and line.split()[1].isdigit():
            layers = int(line.split()[1])
        elif line.strip() and not line.startswith("#"):
            raise UsageError(f"{source}:{number}: not a line of a shared list: {line[:60]}",
                             hint=HINT)  # fmt: skip
    if not paths or not layers:
        raise UsageError(f"{source} names nothing to share", hint=HINT)
    return Fleet(layers, frozenset(paths))
