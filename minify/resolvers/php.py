"""PHP: what its ini files load, and the source files a running script may still include.

Asked for an interpreter, it keeps the configuration and the extensions that names; asked for a
source file in use, it keeps the application around it and follows its includes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from minify.folders import Bounds, is_shared, own_root, whole
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Answered, Need, Resolver, Scene
from minify.resolvers.php_source import Includes, read_includes, read_ini
from minify.syntax import LIMIT
from minify.tree import glob_regex

RULE = "php"
SOURCE = (".php", ".phtml", ".inc", ".php5", ".php7", ".php8")
# Where the packagings keep configuration: Debian, the official image, Alpine, Red Hat.
CONFIGURATION = ("/etc/php", "/usr/local/etc/php", "/usr/local/etc/php-fpm.d", "/etc/php-fpm.d",
                 "/etc/php.d", "/etc/php-zts.d")  # fmt: skip
CONFIGURATION_FILES = ("/etc/php.ini", "/etc/php-fpm.conf", "/usr/local/etc/php-fpm.conf",
                       "/usr/local/etc/pear.conf")  # fmt: skip
INTERPRETER = re.compile(r"(lib)?(php|php-fpm|php-cgi|phpdbg|mod_php)[-\d.]*(\.so)?")
STARS = re.compile(r"\*{2,}")
ALPINE = re.compile(r"php\d+")
# PHP_EXTENSION_DIR as compiled in: an absolute path of plain characters.
COMPILED_DIR = re.compile(rb"/(?:usr|opt|lib)[\w/.+-]{0,200}/(?:php|extensions|modules)[\w/.+-]*")
ZONES = "/usr/share/zoneinfo"
APP = Bounds(files=40_000, size=512 * 1024 * 1024)
SMALL = Bounds(files=2_000, size=64 * 1024 * 1024)
# Folders whose sub-folders are applications or libraries, each of its own.
SHELVES = frozenset({"/var/www", "/srv/www", "/srv/http", "/usr/share/php", "/usr/share/pear",
                     "/usr/local/lib/php", "/usr/share/webapps", "/usr/share/nginx"})  # fmt: skip
MOST_MATCHES = 500


@dataclass
class _Here(Answered):
    """A scene, what has been answered for in it, and its PHP settings."""

    @cached_property
    def settings(self) -> tuple[tuple[str, str, str], ...]:
        """Every (ini file, key, value)."""
        tree = self.scene.tree
        files = [p for p in dict.fromkeys(_ini_files(self.scene)) if tree.is_file(p)]
        return tuple(
            (path, key, value)
            for path in files
            if path.endswith((".ini", ".conf"))
            for key, value in read_ini(tree.read(path, LIMIT))
        )

    def values(self, *keys: str) -> list[str]:
        """What all settings of these names say."""
        return [value for _, key, value in self.settings if key in keys]


class Php:
    """Resolver of PHP interpreters and PHP source."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._here: _Here | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what an interpreter's settings load, or what a source file may include."""
        if entry.kind is not Kind.FILE:
            return
        if self._here is None or self._here.scene is not scene:
            self._here = _Here(scene)
        here = self._here
        if is_interpreter(posixpath.basename(entry.path)) and _is_elf(scene, entry):
            yield from _interpreter(here, entry)
            if here.once("configuration"):
                yield from _configuration(here, entry.path)
            return
        if not _is_source(scene, entry):
            return
        if entry.path in scene.touched:
            root = own_root(scene.tree, entry.path, SHELVES)
            if root and here.once(root):
                yield from _application(scene, entry.path, root)
        yield from _source(here, entry)


def make() -> Resolver:
    """Make the resolver."""
    return Php()


def is_interpreter(name: str) -> bool:
    """Whether a file name is one that PHP's interpreters have ("php-fpm8.2", "libphp.so")."""
    return bool(INTERPRETER.fullmatch(name) or ALPINE.fullmatch(name.replace("-fpm", "")))


def _need(path: str, because: str, detail: str) -> Need:
    return Need(path, Reason(RULE, because, detail))


def _is_elf(scene: Scene, entry: Entry) -> bool:
    return scene.tree.read(entry.path, 4) == b"\x7fELF"


def _is_source(scene: Scene, entry: Entry) -> bool:
    if entry.path.endswith(SOURCE):
        return True
    if not entry.executable or entry.size < 8:
        return False
    head = scene.tree.read(entry.path, 64).split(b"\n", 1)[0]
    return head.startswith(b"#!") and b"php" in head


# ---------------------------------------------------------------- interpreter and settings


def _interpreter(here: _Here, entry: Entry) -> Iterator[Need | Finding]:
    """The extension folder compiled into an interpreter, and Debian's time zones."""
    scene = here.scene
    if entry.size > 256 * 1024 * 1024:
        yield Finding(RULE, entry.path, "interpreter too large to read")
        return
    data = scene.tree.read(entry.path)
    folders = {
        m.decode() for m in COMPILED_DIR.findall(data) if scene.tree.is_dir(m.decode("ascii"))
    }
    wanted = sorted(set(here.values("extension", "zend_extension")))
    for folder in sorted(folders | set(here.values("extension_dir"))):
        for name in wanted:
            for path in (f"{folder}/{name}", f"{folder}/{name}.so", f"{folder}/php_{name}.so"):
                if scene.tree.is_file(path):
                    yield _need(path, entry.path, f"extension {name}")
    if ZONES.encode() in data and scene.tree.is_dir(ZONES):
        skip = frozenset({f"{ZONES}/right", f"{ZONES}/posix"})
        for path in whole(scene.tree, ZONES, SMALL, lambda e: e.path in skip) or ():
            yield _need(path, entry.path, "time zones, which this PHP reads from here")


