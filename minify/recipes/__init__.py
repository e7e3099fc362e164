"""What common services need to be probed, as data: one YAML file each.

`title` is for people, `match.programs` the commands it is for, `text` the part of a minify.yaml.
"""

from __future__ import annotations

import importlib.resources
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from minify.yamltext import parse_yaml

_WORD = re.compile(r"[^\s;&|'\"()]+")
# Programs that only start another one: what they are given decides.
PREFER_LAST = {"java", "node", "nodejs", "npm", "yarn", "pnpm"}


@dataclass(frozen=True)
class Recipe:
    """How one kind of service is best probed."""

    id: str
    title: str
    programs: tuple[str, ...]
    text: str


def all_recipes() -> tuple[Recipe, ...]:
    """Every shipped recipe, by name."""
    folder = importlib.resources.files("minify.recipes")
    found = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            data = parse_yaml(file.read_text(encoding="utf-8"), file.name)
            programs = tuple(str(p) for p in data["match"]["programs"])
            name = file.name.removesuffix(".yaml")
            found.append(Recipe(name, str(data["title"]), programs, str(data["text"])))
    return tuple(found)


def recipe_for(command: Iterable[str]) -> Recipe | None:
    """The recipe for a command line: that of the first program in it that has one.

    A general runtime (java, node) counts only when no more particular program is named.
    """
    words = [posixpath.basename(w) for part in command for w in _WORD.findall(part)]
    by_program = {program: recipe for recipe in all_recipes() for program in recipe.programs}
    known = [w for w in words if w in by_program]
    particular = [w for w in known if w not in PREFER_LAST]
    chosen = next(iter(particular or known), None)
    return by_program[chosen] if chosen else None
