"""Where the dynamic loader of an image would find each library.

The order is ld.so(8)'s own (glibc, elf/dl-load.c) and musl's (ldso/dynlink.c). Nothing is
executed and the host plays no part: everything is answered from the tree.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minify.elf.cache import CACHE, CONF, CacheRow, read_conf, rows_of
from minify.elf.header import DF_1_NODEFLIB, ElfFacts, read_elf
from minify.model import Kind
from minify.tree import Tree, normalise

BY_CACHE = "@ld.so.cache"  # stands in a list of directories where the loader asks its cache
PRELOAD = "/etc/ld.so.preload"
# Subdirectories glibc before 2.37 preferred by CPU; only those that exist in the image count.
LEGACY = ("tls", "haswell", "xeon_phi", "avx512_1", "x86_64", "i686", "i586", "sse2", "neon", "vfp")
TRIPLES = {
    ("EM_X86_64", 64): "x86_64-linux-gnu",
    ("EM_X86_64", 32): "x86_64-linux-gnux32",
    ("EM_386", 32): "i386-linux-gnu",
    ("EM_AARCH64", 64): "aarch64-linux-gnu",
    ("EM_ARM", 32): "arm-linux-gnueabihf",
    ("EM_PPC64", 64): "powerpc64le-linux-gnu",
    ("EM_S390", 64): "s390x-linux-gnu",
    ("EM_RISCV", 64): "riscv64-linux-gnu",
    ("EM_LOONGARCH", 64): "loongarch64-linux-gnu",
}
PLATFORMS = {
    "EM_X86_64": ("x86_64", "haswell", "xeon_phi"),
    "EM_386": ("i686", "i586", "i486", "i386"),
    "EM_AARCH64": ("aarch64",),
    "EM_ARM": ("v7l", "v8l", "v6l"),
    "EM_S390": ("z900", "z10", "z13", "z14", "z15", "z16"),
    "EM_PPC64": ("power8", "power9", "power10"),
}
MUSL_RESERVED = ("c", "pthread", "rt", "m", "dl", "util", "xnet")
_INTERPRETER = re.compile(r"ld-linux.*\.so\.\d+|ld-musl-.+\.so\.1|ld64\.so\.\d+|ld\.so\.1")
_SYSTEM_DIRS = re.compile(rb"\0((?:/[\x21-\x7e]*+(?<=/)\0)+)")


@dataclass(frozen=True)
class World:
    """A tree as the loader sees it, and what was found out about it so far.

    `library_path` and `preload` are the values of LD_LIBRARY_PATH and LD_PRELOAD.
    """

    tree: Tree
    library_path: str = ""
    preload: str = ""
    cwd: str = "/"
    found: dict[tuple[object, ...], tuple[str, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    dirs: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    rows: dict[str, list[CacheRow]] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Process:
    """What all objects of one process share: the facts of its first object, the loader's kind."""

    facts: ElfFacts
    libc: str
    interp: str
    system_dirs: tuple[str, ...]
    secure: bool = False


