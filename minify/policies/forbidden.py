"""The words of `--forbid`, read from `policies/forbidden.yaml`, and what they find in an image."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from minify.errors import UsageError
from minify.globs import Globs, compile_globs
from minify.model import Entry, Kind
from minify.tree import Tree
from minify.yamltext import parse_yaml

HEAD = 64 << 10  # bytes looked at for `contains`
TEXT_MAX = 1 << 20  # larger files are no key files


@dataclass(frozen=True)
class Word:
    """A row: every condition that is given has to hold. `users`: a rule about the configuration."""

    name: str
    reason: str
    kinds: frozenset[Kind]
    programs: re.Pattern[str] | None = None
    globs: Globs | None = None
    modes: int = 0
    unless: int = 0
    xattr: str = ""
    contains: re.Pattern[bytes] | None = None
    links: bool = True
    users: tuple[str, ...] = ()

    def named(self, path: str) -> bool:
        """Whether a path is one the row names; a row that names none means all."""
        if self.programs is None and self.globs is None:
            return True
        folder, _, name = path.rpartition("/")
        program = self.programs is not None and folder.endswith("bin")
        if program and self.programs is not None and self.programs.fullmatch(name):
            return True
        return self.globs is not None and self.globs.match(path)

    def fits(self, entry: Entry) -> bool:
        """Whether the attributes of what a path leads to are the forbidden ones."""
        return (
            entry.kind in self.kinds
            and (not self.modes or bool(entry.mode & self.modes))
            and not entry.mode & self.unless
            and (not self.xattr or any(name == self.xattr for name, _ in entry.xattrs))
        )


def words_of(names: Iterable[str]) -> tuple[Word, ...]:
    """The rows of these words (or lists with commas); UsageError lists all that are unknown."""
    table = _table()
    words = (word.strip() for name in names for word in name.split(","))
    given = tuple(dict.fromkeys(word for word in words if word))
    unknown = [n for n in given if n not in table]
    if unknown:
        raise UsageError(
            "; ".join(f"cannot forbid {n!r}{_meant(n, table)}" for n in unknown),
            hint=f"known: {', '.join(table)}",
        )
    return tuple(_word(n, table[n]) for n in given)


def _meant(name: str, table: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, table, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _table() -> dict[str, Any]:
    text = files("minify.policies").joinpath("forbidden.yaml").read_text(encoding="utf-8")
    return dict(parse_yaml(text, "forbidden.yaml"))


def _word(name: str, row: Mapping[str, Any]) -> Word:
    lines = b"|".join(re.escape(text.encode()) for text in row.get("contains", ()))
    programs = "|".join(fnmatch.translate(text) for text in row.get("programs", ()))
    return Word(
        name,
        row["reason"],
        frozenset(Kind(k) for k in row.get("kinds", ())),
        re.compile(programs) if programs else None,
        compile_globs(row["globs"]) if "globs" in row else None,
        int(row.get("modes", "0"), 8),
        int(row.get("unless", "0"), 8),
        row.get("xattr", ""),
        re.compile(rb"(?:\A|\n)(?:" + lines + rb")\r?\n") if lines else None,
        row.get("links", True),
        tuple(row.get("user", ())),
    )


def found(word: Word, tree: Tree, user: str) -> tuple[str, ...]:
    """What a word forbids in an image of this tree and user: paths sorted, or `user NAME`."""
    if word.users:
        name = user.partition(":")[0]
        return (f"user {name or 'root'}",) if name in word.users else ()
    hits = [path for path, entry in tree.entries.items() if _forbidden(word, tree, path, entry)]
    return tuple(sorted(hits))


def _forbidden(word: Word, tree: Tree, path: str, entry: Entry) -> bool:
    if not word.named(path):
        return False
    real: Entry | None = entry
    if entry.kind is Kind.SYMLINK:
        real = tree.resolve(path).entry if word.links else None
    if real is None or not word.fits(real):
        return False
    return word.contains is None or _contains(word.contains, tree, real)


def _contains(lines: re.Pattern[bytes], tree: Tree, entry: Entry) -> bool:
    if not 0 < entry.size <= TEXT_MAX:
        return False
    return lines.search(tree.read(entry.path, HEAD)) is not None
