"""Ruby: the standard library, gems and applications, as far as running source may require them.

Asked for an interpreter, it keeps what that loads by itself; asked for a source file, it keeps the
gem or application around it and follows its requires on the load path of the image.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from minify.folders import Bounds, is_shared, own_root, whole
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.ruby_data import EXTENSION_SOURCE, GEM_EXTRAS, IMPLICIT, TOOLS
from minify.resolvers.ruby_find import Here
from minify.resolvers.ruby_source import (
    Requires,
    dependencies,
    executables,
    is_tool,
    is_vendor,
    outer,
    read_requires,
    top_of,
)
from minify.syntax import LIMIT
from minify.tree import glob_regex

RULE = "ruby"
SOURCE = (".rb", ".ru", ".rake", ".gemspec", ".builder", ".jbuilder")
NAMED = frozenset({"Gemfile", "Rakefile", "Capfile", "Guardfile"})
STARS = re.compile(r"\*{2,}")
INTERPRETER = re.compile(r"ruby[\d.]*|libruby[-\d.]*\.so[\d.]*")
LOGS = (".out", ".log")
SHELVES = frozenset({"/var/www", "/srv/www", "/usr/share/rubygems-integration"})
APP = Bounds(files=60_000, size=512 * 1024 * 1024)
PART = Bounds(files=2_000, size=8 * 1024 * 1024)
MOST_MATCHES = 500


class Ruby:
    """Resolver of Ruby interpreters and Ruby source."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._here: Here | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what an interpreter loads by itself, or what a source file may require."""
        if entry.kind is not Kind.FILE:
            return
        if self._here is None or self._here.scene is not scene:
            self._here = Here(scene)
        here = self._here
        if INTERPRETER.fullmatch(posixpath.basename(entry.path)):
            if here.once("interpreter") and scene.tree.read(entry.path, 4) == b"\x7fELF":
                yield from _interpreter(here, entry.path)
            return
        source = _is_source(scene, entry)
        if not source and not (entry.path.endswith(".so") and "ruby" in entry.path):
            return
        yield from _around(here, entry)
        if source:
            yield from _source(here, entry)


def make() -> Resolver:
    """Make the resolver."""
    return Ruby()


def _need(path: str, because: str, detail: str) -> Need:
    return Need(path, Reason(RULE, because, detail))


def _is_source(scene: Scene, entry: Entry) -> bool:
    if entry.path.endswith(SOURCE) or posixpath.basename(entry.path) in NAMED:
        return True
    if not entry.executable or entry.size < 8:
        return False
    head = scene.tree.read(entry.path, 64).split(b"\n", 1)[0]
    return head.startswith(b"#!") and b"ruby" in head


def _interpreter(here: Here, because: str) -> Iterator[Need | Finding]:
    tree = here.scene.tree
    for root in here.roots:
        if tree.get(f"{root}/rbconfig.rb") is not None and tree.is_dir(f"{root}/enc"):
            for path in whole(tree, f"{root}/enc", PART) or ():
                yield _need(path, because, "character encodings, loaded by name")
    for feature in IMPLICIT:
        for path in _feature(here, feature, plain=True):
            yield _need(path, because, f"loads {feature} by itself")
    env = {**here.scene.config.environment, **here.scene.env}
    for name in ("BUNDLE_APP_CONFIG", "BUNDLE_GEMFILE", "BUNDLE_PATH"):
        path = env.get(name, "")
        for item in (path, f"{path}/config", f"{path}.lock"):
            if path.startswith("/") and tree.resolve(item).entry is not None:
                yield _need(item, because, name)


# ---------------------------------------------------------------- what is around a file


def _around(here: Here, entry: Entry) -> Iterator[Need | Finding]:
    """The gem, the library's own folder, or the application that a kept file is part of."""
    gem = here.gem_of(entry.path)
    if gem is not None:
        if here.once(gem):
            yield from _gem(here, gem, entry.path)
        return
    root = here.root_of(entry.path)
    if root is not None:
        yield from _library(here, entry.path, root)
    elif entry.path in here.scene.touched:
        folder = own_root(here.scene.tree, entry.path, SHELVES)
        library = (
            "/specifications/" in entry.path
            or here.scene.tree.get(f"{folder}/specifications") is not None
            or any(f"{root}/".startswith(f"{folder}/") for root in here.roots)
        )
        if folder and not library and here.once(folder):
            yield from _application(here, folder, entry.path)