def _ini_files(scene: Scene) -> Iterator[str]:
    extra = [f"/etc/{name}" for name in scene.tree.children("/etc") if ALPINE.fullmatch(name)]
    for folder in (*CONFIGURATION, *extra):
        real = scene.tree.real(folder)
        inside = (whole(scene.tree, real, SMALL) or ()) if real else ()
        # What is available but not linked into conf.d is not enabled.
        yield from (path for path in inside if "/mods-available/" not in path)
    yield from (path for path in CONFIGURATION_FILES if scene.tree.is_file(path))
    env = {**scene.config.environment, **scene.env}
    for name in ("PHPRC", "PHP_INI_SCAN_DIR", "PHP_INI_DIR"):
        for folder in filter(None, env.get(name, "").split(":")):
            real = scene.tree.real(folder)
            if real and not is_shared(scene.tree, folder):
                yield from whole(scene.tree, real, SMALL) or (real,)


def _configuration(here: _Here, because: str) -> Iterator[Need | Finding]:
    scene = here.scene
    for path in dict.fromkeys(_ini_files(scene)):
        yield _need(path, because, "configuration")
    for ini, key, value in here.settings:
        for item in value.split(":") if key == "include_path" else (value,):
            if not item.startswith("/"):
                continue
            if "*" in item:
                for path in _matches(scene, item):
                    yield _need(path, ini, f"{key} = {value}")
            elif scene.tree.resolve(item).entry is not None:
                yield _need(posixpath.normpath(item), ini, f"{key} = {value}")


# ---------------------------------------------------------------- source


def _application(scene: Scene, because: str, root: str) -> Iterator[Need | Finding]:
    bounds = APP if not is_shared(scene.tree, root) else SMALL
    inside = whole(scene.tree, root, bounds, _not_for_use)
    if inside is None:
        yield Finding(RULE, root, "application folder too large to keep whole")
        root = posixpath.dirname(because)
        inside = whole(scene.tree, root, SMALL, _not_for_use) or ()
    for path in inside:
        yield _need(path, because, f"application in {root}")


def _not_for_use(entry: Entry) -> bool:
    """Tests and manuals of Composer packages: vendor/NAME/PACKAGE/{tests,docs}."""
    parts = entry.path.split("/")
    if len(parts) < 4 or parts[-4] != "vendor":
        return False
    return parts[-1].lower() in ("tests", "docs", "doc", "phpunit.xml.dist", "changelog.md",
                                 "readme.md", "upgrade.md")  # fmt: skip


def _source(here: _Here, entry: Entry) -> Iterator[Need | Finding]:
    """Follow the includes of a file; of those in an application only ones that may leave it."""
    scene = here.scene
    if entry.size > LIMIT:
        yield Finding(RULE, entry.path, f"source larger than {LIMIT >> 20} MB: not analysed")
        return
    inside = "/vendor/" in entry.path and entry.path not in scene.touched
    data = b"" if inside else scene.tree.read(entry.path)
    if not any(word in data for word in (b"require", b"include", b"REQUIRE", b"INCLUDE")):
        return
    found = read_includes(data, entry.path)
    for path in sorted(found.paths):
        for target in _targets(here, entry.path, path):
            yield _need(target, entry.path, f"includes {path}")
            folder = posixpath.dirname(target)
            if (
                target.endswith("/autoload.php")
                and own_root(scene.tree, target, SHELVES)
                and here.once(folder)
            ):
                yield from _application(scene, entry.path, folder)
    yield from _unexplained(entry.path, found)


def _unexplained(path: str, found: Includes) -> Iterator[Finding]:
    if found.broken:
        yield Finding(RULE, path, "syntax not understood in places: analysed in part")
    if found.unknown:
        yield Finding(RULE, path, f"{found.unknown} includes have names known only at run time")


def _targets(here: _Here, source: str, path: str) -> list[str]:
    """Where an include leads (PHP manual, "include"): include_path, the script's folder, cwd."""
    scene = here.scene
    if path.startswith("/"):
        tried = [posixpath.normpath(path)]
    else:
        told = [item for value in here.values("include_path") for item in value.split(":")]
        told += ["/usr/share/php", "/usr/share/pear", "/usr/local/lib/php"]
        bases = [posixpath.dirname(source), scene.config.workdir or "/", *told]
        tried = [posixpath.normpath(posixpath.join(b, path)) for b in bases if b.startswith("/")]
    if "*" in path:
        return [match for pattern in tried for match in _matches(scene, pattern)]
    return [target for target in dict.fromkeys(tried) if scene.tree.is_file(target)][:2]


def _matches(scene: Scene, pattern: str) -> list[str]:
    head = posixpath.dirname(pattern.partition("*")[0])
    real = scene.tree.real(head or "/")
    if real is None or is_shared(scene.tree, real):
        return []
    rule = glob_regex(STARS.sub("*", pattern))
    found = []
    for entry in scene.tree.search(real):
        shown = head + entry.path[len(real) :]
        if entry.kind is Kind.FILE and rule.fullmatch(shown):
            found.append(shown)
            if len(found) > MOST_MATCHES:
                return []
    return found