@dataclass(frozen=True)
class Loaded:
    """An object in a process: its path as opened, its real path, and who had it loaded."""

    path: str
    real: str
    facts: ElfFacts
    parent: Loaded | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file the loader opens (`path` as it opens it), on whose behalf, and what for."""

    path: str
    because: str
    detail: str


@dataclass(frozen=True)
class Closure:
    """All a program or library needs to be loaded; `missing` pairs are (name, who wants it)."""

    wanted: tuple[Wanted, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    objects: frozenset[str] = frozenset()


def facts_of(world: World, path: str) -> ElfFacts | None:
    """Read the ELF facts of the file a path leads to, once; None when it is no sound ELF file."""
    entry = world.tree.resolve(path).entry
    if entry is None or entry.kind is not Kind.FILE:
        return None
    known = world.tree.facts("elf")
    if entry.path not in known:
        with world.tree.opener(entry) as stream:
            known[entry.path] = read_elf(stream)
    found: ElfFacts | None = known[entry.path]
    return found


def process_of(world: World, path: str, *, secure: bool = False) -> Process | None:
    """Say how the object at a path is loaded: by its interpreter, else by a fitting one found."""
    facts = facts_of(world, path)
    if facts is None:
        return None
    interp = facts.interp or _fitting_interpreter(world, facts)
    libc = facts.libc or ("musl" if "/ld-musl-" in interp else "glibc")
    return Process(facts, libc, interp, _system_dirs(world, interp, facts, libc), secure)


def _fitting_interpreter(world: World, facts: ElfFacts) -> str:
    tree = world.tree
    triple = TRIPLES.get((facts.machine, facts.bits), "")
    for folder in ("/lib64", "/lib", "/usr/lib64", "/usr/lib", f"/lib/{triple}"):
        for name in tree.children(tree.real(folder) or ""):
            libc = "musl" if name.startswith("ld-musl-") else "glibc"
            if not _INTERPRETER.fullmatch(name) or facts.libc not in ("", libc):
                continue
            there = facts_of(world, f"{folder}/{name}")
            if there is not None and facts.loads(there):
                return f"{folder}/{name}"
    return ""


def _system_dirs(world: World, interp: str, facts: ElfFacts, libc: str) -> tuple[str, ...]:
    if libc == "musl":
        return _musl_dirs(world, interp)
    key = f"{interp}:{facts.machine}:{facts.bits}"
    if key not in world.dirs:
        world.dirs[key] = _compiled_in(world, interp) or _usual_dirs(facts)
    return world.dirs[key]


def _compiled_in(world: World, interp: str) -> tuple[str, ...]:
    """Read glibc's default directories out of the loader itself: NUL-ended, each with a slash.

    They differ between distributions (multiarch, lib64, a prefix of its own), so no table is exact.
    """
    if not interp or not world.tree.is_file(interp):
        return ()
    for match in _SYSTEM_DIRS.finditer(world.tree.read(interp, 4 << 20)):
        names = match[1].decode("ascii").split("\0")[:-1]
        if all("lib" in name for name in names):
            return tuple(name.rstrip("/") for name in names)
    return ()


def _usual_dirs(facts: ElfFacts) -> tuple[str, ...]:
    triple = TRIPLES.get((facts.machine, facts.bits))
    multiarch = (f"/lib/{triple}", f"/usr/lib/{triple}") if triple else ()
    wide = ("/lib64", "/usr/lib64") if facts.bits == 64 else ()
    return (*multiarch, *wide, "/lib", "/usr/lib")


def musl_path_file(interp: str) -> str:
    """Name the file that replaces musl's default directories: PREFIX/etc/ld-musl-ARCH.path."""
    folder, _, name = interp.rpartition("/")
    return f"{posixpath.dirname(folder).rstrip('/')}/etc/{name.partition('.so')[0]}.path"


def _musl_dirs(world: World, interp: str) -> tuple[str, ...]:
    path = musl_path_file(interp)
    if interp and world.tree.is_file(path):
        text = world.tree.read(path, 1 << 16).decode("utf-8", "surrogateescape")
        return tuple(d for d in re.split("[:\n]", text) if d)
    return ("/lib", "/usr/local/lib", "/usr/lib")


def search_dirs(world: World, process: Process, seeker: Loaded) -> tuple[str, ...]:
    """List where a library wanted by `seeker` is looked for, in the loader's order.

    glibc: DT_RPATH of the seeker and of those who loaded it (unless the seeker has DT_RUNPATH),
    LD_LIBRARY_PATH, DT_RUNPATH, the cache, the default directories. musl: LD_LIBRARY_PATH, then
    RUNPATH or RPATH of the seeker and of those who loaded it, then its path file or defaults.
    """
    from_env = () if process.secure else _split(world, world.library_path)
    chain = list(_chain(seeker))
    if process.libc == "musl":
        paths = [o.facts.runpath or o.facts.rpath for o in chain]
        pairs = zip(chain, paths, strict=True)
        theirs = (d for one, path in pairs for d in _expand(world, process, one, path))
        return tuple(dict.fromkeys((*from_env, *theirs, *process.system_dirs)))
    old: list[str] = []
    if not seeker.facts.runpath:
        for one in chain:
            if not one.facts.runpath:
                old += _expand(world, process, one, one.facts.rpath)
    env = _expand(world, process, chain[-1], world.library_path) if from_env else ()
    own = _expand(world, process, seeker, seeker.facts.runpath)
    last = () if seeker.facts.flags_1 & DF_1_NODEFLIB else (BY_CACHE, *process.system_dirs)
    # Without a cache a start-up script may yet run ldconfig: what it would find comes last.
    conf = () if not last or world.tree.is_file(CACHE) else read_conf(world.tree, CONF)[0]
    return tuple(dict.fromkeys((*old, *env, *own, *last, *conf)))


