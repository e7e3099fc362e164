"""What an ELF file that ran may yet load by itself: by evidence in its strings, and by a table.

Strings: a file that can call dlopen(3) and holds the name of a library means that library. Table:
`policies/plugins.yaml`, for what is named in no file (directories of plugins, their configuration),
and `languages.yaml`, for modules of interpreters that have no resolver of their own.
Two things need code: iconv's modules (gconv) and PAM's modules, which pam.d names.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from itertools import product

from minify.elf.header import ElfFacts
from minify.elf.loader import (
    Loaded,
    Process,
    World,
    facts_of,
    find,
    process_of,
    search_dirs,
)
from minify.globs import compile_globs, expand
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Scene
from minify.resolvers.telling import heavy
from minify.tree import Tree
from minify.yamltext import parse_yaml

MIN_SIZE = 52
CHUNK, OVERLAP = 4 << 20, 512
MAX_SCAN = 512 << 20  # bytes of one file that are searched for names of libraries
MAX_NAMES = 16 << 20  # bytes of a table of imported names
OPENERS = (b"dlopen", b"dlmopen", b"g_module_open")  # lt_dlopen, uv_dlopen … hold the first
ICONV = b"iconv_open\0"  # may be the end of another name: linkers merge common ends
_SONAME = re.compile(rb"\0([\w+.@/-]{1,250}\.so(?:\.\d+)*)(?=\0)")
_END = re.compile(rb"\.so[.\0]")
_BRACES = re.compile(r"\{([^{},]*,[^{}]*)\}")
LIBC = ("libc.so.6", "libc-2.*.so", "ld-linux*", "ld-2.*.so")


@dataclass(frozen=True)
class Row:
    """One row of the table, as `policies/plugins.yaml` explains it."""

    id: str
    when: tuple[str, ...]
    keep: tuple[str, ...]
    reason: str
    but: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def fits(self, entry: Entry, facts: ElfFacts) -> bool:
        """Whether the row is about this file, by its name or its soname."""
        names = (entry.path.rpartition("/")[2], facts.soname)
        if self.needs and not _any_like(facts.needed, self.needs):
            return False
        return _any_like(names, self.when)


def _any_like(names: Iterable[str], globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob, name in product(globs, names))


class PluginsResolver:
    """Asks for libraries, plugin directories and their configuration that a loader cannot see."""

    name = "plugins"
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._world: World | None = None
        self._converters: set[tuple[str, bool]] = set()

    @cached_property
    def _rows(self) -> tuple[Row, ...]:
        return read_rows(_table(), "rows") + read_rows(_table("languages.yaml"), "rows")

    @cached_property
    def _weak(self) -> tuple[Row, ...]:
        return read_rows(_table(), "weak")

    @cached_property
    def _locale_only(self) -> tuple[Row, ...]:
        return read_rows(_table(), "locale_only")

    @cached_property
    def _callers(self) -> tuple[Row, ...]:
        return read_rows(_table(), "converts_for_callers")

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what this program or library is likely to load while it runs."""
        if entry.kind is not Kind.FILE or entry.size < MIN_SIZE or not _may_be_elf(scene, entry):
            return
        world = self._see(scene)
        facts = facts_of(world, entry.path)
        if facts is None:
            return
        yield from self._by_table(scene.tree, entry, facts)
        if fnmatch.fnmatch(entry.path, "*/libpam.so.*"):
            yield from self._pam(scene.tree, entry)
        process = process_of(world, entry.path)
        if process is None:
            return
        imports = _imports(scene.tree, entry, facts)
        if entry.path in scene.touched and any(word in imports for word in OPENERS):
            yield from self._by_strings(world, entry, process)
        if process.libc == "glibc":
            yield from self._gconv(scene, entry, process, converts=ICONV in imports)

    def _see(self, scene: Scene) -> World:
        if self._world is None or self._scene is not scene:
            env = scene.env
            self._scene, self._converters = scene, set()
            self._world = World(
                scene.tree, env.get("LD_LIBRARY_PATH", ""), cwd=scene.config.workdir
            )
        return self._world

    def _by_table(self, tree: Tree, entry: Entry, facts: ElfFacts) -> Iterator[Need]:
        folder = posixpath.dirname(entry.path)
        for row in self._rows:
            if not row.fits(entry, facts):
                continue
            reason = Reason(f"{self.name}:{row.id}", entry.path, row.reason)
            but = compile_globs(row.but)
            for pattern in row.keep:
                path = posixpath.normpath(pattern.replace("${dir}", folder))
                yield from (Need(p, reason) for p in expand(tree, path) if not but.match(p))

    def _by_strings(self, world: World, entry: Entry, process: Process) -> Iterator[Need | Finding]:
        seeker = Loaded(entry.path, entry.path, process.facts)
        dirs = search_dirs(world, process, seeker)
        own = {process.facts.soname, entry.path.rpartition("/")[2], process.interp}
        own.update(process.facts.needed)
        own.update(n for weak in self._weak if weak.fits(entry, process.facts) for n in weak.keep)
        for name in _strings(world.tree, entry):
            if name in own or ("/" in name and not name.startswith("/")):
                continue
            places, short = (("",), name.lstrip("/")) if "/" in name else (dirs, name)
            for path in find(world, short, places, process.facts):
                yield Need(path, Reason(self.name, entry.path, f"may dlopen {name}"))
                there = world.tree.resolve(path).entry
                if there is not None:
                    yield from heavy(self.name, path, there, entry.path)

    def _gconv(
        self, scene: Scene, entry: Entry, process: Process, *, converts: bool
    ) -> Iterator[Need | Finding]:
        folder, _, name = entry.path.rpartition("/")
        if folder.endswith("/gconv"):
            if entry.path in scene.touched:
                reason = Reason(self.name, entry.path, "a converter was used: any other may be")
                yield from (Need(one.path, reason) for one in scene.tree.walk(folder))
        elif converts and not any(fnmatch.fnmatchcase(name, libc) for libc in LIBC):
            rows = (*self._locale_only, *(() if entry.path in scene.touched else self._callers))
            few = any(row.fits(entry, process.facts) for row in rows)
            wanted = {f"{charset}.so" for charset in _charsets(scene.env)} if few else None
            for place in process.system_dirs:
                real = scene.tree.real(f"{place}/gconv")
                if real is not None and (real, few) not in self._converters:
                    self._converters.add((real, few))
                    yield from self._modules(scene.tree, entry, real, wanted)

    def _modules(
        self, tree: Tree, entry: Entry, folder: str, wanted: set[str] | None
    ) -> Iterator[Need | Finding]:
        """Keep converters of glibc and their tables; all where it is a user who names them."""
        reason = Reason(self.name, entry.path, "converts text with iconv(3)")
        below = {e.path: e for e in tree.walk(folder)}
        named = [p for p in below if wanted is None or p.rpartition("/")[2] in wanted]
        tables = [p for p in below if "/gconv-modules" in p and p not in named]
        for path in (*named, *tables) if named else ():
            yield Need(path, reason)
        size = sum(below[p].size for p in named if below[p].kind is Kind.FILE)
        if wanted is None and size:
            said = f"kept all converters, {size} bytes: {entry.path} may convert any text"
            yield Finding(self.name, folder, said)

    def _pam(self, tree: Tree, entry: Entry) -> Iterator[Need | Finding]:
        folder = posixpath.dirname(entry.path)
        places = [f"{folder}/security", "/lib/security", "/lib64/security", "/usr/lib64/security",
                  "/usr/lib/security", "/usr/lib/pam"]  # fmt: skip
        setup = Reason(self.name, entry.path, "PAM's configuration")
        for pattern in ("/etc/pam.d/**", "/etc/pam.conf", "/usr/lib/pam.d/**", "/etc/security/**"):
            for path in expand(tree, pattern):
                yield Need(path, setup)
                if "/pam." not in path or not tree.is_file(path):
                    continue
                for module, required in pam_modules(tree.read(path, 1 << 20)).items():
                    spelled = [module] if module.startswith("/") else []
                    found = next(
                        filter(tree.is_file, spelled or (f"{d}/{module}" for d in places)), ""
                    )
                    if found:
                        yield Need(found, Reason(self.name, path, f"names {module}"))
                    elif required:
                        yield Finding(self.name, path, f"PAM module not in the image: {module}")