def _gem(here: Here, gem: str, because: str) -> Iterator[Need | Finding]:
    tree, home, full = here.scene.tree, here.gems[gem], posixpath.basename(gem)
    detail = f"gem {full}"
    for path in _gem_files(here, gem, because):
        yield path if isinstance(path, Finding) else _need(path, because, detail)
    spec = f"{home}/specifications/{full}.gemspec"
    if tree.is_file(spec):
        yield _need(spec, because, detail)
        yield from _commands(here, spec, f"{home}/bin")
        for name in sorted(dependencies(tree.read(spec, LIMIT))):
            folders = here.by_name.get(name, [])
            chosen = [f for f in folders if f in here.used] or folders
            for folder in chosen:
                if here.once(folder):
                    yield from _gem(here, folder, spec)
    built = f"{home}/extensions"  # extensions/PLATFORM/ABI/GEM
    for platform in tree.children(built):
        for abi in tree.children(f"{built}/{platform}"):
            folder = f"{built}/{platform}/{abi}/{full}"
            for path in whole(tree, folder, PART, lambda e: e.path.endswith(LOGS)) or ():
                yield _need(path, because, detail)


def _commands(here: Here, spec: str, folder: str) -> Iterator[Need]:
    """The commands of a gem, by which `bundle exec` and operators start it."""
    tree = here.scene.tree
    for name in sorted(executables(tree.read(spec, LIMIT))):
        places = (f"{place}/{name}" for place in (folder, *here.scene.path_folders))
        for path in filter(tree.is_file, places):
            yield _need(path, spec, "command of the gem")


def _gem_files(here: Here, gem: str, because: str) -> Iterator[str | Finding]:
    tree = here.scene.tree
    real = tree.real(gem)
    if real is None:
        return
    inside = whole(tree, real, APP, lambda e: _gem_extra(e, real))
    if inside is None:
        yield Finding(RULE, gem, "gem too large to keep whole")
        return
    yield gem
    for path in inside:
        yield path
        entry = tree.entries[path]
        if entry.kind is Kind.SYMLINK:  # Debian's gems are links into vendor_ruby
            target = tree.real(path)
            if target and tree.is_dir(target) and not is_shared(tree, target):
                yield from whole(tree, target, PART) or () if target not in here.roots else ()


def _gem_extra(entry: Entry, gem: str) -> bool:
    inside = entry.path[len(gem) + 1 :]
    name = posixpath.basename(entry.path)
    if "/" not in inside:
        upper = name.upper()
        return name in GEM_EXTRAS or upper.startswith(("CHANGELOG", "README", "HISTORY", "NEWS"))
    return inside.startswith("ext/") and name.endswith(EXTENSION_SOURCE)


def _library(here: Here, path: str, root: str) -> Iterator[Need | Finding]:
    """`a/b.rb` on the load path: keep `a/b/**`, where its lazily loaded parts are."""
    feature = path[len(root) + 1 :].rpartition(".")[0]
    top = feature.partition("/")[0]
    if (top in TOOLS and path not in here.scene.touched) or feature in ("rubygems", ""):
        return
    # Beside a vendor library's file, the rest of the library; of the standard library, less.
    name = top if is_vendor(root) else feature
    if name == "rubygems" or not here.once(f"library {name}"):
        return
    tree = here.scene.tree
    for other in here.roots:
        if tree.is_file(f"{other}/{name}.rb"):
            yield _need(f"{other}/{name}.rb", path, f"library {name}")
        real = tree.real(f"{other}/{name}")
        inside = whole(tree, real, PART) if real and tree.is_dir(real) else ()
        if inside is None:
            yield Finding(RULE, f"{other}/{name}", "library too large to keep whole")
        for item in inside or ():
            yield _need(item, path, f"library {name}")