def _chain(seeker: Loaded | None) -> Iterator[Loaded]:
    while seeker is not None:
        yield seeker
        seeker = seeker.parent


def _split(world: World, text: str) -> tuple[str, ...]:
    """Split a path list; an empty element is the working directory."""
    parts = re.split("[:;]", text) if text else []
    return tuple(posixpath.join(world.cwd, part).rstrip("/") for part in parts)


def _expand(world: World, process: Process, owner: Loaded, text: str) -> tuple[str, ...]:
    """Replace $ORIGIN, $LIB and $PLATFORM in a path list ("Dynamic string tokens", ld.so(8))."""
    if "$" not in text:
        return _split(world, text)
    # The program's own origin is /proc/self/exe, hence real; a library's is the name it has.
    origin = posixpath.dirname(owner.real if owner.facts.interp else owner.path)
    out: list[str] = []
    for part in re.split("[:;]", text):
        with_origin = re.sub(r"\$(ORIGIN\b|\{ORIGIN\})", lambda _m: origin, part)
        trusted = normalise(with_origin) in process.system_dirs
        if process.secure and with_origin != part and not trusted:
            continue
        if process.libc == "musl":
            out += [] if "$" in with_origin else [with_origin]
            continue
        lib = (process.system_dirs or ("/lib",))[0].removeprefix("/usr").lstrip("/")
        with_lib = re.sub(r"\$(LIB\b|\{LIB\})", lib.replace("\\", ""), with_origin)
        for platform in PLATFORMS.get(process.facts.machine, ("",)):
            out.append(re.sub(r"\$(PLATFORM\b|\{PLATFORM\})", platform, with_lib))
    return tuple(dict.fromkeys(d for o in out for d in _split(world, o)))


def find(world: World, name: str, dirs: tuple[str, ...], facts: ElfFacts) -> tuple[str, ...]:
    """Find a library by name; every path the loader may open, by CPU, the plain one last.

    Files of another machine, class or ABI are passed over, as the loader does. Empty: not found.
    """
    key = (name, dirs, facts.machine, facts.bits, facts.little, facts.flags)
    if key not in world.found:
        world.found[key] = tuple(_find(world, name, dirs, facts))
    return world.found[key]


def _find(world: World, name: str, dirs: tuple[str, ...], facts: ElfFacts) -> Iterator[str]:
    for folder in dirs:
        if folder == BY_CACHE:
            rows = _cache(world).get(name, [])
            variants = [row.path for row in rows if row.hwcap]
            plain = [row.path for row in rows if not row.hwcap]
        else:
            variants = [f"{sub}/{name}" for sub in _variants(world, folder)]
            plain = [f"{folder}/{name}"]
        yield from _accepted(world, variants, facts)
        first = next(_accepted(world, plain, facts), None)
        if first is not None:
            yield first
            return


def _accepted(world: World, paths: Iterable[str], facts: ElfFacts) -> Iterator[str]:
    for path in paths:
        there = facts_of(world, path)
        if there is not None and facts.loads(there):
            yield path


def _cache(world: World) -> dict[str, list[CacheRow]]:
    if not world.rows:
        world.rows[""] = []  # so that an image without a cache is asked once
        world.rows.update(rows_of(world.tree))
    return world.rows


def _variants(world: World, folder: str) -> tuple[str, ...]:
    """List the sub-directories that some CPU prefers; production may have another than this."""
    key = f"{folder}/"
    if key not in world.dirs:
        tree, subs = world.tree, list[str]()
        hwcaps = f"{folder}/glibc-hwcaps"
        if tree.is_dir(hwcaps):
            subs = [f"{hwcaps}/{name}" for name in tree.children(tree.real(hwcaps) or "")]
        old = [f"{folder}/{name}" for name in LEGACY]
        world.dirs[key] = tuple(s for s in (*subs, *old) if tree.is_dir(s))
    return world.dirs[key]


