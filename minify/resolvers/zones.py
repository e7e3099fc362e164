"""Time zones: a program that can tell local time may be told another zone when it next starts.

`TZ` is read by tzset(3) below localtime(3) and mktime(3), so whoever imports one of these can use
any zone. Zone files alone are kept for it; tables beside them are for those that list the zones,
which other rules know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minify.elf.header import read_elf
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene

RULE = "zones"
ZONES = "/usr/share/zoneinfo"
MIN_SIZE = 52
MAX_NAMES = 16 << 20  # bytes of a table of imported names
# Names end at a NUL but may begin within another one: linkers merge common ends.
LOCAL_TIME = re.compile(rb"(?:localtime|mktime|tzset)(?:64)?(?:_r|_rz)?\0|\0(?:__)?ctime(?:_r)?\0")
EVERYTHING = re.compile(rb"tzdb")  # std::chrono reads tzdata.zi and the leap seconds
LIBC = re.compile(r"(?:libc\.so\.6|libc-2\.\d+\.so|libc\.so|libc\.musl-.*|ld-.*|ld\.so.*)$")
SKIPPED = ("right", "posix")
TZIF = b"TZif"  # RFC 8536, section 3.1


class Zones:
    """Resolver of the time zones for programs that use the C library's local time."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._done: set[bool] = set()

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the zones when a kept program, or a library that ran, can tell local time."""
        if self._scene is not scene:
            self._scene, self._done = scene, set()
        if entry.kind is not Kind.FILE or entry.size < MIN_SIZE or len(self._done) == 2:
            return
        # A library that nothing used is there for what it is needed by; a program can be started.
        name = entry.path.rpartition("/")[2]
        program = entry.executable and ".so" not in name
        if LIBC.fullmatch(name) or not (program or entry.path in scene.touched):
            return
        names = _names(scene, entry)
        everything = EVERYTHING.search(names) is not None
        if everything in self._done or not (everything or LOCAL_TIME.search(names)):
            return
        self._done.add(everything)
        yield from _zones(scene, entry, everything=everything)


def make() -> Resolver:
    """Make the resolver."""
    return Zones()


def _names(scene: Scene, entry: Entry) -> bytes:
    """Read the table of the names a file imports and exports; empty for what is no ELF file."""
    with scene.tree.opener(entry) as stream:
        if stream.read(4) != b"\x7fELF":
            return b""
        stream.seek(0)
        facts = read_elf(stream)
        offset, size = facts.strings if facts is not None else (0, 0)
        if not size or offset >= entry.size:
            return b""
        stream.seek(offset)
        return b"\0" + stream.read(min(size, MAX_NAMES))


def _zones(scene: Scene, entry: Entry, *, everything: bool) -> Iterator[Need | Finding]:
    root = scene.tree.real(ZONES)
    if root is None or not scene.tree.is_dir(root):
        return
    reason = Reason(RULE, entry.path, "can tell local time: TZ may name any zone")
    left = tuple(f"{root}/{name}" for name in SKIPPED)
    size = count = 0
    for found in scene.tree.walk(root):
        if found.path in left or found.path.startswith(tuple(f"{p}/" for p in left)):
            continue
        if found.kind is Kind.FILE and not everything and not _is_zone(scene, found):
            continue
        yield Need(found.path, reason)
        if found.kind is Kind.FILE:
            size, count = size + found.size, count + 1
    if count:
        yield Finding(RULE, root, f"kept {count} zones, {size} bytes, for {entry.path}")


def _is_zone(scene: Scene, entry: Entry) -> bool:
    with scene.tree.opener(entry) as stream:
        return stream.read(4) == TZIF