def _table(name: str = "plugins.yaml") -> str:
    return (files("minify.policies") / name).read_text("utf-8")


def read_rows(text: str, part: str) -> tuple[Row, ...]:
    """Read a part of the table; alternatives in braces are written out."""
    return tuple(
        Row(
            row["id"],
            tuple(row["when"]),
            tuple(p for pattern in row["keep"] for p in braces(pattern)),
            row["reason"],
            tuple(p for pattern in row.get("except", ()) for p in braces(pattern)),
            tuple(row.get("needs", ())),
        )
        for row in parse_yaml(text, "plugins.yaml")[part]
    )


def braces(pattern: str) -> list[str]:
    """Write out `{a,b}` as a shell does."""
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [p for choice in match[1].split(",") for p in braces(f"{before}{choice}{after}")]


def pam_modules(text: bytes) -> dict[str, bool]:
    """Name the modules of a PAM configuration (pam.conf(5)), in order, and whether they must be.

    A line that begins with "-" does without its module where it is absent.
    """
    found: dict[str, bool] = {}
    for line in text.decode("utf-8", "surrogateescape").replace("\\\n", " ").splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
        for word in words:
            if word.endswith(".so") and "=" not in word:
                found[word] = found.get(word, False) or not words[0].startswith("-")
    return found


