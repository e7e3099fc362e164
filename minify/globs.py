"""Many globs against many paths, quickly; and the entries of a tree that a glob names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from minify.tree import Tree, glob_regex

MAX_KNOWN = 100_000  # paths remembered
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class _Row:
    """A glob that takes a regular expression: its literal beginning and end spare most of them."""

    head: str
    tail: str
    pattern: str

    @cached_property
    def rule(self) -> re.Pattern[str]:
        """The compiled glob; most rows never need it."""
        return glob_regex(self.pattern)

    def match(self, path: str) -> bool:
        """Whether the glob matches the whole path."""
        begins = path.startswith(self.head) and path.endswith(self.tail)
        return begins and self.rule.fullmatch(path) is not None


@dataclass(frozen=True)
class Globs:
    """Globs sorted by shape: most are a path, a tree (`/a/**`), a name (`**/a`, `**/a/**`)."""

    exact: frozenset[str]
    below: tuple[str, ...]
    endings: tuple[str, ...]
    inside: tuple[str, ...]
    rows: tuple[_Row, ...]
    # The same lists are asked about the same paths by several resolvers, and again each round.
    _known: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def match(self, path: str) -> bool:
        """Whether any of the globs matches the whole path."""
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[path] = self._match(path)
        return known

    def _match(self, path: str) -> bool:
        if path in self.exact or path.startswith(self.below) or path.endswith(self.endings):
            return True
        if self.inside:  # a plain loop: this is asked for every path and every list of globs
            closed = f"{path}/"
            for part in self.inside:
                if part in closed:
                    return True
        for row in self.rows:  # noqa: SIM110 - asked a hundred thousand times, a loop is faster
            if path.startswith(row.head) and row.match(path):
                return True
        return False

    def any_of(self, paths: Iterable[str]) -> str | None:
        """Find the first path that matches, or None."""
        return next((p for p in paths if self.match(p)), None)


def compile_globs(patterns: Iterable[str]) -> Globs:
    """Sort globs, which mean what `tree.glob_regex` says, by how they can be matched fastest."""
    return _compiled(tuple(patterns))


@lru_cache(maxsize=1024)
def _compiled(patterns: tuple[str, ...]) -> Globs:
    exact: set[str] = set()
    below, endings, inside, rows = list[str](), list[str](), list[str](), list[_Row]()
    for pattern in patterns:
        core = pattern.removeprefix("**").removesuffix("/**")
        plain = not _MAGIC.search(core) and core.startswith("/")
        if plain and core == pattern:
            exact.add(pattern)
        elif plain and pattern == f"{core}/**":
            exact.add(core)
            below.append(f"{core}/")
        elif plain and pattern == f"**{core}":
            endings.append(core)
        elif plain and pattern == f"**{core}/**":
            inside.append(f"{core}/")
        else:
            rows.append(_row(pattern))
    return Globs(frozenset(exact), tuple(below), tuple(endings), tuple(inside), tuple(rows))


def _row(pattern: str) -> _Row:
    magic = _MAGIC.search(pattern)
    head = pattern[: magic.start()].rstrip("/") if magic else pattern
    tail = re.split(r"[*?\]]", pattern)[-1] if magic else ""
    return _Row(head, tail, pattern)


def literal_dir(pattern: str) -> tuple[str, str]:
    """Split a glob into the directory before its first wildcard, and the rest with its slash."""
    magic = _MAGIC.search(pattern)
    if magic is None:
        return pattern.rstrip("/") or "/", ""
    cut = pattern.rfind("/", 0, magic.start())
    return pattern[: max(cut, 0)] or "/", pattern[max(cut, 0) :]


def expand(tree: Tree, pattern: str) -> Iterator[str]:
    """Name the paths of a tree that a glob means, the directory before a wildcard resolved first.

    So `/lib/x*` finds `/usr/lib/xyz` where `/lib` is a link; a path without wildcards is named as
    it was written.
    """
    base, rest = literal_dir(pattern)
    real = tree.real(base)
    if not rest:
        if real is not None or tree.get(base) is not None:
            yield base
        return
    if real is None:
        return
    rule = re.compile(re.escape(real.rstrip("/")) + glob_regex(rest).pattern, re.DOTALL)
    if rule.fullmatch(real):
        yield base
    for entry in tree.walk(real):
        if rule.fullmatch(entry.path):
            yield entry.path


def with_real(tree: Tree, patterns: Iterable[str]) -> Iterator[str]:
    """Yield globs, and each again with the links in its literal directory resolved."""
    for pattern in patterns:
        yield pattern
        base, rest = literal_dir(pattern)
        if rest:
            parent, name = base, rest
        else:
            parent, _, last = base.rpartition("/")
            parent, name = parent or "/", f"/{last}"
        real = tree.real(parent)
        if real is not None and real != parent and not _MAGIC.search(real):
            yield real.rstrip("/") + name