def closure(world: World, path: str, *, secure: bool = False) -> Closure:
    """Follow everything the object at a path needs to be loaded, breadth first as the loader does.

    `secure`: it runs set-uid or with capabilities, so LD_LIBRARY_PATH and LD_PRELOAD do not count.
    """
    process = process_of(world, path, secure=secure)
    real = world.tree.real(path)
    if process is None or real is None or process.facts.is_static:
        return Closure(objects=frozenset({real} if real else ()))
    walk = _Walk(world, process)
    walk.begin(Loaded(path, real, process.facts))
    return walk.finish()


def _way(path: str, because: str) -> Iterator[Wanted]:
    """Name the directories a path leaves by "..": they have to be there, though empty."""
    parts = path.split("/")
    for i, part in enumerate(parts):
        if part == ".." and i > 1 and parts[i - 1] != "..":
            yield Wanted("/".join(parts[:i]), because, "on the way")


class _Walk:
    """The loader's list of objects while it grows."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._names: set[str] = set()
        self._objects: dict[str, Loaded] = {}
        self._queue: list[Loaded] = []
        self._wanted: dict[Wanted, None] = {}
        self._missing: dict[tuple[str, str], None] = {}

    def begin(self, main: Loaded) -> None:
        """Enter the program, its interpreter and what is preloaded."""
        self._enter(main)
        if main.facts.interp:
            self._interpreter(main)
            for name, because in self._preloads(main):
                self._want(name, main, because)

    def finish(self) -> Closure:
        """Load what everything needs until nothing is new."""
        for one in self._queue:  # grows while it is walked
            for name in one.facts.needed:
                self._want(name, one, one.real)
        return Closure(tuple(self._wanted), tuple(self._missing), frozenset(self._objects))

    def _enter(self, one: Loaded) -> None:
        self._objects[one.real] = one
        self._queue.append(one)
        self._names.add(one.facts.soname)

    def _interpreter(self, main: Loaded) -> None:
        interp = posixpath.join(self._world.cwd, main.facts.interp)
        there, real = facts_of(self._world, interp), self._world.tree.real(interp)
        if there is None or real is None:
            self._missing[(interp, main.real)] = None
            return
        self._wanted[Wanted(interp, main.real, "interpreter")] = None
        self._names |= {there.soname, interp, posixpath.basename(interp)}
        self._objects[real] = Loaded(interp, real, there)

    def _preloads(self, main: Loaded) -> Iterator[tuple[str, str]]:
        if not self._process.secure:
            for name in re.split("[ :]+", self._world.preload):
                if name:
                    yield name, main.real
        if self._process.libc == "glibc" and self._world.tree.is_file(PRELOAD):
            text = self._world.tree.read(PRELOAD, 1 << 16).decode("utf-8", "surrogateescape")
            for line in text.splitlines():
                for name in re.split(r"[\s:]+", line.partition("#")[0]):
                    if name:
                        yield name, PRELOAD

    def _want(self, name: str, seeker: Loaded, because: str) -> None:
        if name in self._names or self._is_loader_itself(name):
            return
        self._names.add(name)
        world, process = self._world, self._process
        if "/" in name:
            spelled = _expand(world, process, seeker, name)
            paths = tuple(_accepted(world, spelled, process.facts))
        else:
            paths = find(world, name, search_dirs(world, process, seeker), process.facts)
        if not paths:
            self._missing[(name, because)] = None
        for path in paths:
            self._wanted.update(dict.fromkeys(_way(path, because)))
            self._wanted[Wanted(path, because, name)] = None
            real, facts = world.tree.real(path), facts_of(world, path)
            if real is not None and facts is not None and real not in self._objects:
                self._enter(Loaded(path, real, facts, seeker))

    def _is_loader_itself(self, name: str) -> bool:
        """Whether musl answers this name with itself (load_library() in ldso/dynlink.c)."""
        reserved = name.startswith("lib") and name[3:].partition(".")[0] in MUSL_RESERVED
        return self._process.libc == "musl" and reserved and "." in name