def _charsets(env: dict[str, str]) -> Iterator[str]:
    """Name the gconv modules of the character sets in the locale variables, as glibc does."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        charset = env.get(name, "").partition(".")[2].partition("@")[0].upper()
        if charset:
            yield from {charset, charset.replace("ISO-8859", "ISO8859"), charset.replace("-", "")}


def _may_be_elf(scene: Scene, entry: Entry) -> bool:
    """Whether it is worth opening: it can be executed, was used, or is named like a library."""
    name = entry.path.rpartition("/")[2]
    return entry.executable or ".so" in name or (entry.path in scene.touched and "." not in name)


def _imports(tree: Tree, entry: Entry, facts: ElfFacts) -> bytes:
    """Read the table of the names a file imports and exports; empty for a static program."""
    offset, size = facts.strings
    if offset >= entry.size:
        return b""
    with tree.opener(entry) as stream:
        stream.seek(offset)
        return b"\0" + stream.read(min(size, MAX_NAMES))


def _strings(tree: Tree, entry: Entry) -> tuple[str, ...]:
    """Search a file's bytes, piece by piece, for names of libraries."""
    names: dict[str, None] = {}
    with tree.opener(entry) as stream:
        tail, done = b"", 0
        while done < MAX_SCAN and (piece := stream.read(CHUNK)):
            done += len(piece)
            names.update(dict.fromkeys(_names(tail + piece[:OVERLAP])))
            names.update(dict.fromkeys(_names(piece)))
            tail = (tail + piece)[-OVERLAP:] if len(piece) < OVERLAP else piece[-OVERLAP:]
    return tuple(names)


def _names(data: bytes) -> Iterator[str]:
    """Find NUL-enclosed names of shared objects, from their ends: few places hold an end."""
    for end in _END.finditer(data):
        begin = data.rfind(b"\0", max(0, end.start() - 252), end.start())
        match = _SONAME.match(data, begin) if begin >= 0 else None
        if match is not None:
            yield match[1].decode("ascii", "replace")


def make() -> PluginsResolver:
    """Make the resolver."""
    return PluginsResolver()
