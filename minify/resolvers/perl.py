"""Perl: modules that running source may load, their compiled parts, tables loaded by name.

Asked for an interpreter, it keeps what that loads by itself; asked for a source file, it follows
what that names on @INC as the image's folders give it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from minify.folders import Bounds, is_shared, own_root, whole
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Answered, Need, Resolver, Scene
from minify.resolvers.perl_source import Loads, module_file, options, read_loads
from minify.syntax import LIMIT

RULE = "perl"
SOURCE = (".pl", ".pm", ".cgi", ".psgi", ".al", ".fcgi", ".plx", ".t")
INTERPRETER = re.compile(r"perl[\d.]*|libperl\.so[\d.]*")
# Folders of @INC as perl's Configure and the distributions name them.
MARKED = re.compile(
    r"(?!/usr/share/doc/)(/.*)?/(?:site_perl|vendor_perl|core_perl|perl-base|perl5?"
    r"|perl5?/[\d.]+|(?:site_perl|vendor_perl|perl5)/[\d.]+(?:/\w+-linux[\w-]*)?)"
)
# Loaded by C code of the interpreter when an operator first needs it (perl's source, `load_module`,
# `require_tie_mod`, `PL_...`): %+, %!, glob, in-memory files, :encoding layers, \N{}, dbmopen.
IMPLICIT = ("strict", "warnings", "utf8", "feature", "overload", "overloading", "mro",
            "attributes", "Tie::Hash::NamedCapture", "Errno", "File::Glob", "PerlIO",
            "PerlIO::scalar", "Carp", "Carp::Heavy", "XSLoader", "DynaLoader", "Config",
            "IO::File", "IO::Handle", "AutoLoader", "vars", "bytes", "integer", "lib", "constant",
            "Exporter", "Exporter::Heavy", "warnings::register", "bytes_heavy.pl",
            "utf8_heavy.pl", "Config_heavy.pl", "Config_git.pl",
            "buildcustomize.pl")  # fmt: skip
# Modules whose parts are loaded by computed names, beyond the folder of their own name.
FAMILIES = {
    "Encode": ("Encode", "encoding"),
    "DBI": ("DBD", "DBI"),
    "LWP/UserAgent": ("LWP/Protocol", "LWP/Authen"),
    "Unicode/UCD": ("unicore",),
    "Template": ("Template",),
    "Mojolicious": ("Mojolicious", "Mojo"),
    "Plack": ("Plack", "HTTP/Server/PSGI"),
    "CGI": ("CGI",),
    "Math/BigInt": ("Math/BigInt", "Math/BigFloat"),
    "POSIX": ("auto/POSIX",),
}
# Documentation that a module reads when it works.
READ = {"diagnostics": "pod/perldiag.pod"}
OLD_TABLES = "utf8_heavy.pl"  # perl < 5.32 loads unicore/lib/** by computed names
NOT_CODE = (".pod", ".h", ".a", ".bs", ".packlist", ".exists", ".t", ".e2x", ".eg")
# For developers: libraries mention them, but only applications come to load them.
TOOLS = frozenset({"CPAN", "Test", "TAP", "Pod", "ExtUtils", "Module/Build", "perl5db", "App",
                   "Test2", "inc"})  # fmt: skip
# Modules that share their name with a whole field; what lies below is not theirs.
FIELDS = frozenset({"IO", "File", "Net", "Text", "Time", "Unicode", "Digest", "Data", "Module",
                    "Class", "XML", "HTTP", "Math", "Term", "Tie", "Sys", "User", "Crypt", "B",
                    "Locale", "Archive", "Compress", "Hash", "List", "Memoize"})  # fmt: skip
SHELVES = frozenset({"/var/www", "/srv/www", "/usr/lib/cgi-bin"})
APP = Bounds(files=40_000, size=256 * 1024 * 1024)
PART = Bounds(files=3_000, size=24 * 1024 * 1024)


@dataclass
class _Here(Answered):
    """A scene, what has been answered for in it, and its folders of modules."""

    extra: set[str] = field(default_factory=set)
    embedded: bool = False
    places: dict[tuple[str, frozenset[str]], list[str]] = field(default_factory=dict)

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The folders of @INC, by the names perl uses (which may cross symlinks)."""
        tree = self.scene.tree
        found: set[str] = set()
        for path, entry in tree.entries.items():
            folder, _, name = path.rpartition("/")
            if name in ("strict.pm", "Config_heavy.pl", "DynaLoader.pm"):
                found.add(folder)
            elif "perl" in path and entry.kind is not Kind.FILE and MARKED.fullmatch(path):
                found.add(path)
        # Debian: /usr/share/perl/5.36 -> 5.36.0; @INC has the link.
        links = [e for e in tree.entries.values() if e.kind is Kind.SYMLINK and "perl" in e.path]
        found |= {e.path for e in links if tree.real(e.path) in found}
        env = {**self.scene.config.environment, **self.scene.env}
        told = [p for p in env.get("PERL5LIB", "").split(":") if p.startswith("/")]
        kept = [p for p in sorted(found) if tree.is_dir(p)]
        return tuple(dict.fromkeys([*told, *kept]))

    def is_core(self, path: str) -> bool:
        """Whether a path is in the core's folders beside perl-base."""
        return any(path.startswith(f"{root}/") for root in self.core)

    @cached_property
    def core(self) -> tuple[str, ...]:
        """The core's folders beside perl-base, in all their names."""
        tree = self.scene.tree
        marks = ("strict.pm", "Config_heavy.pl", "DynaLoader.pm")
        having = {r for r in self.roots if any(tree.is_file(f"{r}/{m}") for m in marks)}
        return tuple(sorted(r for r in having if "/perl-base" not in r))

    def everywhere(self) -> Iterator[str]:
        """The folders where a module may be, those that scripts add included."""
        yield from sorted(self.extra)
        yield from self.roots

    def is_own(self, root: str) -> bool:
        """Whether a folder of @INC is an application's: it, or PERL5LIB, adds one of its own."""
        return root in self.extra or (root not in self.core and not MARKED.fullmatch(root))

    def root_of(self, path: str) -> str | None:
        """The longest folder of @INC around a path, in real or in given names."""
        around = [root for root in self.everywhere() if path.startswith(root + "/")]
        return max(around, key=len, default=None)


