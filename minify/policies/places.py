"""Kinds of places in a root file system, read from `policies/places.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product

from minify.globs import Globs, compile_globs
from minify.model import Entry, Kind
from minify.packages.owners import above
from minify.packages.wheels import targets
from minify.tree import Tree
from minify.yamltext import parse_yaml

_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Places:
    """The lists of `places.yaml`, compiled; `homes` are path endings, `limits` numbers by name."""

    generic: Globs
    vendored: Globs
    leftovers: Globs
    generated: Globs
    bases: Globs
    scratch: Globs
    settings: Globs
    building: Globs
    commands: Globs
    quiet: Globs
    shells: tuple[str, ...]
    singles: tuple[str, ...]
    homes: tuple[str, ...]
    limits: Mapping[str, int]


@cache
def load_places() -> Places:
    """Read the shipped lists, once."""
    data = parse_yaml(files("minify.policies").joinpath("places.yaml").read_text(), "places.yaml")

    def globs(name: str) -> Globs:
        return compile_globs(g for row in data[name] for g in braces(row))

    return Places(
        generic=globs("generic"),
        vendored=globs("vendored"),
        leftovers=globs("leftovers"),
        generated=globs("generated"),
        bases=globs("bases"),
        scratch=globs("scratch"),
        settings=globs("settings"),
        building=globs("building"),
        commands=globs("commands"),
        quiet=globs("quiet"),
        shells=tuple(data["shells"]),
        singles=tuple(data["singles"]),
        homes=tuple(data["homes"]),
        limits=data["limits"],
    )


def braces(pattern: str) -> Iterator[str]:
    """Write `a{b,c}` out as `ab` and `ac`, as a shell does."""
    parts = _BRACES.split(pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    for chosen in product(*choices):
        yield "".join(chosen)


def runtime_homes(tree: Tree, places: Places) -> frozenset[str]:
    """Find the directories that are homes of language run times, by what lies in them.

    Also what `pip install --target` put into folders of any name. Several resolvers ask, at each
    level: all names of a tree are looked through once.
    """
    known = tree.facts("runtime-homes")
    key = "\0".join(places.homes)
    if key not in known:
        known[key] = _homes(tree, places)
    found: frozenset[str] = known[key]
    return found


def _homes(tree: Tree, places: Places) -> frozenset[str]:
    found = {
        path[: -len(ending)]
        for path in tree.entries
        if path.endswith(places.homes)
        for ending in places.homes
        if path.endswith(ending) and len(path) > len(ending)
    }
    found |= {f"{base}/{name}" for base, names in targets(tree).items() for name in names}
    return frozenset(found - {"", "/usr", "/usr/local"})


def is_foreign(places: Places, homes: frozenset[str], path: str) -> bool:
    """Whether a path belongs to a language's packages or run time (`homes`), or is a leftover."""
    if places.vendored.match(path) or places.leftovers.match(path) or path in homes:
        return True
    return bool(homes) and any(d in homes for d in above([path]))


def system_place(directory: str) -> bool:
    """Whether a directory would be the distribution's, in an image that lists no packages."""
    parts = directory.split("/")
    place = "/".join(parts[:3])
    if place in ("/usr/local", "/usr/src", "/var/www"):
        return False
    return parts[1] in ("usr", "etc", "lib", "lib64", "bin", "sbin", "var")


@dataclass(frozen=True)
class Weight:
    """What a directory holds: its entries and the bytes of its regular files."""

    entries: tuple[Entry, ...]
    size: int
    files: int

    def within(self, limit_bytes: int, limit_files: int) -> bool:
        """Whether it is no larger than that."""
        return self.size <= limit_bytes and self.files <= limit_files


def weigh(tree: Tree, directory: str, skip: Callable[[str], bool]) -> Weight:
    """Add up what is below a real directory, without what `skip` says (a directory: wholly)."""
    found: list[Entry] = []
    todo = [directory]
    while todo:
        at = todo.pop()
        for name in tree.children(at):
            entry = tree.entries[f"{at.rstrip('/')}/{name}"]
            if skip(entry.path):
                continue
            found.append(entry)
            if entry.kind is Kind.DIR:
                todo.append(entry.path)
    plain = [e for e in found if e.kind is Kind.FILE]
    inodes = {e.inode or e.path: e.size for e in plain}  # hard-linked names weigh once
    return Weight(tuple(sorted(found, key=lambda e: e.path)), sum(inodes.values()), len(plain))


def script_of_another(
    tree: Tree, entry: Entry, used: Container[str], authored: Callable[[str], bool]
) -> bool:
    """Whether a file is a package's program for an interpreter that is not in use.

    Kept for what lies beside it, it would bring a whole language along. What no package brought,
    somebody wrote for this image: a CGI directory's scripts are meant to be run.
    """
    real = tree.resolve(entry.path).entry
    if real is None or not real.executable or authored(real.path):
        return False
    places = interpreters(tree, real)
    return bool(places) and all(tree.real(place) not in used for place in places)


def interpreters(tree: Tree, script: Entry) -> tuple[str, ...]:
    """Where the interpreter of a script may be; empty for what is no script (execve(2))."""
    with tree.opener(script) as stream:
        head = stream.read(256)
    if not head.startswith(b"#!"):
        return ()
    words = head[2:].split(b"\n", 1)[0].decode("utf-8", "surrogateescape").split()
    named = [w.rpartition("/")[2] for w in words if "=" not in w and not w.startswith("-")]
    name = named[1] if named[:1] == ["env"] and len(named) > 1 else "".join(named[:1])
    return (f"/usr/local/bin/{name}", f"/usr/bin/{name}", f"/bin/{name}", *words[:1])
