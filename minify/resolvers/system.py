"""What the C library loads by name at run time: the services of nsswitch.conf; places to write.

glibc opens `libnss_NAME.so.2` for each service that nsswitch.conf(5) names. Since glibc 2.34
`files` and `dns` are inside libc itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minify.model import Entry, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene

RULE = "system"
NSSWITCH = "/etc/nsswitch.conf"
LIBC = re.compile(r"libc(\.so\.6|-2\.\d+\.so)$")
BUILT_IN = frozenset({"files", "dns"})
BUILT_IN_SINCE = (2, 34)
# What glibc looks up without a configuration (nsswitch.conf(5), FILES), and before 2.34 anyway.
DEFAULT = frozenset({"files", "dns"})
_RELEASE = re.compile(rb"GNU C Library [^\0]{0,80}? version (\d+)\.(\d+)")
SETTINGS_LIMIT = 1 << 20


class System:
    """Resolver of glibc's name services."""

    name = RULE
    level = KeepLevel.EXACT

    def __init__(self) -> None:
        self._places_of: object = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need]:
        """Name the name-service libraries beside a kept glibc, and directories made to write to."""
        if scene.level is not KeepLevel.EXACT and self._places_of is not scene.tree:
            self._places_of = scene.tree
            yield from _writable(scene)
        if entry.kind is Kind.FILE and LIBC.fullmatch(entry.path.rpartition("/")[2]):
            yield from _services(scene, entry)


def make() -> Resolver:
    """Make the resolver."""
    return System()


def _services(scene: Scene, libc: Entry) -> Iterator[Need]:
    found = _RELEASE.search(scene.tree.read(libc.path))
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    told = services(_settings(scene))
    wanted = told - BUILT_IN if version >= BUILT_IN_SINCE else told | DEFAULT
    folder = libc.path.rpartition("/")[0]
    for name in sorted(wanted):
        # Hosts' distributions put libc in /lib and other packages' services in /usr/lib.
        for where in dict.fromkeys((folder, f"/usr{folder}", folder.removeprefix("/usr"))):
            path = f"{where}/libnss_{name}.so.2"
            if scene.tree.is_file(path):
                yield Need(path, Reason(RULE, NSSWITCH, f"name service {name}"))
                break


def _settings(scene: Scene) -> str:
    entry = scene.tree.resolve(NSSWITCH).entry
    if entry is None or entry.kind is not Kind.FILE:
        return ""
    return scene.tree.read(NSSWITCH, SETTINGS_LIMIT).decode("utf-8", "replace")


def services(text: str) -> frozenset[str]:
    """Name the services in the text of an nsswitch.conf, without their `[action]` terms."""
    found: set[str] = set()
    for line in text.splitlines():
        database, colon, rest = line.partition("#")[0].partition(":")
        if colon and database.strip():
            found.update(re.sub(r"\[[^\]]*\]", " ", rest).split())
    return frozenset(n for n in found if re.fullmatch(r"[\w-]+", n))


def _writable(scene: Scene) -> Iterator[Need]:
    """Keep directories that somebody but root may write to: a program may make files there."""
    for path, entry in scene.tree.entries.items():
        if entry.lent and not _apart(scene, path):
            yield Need(path, Reason(RULE, path, "a directory made to be written to"))


def _apart(scene: Scene, path: str) -> bool:
    """Whether a directory lies deep in a tree that is wholly its owner's: its content decides."""
    above = scene.tree.get(path.rpartition("/")[0] or "/")
    return above is not None and bool(above.uid)
