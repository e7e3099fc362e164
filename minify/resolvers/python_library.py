"""Python's library code: the standard library, installed packages, what the interpreter loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from minify.model import Entry, Finding, Kind
from minify.resolvers import Need
from minify.resolvers import python_data as data
from minify.resolvers.python_asked import asked
from minify.resolvers.python_dist import ENDS as METADATA
from minify.resolvers.python_dist import Distribution
from minify.resolvers.python_env import Place
from minify.resolvers.python_imports import Import, parse, strings
from minify.resolvers.python_work import RULE, Work, need

INTERPRETER = re.compile(r"(?:lib)?(?:python|pypy)(?:(\d)(\.\d+)?)?[a-z]*(?:-c)?(?:\.so[.\d]*)?")
APP_OPTIONS = ("-m", "-A", "--app", "-k", "--worker-class")
PLAIN_VARIABLES = ("HOSTNAME", "HOME", "USER", "TERM", "LANG", "PATH", "PWD")
# Commands that setuptools or Debian wrote, and importlib.metadata.
REQUIRED = re.compile(
    rb"(?:\b__requires__\s*=|\b(?:load_entry_point|distribution|version|metadata)\()\s*"
    rb"['\"]([A-Za-z][\w.-]*)"
)


def interpreter(work: Work, entry: Entry) -> Iterator[Need | Finding]:
    """What an interpreter (or its shared library) needs before it runs anything."""
    match = INTERPRETER.fullmatch(entry.path.rpartition("/")[2])
    version = f"{match[1]}{match[2]}" if match and match[2] else ""
    libraries = work.world.active_stdlibs
    fitting = tuple(s for s in libraries if s.version == version) or libraries
    for library in fitting:
        yield from _base(work, library, entry.path)


def _base(work: Work, library: Place, because: str) -> Iterator[Need | Finding]:
    """What an interpreter loads by itself, and what its command lines name."""
    if not work.once(f"base {library.path}"):
        return
    roots = (library.path, f"{library.path}/lib-dynload")
    for module in data.ALWAYS:
        if module.endswith("*"):
            stem = module[:-1]
            names = (n for n in work.finder.names(library.path) if n.startswith(stem))
            found = list(chain(*(work.finder.module(library.path, n) for n in names)))
        else:
            found = work.finder.find(module, roots)
        yield from (need(p, because, f"loaded by the interpreter: {module}") for p in found)
    if work.once("commands"):
        yield from _commands(work, because)
        yield from asked(work, because)


def _commands(work: Work, because: str) -> Iterator[Need]:
    """Modules named by command lines and environment: `-m module`, `module:app`, `-c code`."""
    scene = work.scene
    config = scene.config
    found: set[Import] = set()
    for argv in {*scene.argvs, config.entrypoint + config.cmd, config.health_command}:
        for before, word in zip(("", *argv), argv, strict=False):
            found |= _named(before, word)
    for name, value in scene.env.items():
        if name not in PLAIN_VARIABLES:
            found |= set(strings(value))
    roots = (*work.world.own_roots, *work.library_roots, *work.site_roots)
    for item in sorted(found, key=lambda i: (i.module, i.text)):
        if work.plausible(item):
            for path in work.files(item, "", roots):
                yield need(path, because, f"named on a command line: {item.module}")


def _named(before: str, word: str) -> set[Import]:
    """The modules one word of a command line names, given the word before it."""
    if before == "-c":
        code = parse(word.encode("utf-8", "replace"))
        return {item for item in code.imports if not item.text}
    if before in APP_OPTIONS:
        return {Import(item.module) for item in strings(word)}
    return set(strings(word.partition("=")[2] if word.startswith("--") else word))


def stdlib(work: Work, entry: Entry, place: Place) -> Iterator[Need | Finding]:
    """What a file of the standard library needs: its package, and what it imports."""
    yield from _base(work, place, entry.path)
    top = entry.path[len(place.path) + 1 :].partition("/")[0]
    folder = f"{place.path}/{top}"
    if folder != entry.path and top not in data.NEVER_BY_LIBRARIES and top != "lib-dynload":
        yield from work.whole(folder, entry.path)
    if entry.path in work.scene.touched:
        yield from work.bytecode(entry.path)
    source, roots = work.scan(entry), (place.path, f"{place.path}/lib-dynload")
    for item in source.imports:
        head = item.module.partition(".")[0]
        if item.level or head == top.partition(".")[0] or _followed(work, item, head, roots):
            for path in work.files(item, entry.path, roots):
                yield need(path, entry.path, f"import {item.module}")
    if source.trouble:
        yield Finding(RULE, entry.path, source.trouble)


def _followed(work: Work, item: Import, head: str, roots: tuple[str, ...]) -> bool:
    """Whether the standard library means it: not its self-tests, nor stand-ins for C modules."""
    stands_for = data.STAND_INS.get(head)
    if head in data.NEVER_BY_LIBRARIES or (stands_for and work.finder.find(stands_for, roots)):
        return False
    return item.outer or head not in data.NEVER_BY_STDLIB


def site(work: Work, entry: Entry, place: Place) -> Iterator[Need | Finding]:
    """What a file of an installed package needs: the package, its metadata, what it imports."""
    path = entry.path
    parts = path[len(place.path) + 1 :].split("/")
    top = parts[0] if parts[0].endswith(".libs") else parts[0].partition(".")[0]
    if parts[0].endswith(METADATA):
        if len(parts) > 1:
            yield from work.whole(f"{place.path}/{parts[0]}", path)
        return
    yield from _unit(work, path, place, parts)
    if entry.path in work.scene.touched:
        yield from work.bytecode(entry.path)
    if work.once(f"dist {place.path} {top}"):
        yield from _distribution(work, place, top, path)
    roots = (place.path, *work.library_roots, *work.site_roots)
    source, own = work.scan(entry), work.scene.installed_own(path)
    for item in source.imports:
        if own or _wanted_by_library(work, item, top):
            for found in work.files(item, path, roots):
                yield need(found, path, f"import {item.module}")
    if source.trouble:
        yield Finding(RULE, path, source.trouble)


def _wanted_by_library(work: Work, item: Import, top: str) -> bool:
    head = item.module.partition(".")[0]
    if item.level or head == top:
        return True
    if head in data.NEVER_BY_LIBRARIES:
        return False
    return item.outer if head in data.SELDOM | data.NEVER_BY_STDLIB else True


def _unit(work: Work, path: str, place: Place, parts: list[str]) -> Iterator[Need]:
    """Keep the package a file is in whole; of a namespace (PEP 420), the folder's own files."""
    at = place.path
    for part in parts[:-1]:
        at = f"{at}/{part}"
        if work.finder.is_package(at) or at.endswith(".libs"):
            yield from work.whole(at, path)
            return
    if at != place.path and work.once(f"namespace {at}"):
        for name in work.scene.tree.children(at):
            child = work.scene.tree.entries[f"{at}/{name}"]
            if child.kind is not Kind.DIR and not name.endswith(data.SKIPPED_ENDS):
                yield need(child.path, path, f"beside it in {at}")


