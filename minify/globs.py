"""Many globs against many paths, quickly; and the entries of a tree that a glob names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minify.tree import Tree, glob_regex

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Globs:
    """Compiled globs. A literal beginning and end of each spare most regular expressions."""

    rows: tuple[tuple[str, str, re.Pattern[str]], ...]

    def match(self, path: str) -> bool:
        """Whether any of the globs matches the whole path."""
        return any(
            path.startswith(head) and path.endswith(tail) and rule.fullmatch(path)
            for head, tail, rule in self.rows
        )

    def any_of(self, paths: Iterable[str]) -> str | None:
        """Find the first path that matches, or None."""
        return next((p for p in paths if self.match(p)), None)


def compile_globs(patterns: Iterable[str]) -> Globs:
    """Compile globs as `tree.glob_regex` understands them."""
    rows = []
    for pattern in patterns:
        head = _MAGIC.split(pattern, maxsplit=1)[0]
        tail = re.split(r"[*?\]]", pattern)[-1] if head != pattern else ""
        rows.append((head.rstrip("/") if head != pattern else head, tail, glob_regex(pattern)))
    return Globs(tuple(rows))


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
