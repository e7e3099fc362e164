"""The files that tell glibc's loader where libraries are: /etc/ld.so.cache and /etc/ld.so.conf.

The cache is binary (glibc, sysdeps/generic/dl-cache.h): the old format, the new one, or the new
one behind the old.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from minify.model import Kind
from minify.tree import Tree, glob_regex

CACHE, CONF = "/etc/ld.so.cache", "/etc/ld.so.conf"
OLD, NEW = b"ld.so-1.7.0", b"glibc-ld.so.cache1.1"
MAX_CONF_FILES = 200


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One line of `ldconfig -p`; `hwcap` is not 0 for a variant that only some CPUs get."""

    soname: str
    path: str
    flags: int = 0
    hwcap: int = 0


def read_cache(data: bytes) -> tuple[CacheRow, ...]:
    """Read an ld.so.cache, in its own order; what is damaged is left out."""
    try:
        if data.startswith(NEW):
            return tuple(_new(data))
        if data.startswith(OLD):
            return tuple(_old(data))
    except struct.error:
        pass
    return ()


def rows_of(tree: Tree) -> dict[str, list[CacheRow]]:
    """The rows of an image's cache by soname; none where it has no cache."""
    found: dict[str, list[CacheRow]] = {}
    for row in read_cache(tree.read(CACHE)) if tree.is_file(CACHE) else ():
        found.setdefault(row.soname, []).append(row)
    return found


def _order(data: bytes, at: int, row: int) -> str:
    """Tell the byte order by which reading of the row count fits into the file."""
    little = struct.unpack_from("<I", data, at)[0]
    return "<" if little * row <= len(data) else ">"


def _old(data: bytes) -> Iterator[CacheRow]:
    order = _order(data, 12, 12)
    count = struct.unpack_from(order + "I", data, 12)[0]
    strings = 16 + count * 12
    behind = data[(strings + 7) // 8 * 8 :]
    if behind.startswith(NEW):
        yield from _new(behind)
        return
    for flags, key, value in struct.Struct(order + "iII").iter_unpack(data[16:strings]):
        yield from _row(data, strings + key, strings + value, (flags, 0))


def _new(data: bytes) -> Iterator[CacheRow]:
    order = _order(data, 20, 24)
    count = struct.unpack_from(order + "I", data, 20)[0]
    table = data[48 : 48 + count * 24]
    table = table[: len(table) // 24 * 24]
    for flags, key, value, _, hwcap in struct.Struct(order + "iIIIQ").iter_unpack(table):
        yield from _row(data, key, value, (flags, hwcap))


def _row(data: bytes, key: int, value: int, kind: tuple[int, int]) -> Iterator[CacheRow]:
    soname, path = _string(data, key), _string(data, value)
    if soname and path.startswith("/"):
        yield CacheRow(soname, path, *kind)


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at, at + 4096)
    return data[at:end].decode("utf-8", "surrogateescape") if end > at else ""


def read_conf(tree: Tree, path: str = CONF) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read ld.so.conf with its includes (ldconfig(8)): the directories, and the files read."""
    dirs: dict[str, None] = {}
    files: dict[str, None] = {}
    todo = [("", f"include {path}")]
    while todo:
        name, line = todo.pop()
        words = line.partition("#")[0].replace(",", " ").replace(":", " ").split()
        if words[:1] == ["include"]:
            base = posixpath.dirname(name)
            found = [f for w in words[1:] for f in _glob(tree, posixpath.join(base, w))]
            for file in reversed([f for f in found if f not in files][:MAX_CONF_FILES]):
                todo += _lines(tree, file)
            files.update(dict.fromkeys(found))
        elif words and words[0] != "hwcap":
            dirs.update(dict.fromkeys(w.partition("=")[0] for w in words))
    return tuple(d for d in dirs if d.startswith("/")), tuple(files)


def _lines(tree: Tree, file: str) -> list[tuple[str, str]]:
    """Read a file's lines, the last one first, each with the file it is in."""
    text = tree.read(file, 1 << 20).decode("utf-8", "surrogateescape")
    return [(file, line) for line in reversed(text.splitlines())]


def _glob(tree: Tree, pattern: str) -> list[str]:
    """Expand a pattern whose last part alone may hold wildcards, as in every known ld.so.conf."""
    folder, _, last = pattern.rpartition("/")
    real = tree.real(folder or "/")
    if real is None:
        return []
    rule = glob_regex(last)
    names = [n for n in tree.children(real) if rule.fullmatch(n) and not n.startswith(".")]
    entries = (tree.resolve(f"{real}/{n}").entry for n in names)
    return [
        f"{folder}/{n}" for n, e in zip(names, entries, strict=True) if e and e.kind is Kind.FILE
    ]
