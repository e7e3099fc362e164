"""A script being read, and how the names in it are looked up: commands, files, patterns."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import DEFAULT_PATH, Reason
from minify.resolvers import Need, Scene
from minify.resolvers.shell_data import BUILTINS
from minify.resolvers.shell_parse import Names, initial
from minify.tree import glob_regex

RULE = "shell"
# What a package's own script installs, was installed before the image was made.
MANAGERS = frozenset(
    {"apk", "apt", "apt-get", "aptitude", "dnf", "dpkg", "microdnf", "opkg", "pacman", "rpm",
     "snap", "tdnf", "yum", "zypper"}
)  # fmt: skip
DIR_FILES, DIR_BYTES = 200, 1024 * 1024  # a directory a script works on is kept up to this


@dataclass
class Reading:
    """One script being read, with everything it sources."""

    scene: Scene
    because: str
    shell: str
    names: Names
    done: set[bytes] = field(default_factory=set)
    unknown: int = 0

    @property
    def path(self) -> list[str]:
        """Where commands are looked up: PATH as the image and the script set it."""
        told = [p for value in sorted(self.names.values.get("PATH", ())) for p in value.split(":")]
        return list(dict.fromkeys(p for p in told if p.startswith("/"))) or DEFAULT_PATH.split(":")

    @cached_property
    def packaged(self) -> bool:
        """Whether the script is a package's: none of its author's."""
        script = self.names.script
        return bool(script) and self.scene.owned.package_of(script) is not None

    def need(self, path: str, detail: str) -> Need:
        """Name a path to keep."""
        return Need(path, Reason(RULE, self.because, detail))


def begin(scene: Scene, because: str, script: str, shell: str) -> Reading:
    """Begin to read a script, or text for a shell (`script` is empty then), found by `because`."""
    workdir = scene.config.workdir or "/"
    names = Names(script, workdir, initial({**scene.config.environment, **scene.env}))
    return Reading(scene, because, shell, names)


def is_builtin(reading: Reading, name: str) -> bool:
    """Whether the shell at hand does a command itself."""
    return name in BUILTINS.get(reading.shell, BUILTINS["posix"])


def lookup(reading: Reading, name: str) -> str | None:
    """Find a command as execvp(3) does: on PATH, or where its slash says."""
    tree = reading.scene.tree
    if not name or len(name) > 255 or "\n" in name:
        return None
    if reading.packaged and posixpath.basename(name) in MANAGERS:
        return None
    if "/" in name:
        tried = _bases(reading, name)
    else:
        tried = [f"{directory}/{name}" for directory in reading.path]
    for path in tried:
        entry = tree.resolve(path).entry
        if entry is not None and entry.executable:
            return path
    return None


def _bases(reading: Reading, name: str) -> list[str]:
    if name.startswith("/"):
        return [posixpath.normpath(name)]
    here = posixpath.dirname(reading.names.script) or "/"
    bases = dict.fromkeys((reading.names.workdir, here))
    return [posixpath.normpath(posixpath.join(base, name)) for base in bases]


def find_files(reading: Reading, name: str) -> list[str]:
    """The files a word names: a path, a glob, or (for `.`) a name on PATH."""
    tree = reading.scene.tree
    if not name or len(name) > 1024 or "\n" in name:
        return []
    tried = _bases(reading, name)
    if "/" not in name:
        tried += [f"{directory}/{name}" for directory in reading.path]
    if any(c in name for c in "*?["):
        return [p for pattern in tried for p in _glob(reading, pattern)]
    return [path for path in tried if tree.is_file(path)][:1]


def _glob(reading: Reading, pattern: str) -> list[str]:
    head = posixpath.dirname(pattern.partition("*")[0].partition("?")[0].partition("[")[0])
    real = reading.scene.tree.real(head or "/")
    if real is None or real in ("/", "/usr", "/proc", "/sys"):
        return []
    if pattern.count("**") > 1:
        return []
    rule = glob_regex(posixpath.normpath(pattern))
    found, size = [], 0
    for entry in reading.scene.tree.search(real):
        shown = head.rstrip("/") + entry.path[len(real) :]
        if rule.fullmatch(shown):
            found.append(shown)
            size += entry.size
        if len(found) > DIR_FILES or size > DIR_BYTES:
            return []
    return found