class Perl:
    """Resolver of Perl interpreters and Perl source."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._here: _Here | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what an interpreter loads by itself, or what a source file may load."""
        if entry.kind is not Kind.FILE:
            return
        if self._here is None or self._here.scene is not scene:
            self._here = _Here(scene)
        here = self._here
        if INTERPRETER.fullmatch(posixpath.basename(entry.path)):
            library = ".so" in entry.path
            if library and not here.embedded:
                here.embedded, here.places = True, {}
            if here.once(f"interpreter {library}") and _is_elf(scene, entry):
                yield from _interpreter(here, entry.path)
            return
        if not _is_source(scene, entry):
            return
        root = here.root_of(entry.path)
        if root is not None:
            yield from _module(here, entry.path, entry.path[len(root) + 1 :])
        elif entry.path in scene.touched:
            yield from _application(here, entry.path)
        yield from _source(here, entry, library=root is not None and not here.is_own(root))


def make() -> Resolver:
    """Make the resolver."""
    return Perl()


def _need(path: str, because: str, detail: str) -> Need:
    return Need(path, Reason(RULE, because, detail))


def _is_elf(scene: Scene, entry: Entry) -> bool:
    return scene.tree.read(entry.path, 4) == b"\x7fELF"


def _is_source(scene: Scene, entry: Entry) -> bool:
    if entry.path.endswith(SOURCE):
        return True
    if not entry.executable or entry.size < 8:
        return False
    head = scene.tree.read(entry.path, 256)
    first = head.split(b"\n", 1)[0]
    # The second form re-starts a shell script in perl (perlrun(1), "-x" and "#!").
    return (first.startswith(b"#!") and b"perl" in first) or b"exec perl" in head


def _interpreter(here: _Here, because: str) -> Iterator[Need | Finding]:
    for name in IMPLICIT:
        file = name if name.endswith(".pl") else module_file(name)
        for path in _find(here, file):
            yield _need(path, because, f"loads {name} by itself")
            if name == OLD_TABLES:
                yield from _family(here, path, "unicore")
    for argv in sorted(here.scene.argvs):
        if argv and INTERPRETER.fullmatch(posixpath.basename(argv[0])):
            code, modules, folders = options(argv)
            here.extra |= {f for f in folders if f.startswith("/")}
            for text in code:
                yield from _loads(here, because, read_loads(text, "/-e"), library=False)
            for name in modules:
                for path in _find(here, module_file(name)):
                    yield _need(path, because, f"-M{name}")


def _find(here: _Here, file: str) -> list[str]:
    """Every place of a file on @INC: a module may have a pure and a compiled variant."""
    key = (file, frozenset(here.extra))
    if key not in here.places:
        here.places[key] = _look(here, file)
    return here.places[key]


def _look(here: _Here, file: str) -> list[str]:
    tree = here.scene.tree
    tried = [f"{root}/{file}" for root in here.everywhere()]
    found = [path for path in tried if tree.is_file(path)]
    # Debian's perl-base comes before the rest of the core in @INC, and has the same files; the
    # library, for programs with a Perl inside, does not look into perl-base.
    base = not here.embedded and any("/perl-base/" in path for path in found)
    return [path for path in found if not (base and here.is_core(path))]


