"""Programs and shared objects need their loader and their libraries, transitively."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minify.elf.cache import CACHE, CONF, read_conf
from minify.elf.loader import (
    PRELOAD,
    Closure,
    World,
    closure,
    facts_of,
    musl_path_file,
)
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Scene

MIN_SIZE = 52  # of an ELF header
# Content that is never ELF: not worth opening thousands of files for.
TEXT = (".py", ".pyc", ".pyi", ".js", ".mjs", ".cjs", ".ts", ".json", ".map", ".html", ".css",
        ".txt", ".md", ".rst", ".xml", ".yml", ".yaml", ".toml", ".h", ".c", ".rb", ".php", ".pl",
        ".pm", ".class", ".jar", ".png", ".svg", ".jpg", ".gif", ".woff", ".woff2", ".mo", ".po",
        ".pem", ".crt", ".conf", ".sql", ".tcl", ".vim", ".gz", ".sh")  # fmt: skip


class ElfResolver:
    """Asks for the interpreter, DT_NEEDED closure and preloads of every kept ELF file."""

    name = "elf"
    level = KeepLevel.EXACT

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._world: World | None = None
        self._covered: dict[str, str] = {}

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name all files the loader opens for this program or library, and what is missing."""
        if entry.kind is not Kind.FILE or entry.size < MIN_SIZE or entry.path.endswith(TEXT):
            return
        world = self._prepare(scene)
        facts = facts_of(world, entry.path)
        if facts is None or facts.is_static:
            return
        if not facts.is_program and entry.path in self._covered:
            return  # a program that ran loads it, and asked for its needs in the right context
        wanted = closure(world, entry.path, secure=entry.privileged)
        for one in wanted.wanted:
            plain = one.detail in ("interpreter", "on the way")
            detail = one.detail if plain else f"needs {one.detail}"
            yield Need(one.path, Reason(self.name, one.because, detail))
        if facts.is_program:
            yield from self._configuration(world, entry, facts.libc, facts.interp)
        yield from self._missing(scene, wanted)

    def _prepare(self, scene: Scene) -> World:
        """Make the loader's view once per scene, and learn which libraries the programs load."""
        if self._world is not None and self._scene is scene:
            return self._world
        world = world_of(scene)
        self._scene, self._world = scene, world
        self._covered = {}
        for path in sorted(scene.touched):
            entry = scene.tree.get(path)
            if entry is None or entry.size < MIN_SIZE or path.endswith(TEXT):
                continue
            facts = facts_of(world, path)
            if facts is not None and facts.is_program:
                loaded = closure(world, path, secure=entry.privileged).objects
                self._covered.update(dict.fromkeys(loaded, path))
        return world

    def _configuration(
        self, world: World, entry: Entry, libc: str, interp: str
    ) -> Iterator[Need | Finding]:
        """Keep the few small files that steer the loader."""
        files = [CACHE, PRELOAD] if libc == "glibc" else []
        if libc == "glibc" and world.tree.is_file(CONF):
            files += read_conf(world.tree)[1]
        if libc == "musl":
            files = [musl_path_file(interp)]
        for path in files:
            if world.tree.is_file(path):
                yield Need(path, Reason(self.name, entry.path, "loader configuration"))

    def _missing(self, scene: Scene, wanted: Closure) -> Iterator[Need | Finding]:
        for name, because in wanted.missing:
            # Something that ran has loaded a file of this name already: the loader reuses it.
            there = [p for p in scene.touched if p.rpartition("/")[2] == name]
            for path in there:
                yield Need(path, Reason(self.name, because, f"needs {name}, loaded before"))
            if not there:
                yield Finding(self.name, because, f"library not found in the image: {name}")


def world_of(scene: Scene) -> World:
    """See a scene's tree as its loader does."""
    env = scene.env
    return World(
        scene.tree,
        env.get("LD_LIBRARY_PATH", ""),
        env.get("LD_PRELOAD", ""),
        scene.config.workdir or "/",
    )


def make() -> ElfResolver:
    """Make the resolver."""
    return ElfResolver()
