"""Paths that an image's own words name: command line, health check, environment.

Whoever wrote `ENTRYPOINT ["app", "--modules", "/usr/local/lib/app"]` means to use that directory,
whether or not the run that was observed came to it. Labels are for people and tools outside.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from minify.globs import literal_dir
from minify.model import DEFAULT_PATH, Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.places import (
    Places,
    is_foreign,
    load_places,
    runtime_homes,
    script_of_another,
    weigh,
)
from minify.resolvers import Need, Resolver, Scene
from minify.tree import normalise

RULE = "told"
# Where commands are looked up, who and where the process is: nothing that a program reads.
NOT_DATA = frozenset({"PATH", "HOME", "PWD", "OLDPWD", "SHELL", "MANPATH", "INFOPATH", "MAIL", "_"})
PIECE = re.compile(r"[^\s'\"`=:,;@<>|&(){}\[\]]+")
GLUED = re.compile(r"-[\w-]*?(/.+)")  # -I/path
# What a word of a command line has to look like to be a path relative to the working directory.
RELATIVE = re.compile(r"[\w.+%~][\w.+%~/-]*")


@dataclass(frozen=True)
class _Told:
    """A path somebody named: where it was said, and whether that was the command line."""

    path: str
    where: str
    command: bool


@dataclass(frozen=True)
class _Index:
    scene: Scene
    places: Places
    homes: frozenset[str]

    def foreign(self, path: str) -> bool:
        """Whether a path belongs to a language's packages or run time, or is a leftover."""
        return is_foreign(self.places, self.homes, path)

    def shared(self, directory: str) -> bool:
        """Whether a directory holds things that have nothing to do with one another."""
        return self.places.generic.match(directory) or self.foreign(directory)


class Told:
    """Resolver of the paths in command line, health check and environment."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._scene: Scene | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Answer once for a scene, whatever entry comes first."""
        if self._scene is scene:
            return
        self._scene = scene
        places = load_places()
        index = _Index(scene, places, runtime_homes(scene.tree, places))
        yield from _commands(scene)
        for told in dict.fromkeys((*_of_commands(scene), *_of_environment(scene))):
            yield from _named(index, told)


def make() -> Resolver:
    """Make the resolver."""
    return Told()


# ---------------------------------------------------------------- what was said


def _command_lines(scene: Scene) -> Iterator[tuple[str, tuple[str, ...]]]:
    config = scene.config
    if config.entrypoint:
        yield "ENTRYPOINT", config.entrypoint
    if config.cmd:
        yield "CMD", config.cmd
    if config.health_command:
        yield "HEALTHCHECK", config.health_command
    for argv in sorted(scene.argvs):
        yield "command line", argv


def _commands(scene: Scene) -> Iterator[Need]:
    """Name the programs that command lines begin with, looked up as execvp(3) does."""
    folders = scene.env.get("PATH", DEFAULT_PATH).split(":")
    for where, words in _command_lines(scene):
        if not words or not words[0] or "/" in words[0]:
            continue
        tried = (posixpath.join(scene.config.workdir or "/", f, words[0]) for f in folders)
        for path in tried:
            found = scene.tree.resolve(path).entry
            if found is not None and found.executable:
                yield Need(path, Reason(RULE, where, words[0]))
                break


def _of_commands(scene: Scene) -> Iterator[_Told]:
    base = scene.config.workdir or "/"
    for where, words in _command_lines(scene):
        for word in words:
            for piece in dict.fromkeys((word, *PIECE.findall(word))):
                if path := _path(piece, base):
                    yield _Told(path, where, command=True)


def _path(piece: str, base: str) -> str:
    glued = GLUED.fullmatch(piece)
    if glued or piece.startswith("/"):
        return normalise(glued[1] if glued else piece)
    if RELATIVE.fullmatch(piece) and piece.strip("./"):
        return normalise(posixpath.join(base, piece))
    return ""


def _of_environment(scene: Scene) -> Iterator[_Told]:
    for name, value in sorted(scene.env.items()):
        if name in NOT_DATA:
            continue
        for piece in dict.fromkeys((value, *PIECE.findall(value))):
            glued = GLUED.fullmatch(piece)
            if piece.startswith("/") or glued:
                path = normalise(glued[1] if glued else piece)
                yield _Told(path, f"environment: {name}", command=False)


# ---------------------------------------------------------------- what is kept for it


def _named(index: _Index, told: _Told) -> Iterator[Need | Finding]:
    tree = index.scene.tree
    path = literal_dir(told.path)[0]
    reason = Reason(RULE, told.where, told.path)
    found = tree.resolve(path).entry
    if found is None:
        # A file to be made: its directory has to be there. Relative words are rarely paths.
        folder = posixpath.dirname(path)
        if folder != normalise(index.scene.config.workdir or "/") and tree.is_dir(folder):
            yield Need(folder, reason)
        return
    if found.path == "/":
        return
    yield Need(path, reason)
    if found.kind is Kind.DIR and (not index.shared(found.path) or _site(index, found.path, told)):
        yield from _folder(index, found.path, told, reason)


def _site(index: _Index, directory: str, told: _Told) -> bool:
    """Whether a command line means all of a place for applications: `httpd -h /srv`."""
    return told.command and index.places.bases.match(directory) and not index.foreign(directory)


def _folder(index: _Index, folder: str, told: _Told, reason: Reason) -> Iterator[Need | Finding]:
    limits = index.places.limits
    kind = "told" if told.command else "beside"
    weight = weigh(index.scene.tree, folder, index.foreign)
    if not weight.within(limits[f"{kind}_bytes"], limits[f"{kind}_files"]):
        text = f"left out {weight.files} files, {weight.size} bytes, named by {told.where}"
        yield Finding(RULE, folder, text)
        return
    scene = index.scene
    other = partial(script_of_another, scene.tree, used=scene.touched, authored=scene.authored)
    kept = [e for e in weight.entries if not other(e)]
    for below in kept:
        yield Need(below.path, reason)
    if kept:
        size = sum(e.size for e in kept if e.kind is Kind.FILE)
        text = f"kept {len(kept)} entries, {size} bytes, named by {told.where}"
        yield Finding(RULE, folder, text)