def _family(here: _Here, because: str, folder: str) -> Iterator[Need | Finding]:
    """Everything below a folder of @INC that is code or data, not documentation."""
    if not here.once(f"family {folder}"):
        return
    tree = here.scene.tree
    bases = [r for r in here.roots if r.endswith("/perl-base") and not here.embedded]
    for root in here.everywhere():
        real = tree.real(f"{root}/{folder}")
        if real is None or not tree.is_dir(real):
            continue
        inside = whole(tree, real, PART, lambda e: e.path.endswith(NOT_CODE))
        if inside is None:
            yield Finding(RULE, real, "too large to keep whole")
        for path in inside or ():
            name = f"{folder}{path[len(real) :]}"
            if not (root in here.core and any(tree.is_file(f"{b}/{name}") for b in bases)):
                yield _need(f"{root}/{name}", because, f"part of {folder}")


def _module(here: _Here, path: str, inside: str) -> Iterator[Need | Finding]:
    """A module: its compiled part, its auto-loaded subs, and the modules below its name."""
    stem = inside.removesuffix(".pm")
    tree, in_base = here.scene.tree, "/perl-base/" in path
    if stem == inside or not here.once(f"module {stem} {in_base}"):
        return
    for root in here.everywhere():
        folder = f"{root}/auto/{stem}"
        if in_base and root in here.core:
            continue
        for name in tree.children(tree.real(folder) or ""):
            if not name.endswith(NOT_CODE) and tree.is_file(f"{folder}/{name}"):
                yield _need(f"{folder}/{name}", path, "compiled or auto-loaded part")
    top = stem.partition("/")[0]
    if stem not in TOOLS | FIELDS and (top not in TOOLS or path in here.scene.touched):
        yield from _family(here, path, stem)
    for file in _find(here, READ[stem]) if stem in READ else ():
        yield _need(file, path, "read by it")
    for folder in (*FAMILIES.get(stem, ()), *_shares(stem)):
        yield from _family(here, path, folder)


def _shares(stem: str) -> tuple[str, str]:
    """Where File::ShareDir finds the data of the module's distribution, or of the module."""
    name = stem.replace("/", "-")
    return f"auto/share/dist/{name}", f"auto/share/module/{name}"


def _application(here: _Here, path: str) -> Iterator[Need | Finding]:
    folder = own_root(here.scene.tree, path, SHELVES)
    if not folder or not here.once(folder):
        return
    inside = whole(here.scene.tree, folder, APP)
    if inside is None:
        yield Finding(RULE, folder, "application folder too large to keep whole")
    for item in inside or ():
        yield _need(item, path, f"application in {folder}")


def _source(here: _Here, entry: Entry, *, library: bool) -> Iterator[Need | Finding]:
    if entry.size > LIMIT:
        yield Finding(RULE, entry.path, f"source larger than {LIMIT >> 20} MB: not analysed")
        return
    data = here.scene.tree.read(entry.path)
    if b"\0" in data[:1024]:
        yield Finding(RULE, entry.path, "not text: not analysed")
        return
    found = read_loads(data, entry.path, said=not library)
    if not library:
        lib = posixpath.join(posixpath.dirname(entry.path), "lib")
        near = [lib, posixpath.normpath(posixpath.join(lib, "../../lib")), *sorted(found.folders)]
        tree = here.scene.tree
        here.extra |= {f for f in map(posixpath.normpath, near) if _unshared(here, f)}
        here.extra -= {f for f in here.extra if tree.real(f) in here.roots}
    yield from _loads(here, entry.path, found, library=library)


def _is_tool(here: _Here, path: str) -> bool:
    """Whether a module is one of the tools for developers."""
    root = here.root_of(path)
    return root is not None and path[len(root) + 1 :].partition("/")[0] in TOOLS


def _unshared(here: _Here, folder: str) -> bool:
    """Whether a directory is there that packages do not share."""
    tree = here.scene.tree
    return folder.startswith("/") and tree.is_dir(folder) and not is_shared(tree, folder)


def _loads(here: _Here, because: str, found: Loads, *, library: bool) -> Iterator[Need | Finding]:
    tree = here.scene.tree
    # In an application every module it merely mentions counts: names are loaded from strings.
    names = found.modules if library else found.modules | found.said
    without = library and not _is_tool(here, because)  # an application asked for a tool: all of it
    for name in sorted(names):
        if without and name.partition("::")[0] in TOOLS:
            continue
        for path in _find(here, module_file(name)):
            yield _need(path, because, f"loads {name}")
    for folder in () if library else sorted(found.families):
        yield from _family(here, because, folder)
    base = here.scene.config.workdir or "/"
    for file in sorted(found.files):
        near = [posixpath.join(posixpath.dirname(because), file), posixpath.join(base, file)]
        places = [file] if file.startswith("/") else [*_find(here, file), *near]
        for path in [p for p in map(posixpath.normpath, places) if tree.is_file(p)][:2]:
            yield _need(path, because, f"loads {file}")
    for name in sorted(found.folders):
        if _unshared(here, posixpath.normpath(name)):
            yield _need(posixpath.normpath(name), because, "added to @INC")