def _application(here: Here, folder: str, because: str) -> Iterator[Need | Finding]:
    def skip(entry: Entry) -> bool:
        gem = here.gem_of(entry.path)
        if gem is not None:
            return _gem_extra(entry, gem)
        return entry.path in (f"{folder}/log", f"{folder}/tmp/cache", f"{folder}/node_modules")

    inside = whole(here.scene.tree, folder, APP, skip)
    if inside is None:
        yield Finding(RULE, folder, "application folder too large to keep whole")
    for path in inside or ():
        yield _need(path, because, f"application in {folder}")


# ---------------------------------------------------------------- requires


def _source(here: Here, entry: Entry) -> Iterator[Need | Finding]:
    if entry.size > LIMIT:
        yield Finding(RULE, entry.path, f"source larger than {LIMIT >> 20} MB: not analysed")
        return
    root, text = here.root_of(entry.path), here.scene.tree.read(entry.path)
    if entry.path not in here.scene.touched and is_tool(entry.path, root or ""):
        text = outer(text, top_of(entry.path, root or ""))
    found = read_requires(text, entry.path)
    if root is None and here.gem_of(entry.path) is None:
        here.extra |= found.folders
        yield from _gems_named(here, entry.path, found)
    yield from _required(here, entry.path, found, library=root is not None)
    if found.broken:
        yield Finding(RULE, entry.path, "syntax not understood in places: analysed in part")
    if found.unknown and entry.path in here.scene.touched and root is None:
        message = f"{found.unknown} requires have names known only at run time"
        yield Finding(RULE, entry.path, message)


def _required(here: Here, source: str, found: Requires, *, library: bool) -> Iterator[Need]:
    for feature in sorted(found.features):
        if library and _for_developers(here, source, feature.partition("/")[0]):
            continue
        for path in _feature(here, feature, plain=library and not is_vendor(here.root_of(source))):
            yield _need(path, source, f"requires {feature}")
    for path in sorted(found.paths):
        for target in _path(here, path):
            yield _need(target, source, f"requires {path}")


def _for_developers(here: Here, source: str, top: str) -> bool:
    """Whether a library asks for a tool that it does without."""
    root = here.root_of(source) or ""
    if top in TOOLS and is_tool(source, root):
        # What a tool that ran loaded at once was seen; of one that did not, only that was read.
        return source in here.scene.touched and top != top_of(source, root)
    return top in TOOLS and not is_vendor(root)


def _gems_named(here: Here, because: str, found: Requires) -> Iterator[Need | Finding]:
    """Gems a Gemfile names (Bundler.require loads them all by name)."""
    for name in sorted(found.gems):
        folders = here.by_name.get(name, [])
        for folder in [f for f in folders if f in here.used] or folders:
            if here.once(folder):
                yield from _gem(here, folder, because)


def _feature(here: Here, feature: str, *, plain: bool) -> list[str]:
    """Where a feature is on the load path: libraries, and (unless `plain`) any installed gem."""
    if "*" in feature or "\n" in feature:
        return []
    key = (feature, plain, frozenset(here.extra))
    if key not in here.places:
        here.places[key] = _look(here, feature, plain=plain)
    return here.places[key]


def _look(here: Here, feature: str, *, plain: bool) -> list[str]:
    tree = here.scene.tree
    ends = [feature] if feature.endswith((".rb", ".so")) else [f"{feature}.rb", f"{feature}.so"]
    tried = [f"{root}/{end}" for root in (*sorted(here.extra), *here.roots) for end in ends]
    found = [path for path in tried if tree.is_file(path)]
    if plain:
        return found
    having = [pair for end in ends for pair in here.in_gems.get(end, ())]
    chosen = [path for gem, path in having if gem in here.used]
    return found + (chosen or ([] if found else [path for _, path in having]))


def _path(here: Here, path: str) -> list[str]:
    tree = here.scene.tree
    if "*" not in path:
        tried = (path, f"{path}.rb", f"{path}.so")
        return [p for p in tried if tree.is_file(p)][:1]
    real = tree.real(posixpath.dirname(path.partition("*")[0]) or "/")
    if real is None or is_shared(tree, real):
        return []
    path = STARS.sub("*", path)
    rules = [glob_regex(path), glob_regex(f"{path}.rb")]
    below = [e.path for e in tree.search(real) if e.kind is Kind.FILE]
    found = [p for p in below if any(rule.fullmatch(p) for rule in rules)]
    return found if len(found) <= MOST_MATCHES else []
