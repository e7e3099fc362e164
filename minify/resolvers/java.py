"""Java: the run-time image around a virtual machine, its class path, and exploded classes.

A virtual machine opens very little by name at start and everything else when it is first asked:
providers, time zones, charsets, its own native libraries, and jars further down the class path.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Callable, Iterable, Iterator

from minify.folders import Bounds, is_shared, whole
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.java_archive import (
    arguments,
    beside,
    class_name,
    class_path,
    options,
)

RULE = "java"
JAR = (".jar", ".war", ".ear", ".zip")
# Only compilers and debuggers read these: sources, symbols of older releases, debug symbols.
TOOLING = frozenset({"src.zip", "ct.sym", "jmods", "include", "demo", "sample", "man", "legal"})
DEBUG = (".diz", ".debuginfo")
# Loaded only where there is a display: GraphicsEnvironment is headless without DISPLAY.
DISPLAY = frozenset({"libawt_xawt.so", "libsplashscreen.so", "libjawt.so"})
# Optional archives that speed up start; another heap layout merely starts without one.
ARCHIVES = (".jsa",)
APP = Bounds(files=20_000, size=512 * 1024 * 1024)
FONTS = Bounds(files=3_000, size=32 * 1024 * 1024)
LAUNCHER = 1 << 16  # bytes
RUNTIME = Bounds(files=5_000, size=1024 * 1024 * 1024)
TRUST = ("/etc/ssl/certs/java", "/etc/pki/java", "/etc/pki/ca-trust/extracted/java")


class Java:
    """Resolver of virtual machines, jars and class files."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._done: set[str] = set()

    def _first(self, scene: Scene, what: str) -> bool:
        """Whether a folder has not been answered for in this scene."""
        if self._scene is not scene:
            self._scene, self._done = scene, set()
        new = what not in self._done
        self._done.add(what)
        return new

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what a virtual machine, a jar, or a class file needs beside itself."""
        if entry.kind is not Kind.FILE:
            return ()
        name = posixpath.basename(entry.path)
        if name in ("libjvm.so", "java", "libjli.so"):
            home = _home(scene, entry.path)
            new = home is not None and self._first(scene, home)
            return _machine(scene, entry.path, home) if home and new else ()
        if name.endswith(JAR):
            return self._jar(scene, entry)
        if name.endswith(".class") and entry.path in scene.touched:
            return self._classes(scene, entry)
        return ()

    def _jar(self, scene: Scene, entry: Entry) -> Iterator[Need | Finding]:
        """A jar: what its manifest names, the jars beside it, the web application it is in."""
        if entry.path.endswith(".jar"):
            yield from _manifest(scene, entry)
        if entry.path not in scene.touched:
            return
        folder = posixpath.dirname(entry.path)
        if "/WEB-INF/" in entry.path:
            root = entry.path.partition("/WEB-INF/")[0]
            if self._first(scene, root):
                yield from _app_folder(scene, entry.path, root, "web application")
        elif not is_shared(scene.tree, folder) and self._first(scene, f"{folder}/*.jar"):
            for name in scene.tree.children(folder):
                if name.lower().endswith(JAR[:3]):
                    yield _need(f"{folder}/{name}", entry.path, "jar beside a jar in use")

    def _classes(self, scene: Scene, entry: Entry) -> Iterator[Need | Finding]:
        """A class file: everything below the root of its package tree is the application's."""
        name = class_name(scene.tree.read(entry.path))
        stem = entry.path.removesuffix(".class")
        if not name or not stem.endswith(f"/{name}"):
            yield Finding(RULE, entry.path, "not a class file, or not in its package's folder")
            return
        root = stem.removesuffix(f"/{name}") or "/"
        for marker in ("/WEB-INF", "/BOOT-INF"):
            root = root.partition(marker)[0] if f"{marker}/" in f"{root}/" else root
        if self._first(scene, root):
            yield from _app_folder(scene, entry.path, root, "classes of the application")


def make() -> Resolver:
    """Make the resolver."""
    return Java()


def _need(path: str, because: str, detail: str) -> Need:
    return Need(path, Reason(RULE, because, detail))


def _home(scene: Scene, path: str) -> str | None:
    """The run-time image a part of it belongs to: where lib/modules (9+) or lib/rt.jar (8) is."""
    at = posixpath.dirname(path)
    while at not in ("/", ""):
        for home in (at, f"{at}/jre"):
            if scene.tree.is_file(f"{home}/lib/modules") or scene.tree.is_file(
                f"{home}/lib/rt.jar"
            ):
                return home
        at = posixpath.dirname(at)
    return None


def _machine(scene: Scene, because: str, home: str) -> Iterator[Need | Finding]:
    display = "DISPLAY" in {**scene.config.environment, **scene.env}

    def skip(entry: Entry) -> bool:
        name = posixpath.basename(entry.path)
        if name in TOOLING or name.endswith((*DEBUG, *ARCHIVES)):
            return True
        return name in DISPLAY and not display

    for part in ("lib", "conf"):
        yield from _folder(scene, because, f"{home}/{part}", "part of the Java run-time", skip)
    yield _need(f"{home}/release", because, "names the Java version")
    yield from _launchers(scene, because, f"{home}/bin")
    for folder in TRUST:
        yield from _folder(scene, because, folder, "trust store", skip)
    if scene.tree.get(f"{home}/lib/libfontmanager.so") is not None:
        yield from _fonts(scene, because)
    yield from _command_lines(scene, because)