def _distribution(work: Work, place: Place, top: str, because: str) -> Iterator[Need]:
    """Metadata, other modules, shared libraries and entry points of what was installed."""
    here = work.distributions[place.path]
    for dist in here.by_top.get(top, ()):
        yield need(dist.path, because, f"metadata of {dist.name}")
        if top not in data.NEVER_BY_LIBRARIES:
            yield from (need(path, because, f"command of {dist.name}") for path in dist.scripts)
        yield from work.whole(dist.path, because)
        for other in dist.tops - data.NEVER_BY_LIBRARIES - data.SELDOM - {top}:
            yield from _top(work, place, other, because)
        yield from _plugins(work, dist, because, lambda _group: True)
    yield from _top(work, place, f"{top}.libs", because)
    if top in data.NEVER_BY_LIBRARIES:
        return
    for site in work.site_roots:
        for dist in work.distributions[site].all:
            yield from _plugins(work, dist, because, lambda g: g.partition(".")[0] == top)


def required(work: Work, text: bytes, because: str) -> Iterator[Need]:
    """What a script asks for by the name of its distribution: metadata, and its entry points."""
    names = {name.decode().lower() for name in REQUIRED.findall(text)}
    for site in work.site_roots if names else ():
        for dist in work.distributions[site].all:
            if dist.name in {re.sub(r"[-_.]+", "_", name) for name in names}:
                yield need(dist.path, because, f"metadata of {dist.name}")
                yield from work.whole(dist.path, because)
                yield from _plugins(work, dist, because, lambda _group: True)


def _top(work: Work, place: Place, top: str, because: str) -> Iterator[Need]:
    if top.endswith(".libs"):
        if work.finder.folder(f"{place.path}/{top}"):
            yield from work.whole(f"{place.path}/{top}", because)
        return
    for path in work.finder.module(place.path, top):
        yield need(path, because, "of the same distribution")


def _plugins(
    work: Work, dist: Distribution, because: str, fits: Callable[[str], bool]
) -> Iterator[Need]:
    for group, module in dist.plugins:
        head = module.partition(".")[0]
        if fits(group) and head not in data.NEVER_BY_LIBRARIES | data.SELDOM:
            for path in work.finder.find(module, work.site_roots):
                yield need(path, because, f"entry point of {dist.name}: {group}")