def _launchers(scene: Scene, because: str, folder: str) -> Iterator[Need]:
    """The other commands of the run-time (keytool, jcmd): some kilobytes each, the code is there.

    With the names that alternatives(1) gives them on PATH.
    """
    tree = scene.tree
    for name in tree.children(tree.real(folder) or folder):
        entry = tree.resolve(f"{folder}/{name}").entry
        if entry is None or not entry.executable or entry.size > LAUNCHER:
            continue
        places = (f"{place}/{name}" for place in scene.path_folders)
        links = (path for path in places if tree.real(path) == entry.path)
        for path in (f"{folder}/{name}", *links):
            yield _need(path, because, "command of the Java run-time")


def _nothing(_entry: Entry) -> bool:
    return False


def _folder(
    scene: Scene, because: str, path: str, detail: str, skip: Callable[[Entry], bool] = _nothing
) -> Iterator[Need | Finding]:
    """Keep a folder, and the targets of the symlinks in it (Debian has conf in /etc)."""
    real = scene.tree.real(path)
    if real is None or not scene.tree.is_dir(real):
        return
    inside = whole(scene.tree, real, RUNTIME, skip)
    if inside is None:
        yield Finding(RULE, real, "too large to keep whole")
        return
    yield _need(path, because, detail)
    for item in inside:
        yield _need(item, because, detail)
        entry = scene.tree.entries[item]
        target = scene.tree.resolve(item) if entry.kind is Kind.SYMLINK else None
        if target and target.real and target.entry and target.entry.kind is Kind.DIR:
            for below in whole(scene.tree, target.real, RUNTIME, skip) or ():
                yield _need(below, because, detail)


def _fonts(scene: Scene, because: str) -> Iterator[Need | Finding]:
    # Text can be drawn without a display (charts, PDF); fontconfig then says with which font.
    if not scene.tree.is_dir("/etc/fonts"):
        return
    for folder in ("/etc/fonts", "/usr/share/fontconfig", "/usr/share/fonts"):
        real = scene.tree.real(folder)
        inside = whole(scene.tree, real, FONTS) if real else ()
        if inside is None:
            yield Finding(RULE, folder, "fonts are too large to keep whole")
        for item in inside or ():
            yield _need(item, because, "fonts")


# ---------------------------------------------------------------- the class path


def _command_lines(scene: Scene, because: str) -> Iterator[Need | Finding]:
    env = {**scene.config.environment, **scene.env}
    lines = {argv[1:] for argv in scene.argvs if argv and posixpath.basename(argv[0]) == "java"}
    said = (*scene.config.entrypoint, *scene.config.cmd)
    names = [posixpath.basename(word) for word in said]
    if "java" in names:
        lines.add(said[names.index("java") + 1 :])
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_OPTS"):
        lines.add(arguments(env.get(name, "")))
    lines.add(("-cp", env.get("CLASSPATH", "")))
    for line in sorted(lines):
        expanded = tuple(word for item in line for word in _argument_file(scene, item))
        entries, others = options(expanded)
        for entry in entries:
            yield from _class_path_entry(scene, because, entry)
        for path in others:
            yield from _named(scene, because, path)


def _argument_file(scene: Scene, word: str) -> tuple[str, ...]:
    path = posixpath.join(scene.config.workdir or "/", word[1:])
    if word.startswith("@") and scene.tree.is_file(path):
        text = scene.tree.read(path, 1024 * 1024).decode("utf-8", "surrogateescape")
        return (path, *arguments(text))
    return (word,)


def _class_path_entry(scene: Scene, because: str, entry: str) -> Iterator[Need | Finding]:
    path = posixpath.normpath(posixpath.join(scene.config.workdir or "/", entry))
    if posixpath.basename(path) == "*":
        folder = scene.tree.real(posixpath.dirname(path))
        for name in scene.tree.children(folder) if folder else ():
            if name.lower().endswith(".jar"):
                yield _need(f"{folder}/{name}", because, f"class path {entry}")
        return
    if scene.tree.is_dir(path):
        yield from _app_folder(scene, because, path, f"class path {entry}")
    elif scene.tree.is_file(path):
        yield _need(path, because, f"class path {entry}")


def _named(scene: Scene, because: str, path: str) -> Iterator[Need | Finding]:
    if scene.tree.is_file(path):
        yield _need(path, because, "named on the command line")
    elif scene.tree.is_dir(path):
        yield from _app_folder(scene, because, path, "named on the command line")


def _app_folder(scene: Scene, because: str, path: str, detail: str) -> Iterator[Need | Finding]:
    if is_shared(scene.tree, path):
        return
    real = scene.tree.real(path)
    inside = whole(scene.tree, real, APP) if real else None
    if inside is None:
        yield Finding(RULE, path, f"too large to keep whole ({detail})")
        return
    yield _need(path, because, detail)
    for item in inside:
        yield _need(item, because, detail)


def _manifest(scene: Scene, entry: Entry) -> Iterator[Need | Finding]:
    try:
        with scene.tree.open(entry.path) as stream:
            whole_file = stream if stream.seekable() else io.BytesIO(stream.read())
            urls = class_path(whole_file)
    except ValueError as error:
        yield Finding(RULE, entry.path, f"manifest cannot be read: {error}")
        return
    for url in urls:
        path = beside(entry.path, url)
        if scene.tree.is_file(path):
            yield _need(path, entry.path, f"Class-Path {url}")
        elif url.endswith("/") and scene.tree.is_dir(path):
            yield from _app_folder(scene, entry.path, path, f"Class-Path {url}")
