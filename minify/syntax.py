"""Syntax trees of source code, by tree-sitter: the only file that knows that library.

A parser is imported when the first file of its language occurs. Parsing never fails: text with
errors gives a tree with error nodes, and `Source.broken` says so.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LIMIT = 4 * 1024 * 1024  # bytes; larger "source" is data or generated, and costs too much to walk

NAME_MAX = 256  # bytes
# What tree-sitter's grammars need time for that is quadratic: a longer text is given up as broken.
ENDLESS = {"bash": tuple(map(re.compile, (rb"(?<![|])[|](?![|])", rb"<<", rb"=[(]")))}
CHAINED = 3000  # times; a second

# Language: grammar module and the name of its function.
GRAMMARS = {
    "bash": ("tree_sitter_bash", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "php": ("tree_sitter_php", "language_php"),
}


class Node(Protocol):
    """The part of a syntax node that resolvers use."""

    @property
    def type(self) -> str:
        """The grammar's name of this kind of node."""

    @property
    def text(self) -> bytes | None:
        """The source text it covers."""

    @property
    def named_children(self) -> Sequence[Node]:
        """The children that are not mere punctuation."""

    @property
    def children(self) -> Sequence[Node]:
        """All children."""

    @property
    def start_byte(self) -> int:
        """Where it begins."""

    @property
    def end_byte(self) -> int:
        """Where it ends."""

    @property
    def parent(self) -> Node | None:
        """The node around it."""

    def child_by_field_name(self, name: str, /) -> Node | None:
        """The child that plays a named part."""


@dataclass(frozen=True)
class Source:
    """A parsed file; `broken` when some of it is not the language's syntax."""

    root: Node
    broken: bool


def parse(language: str, text: bytes) -> Source:
    """Parse text in one of `GRAMMARS`."""
    sitter: Any = importlib.import_module("tree_sitter")
    module, function = GRAMMARS[language]
    grammar = sitter.Language(getattr(importlib.import_module(module), function)())
    if any(len(rule.findall(text)) > CHAINED for rule in ENDLESS.get(language, ())):
        return Source(sitter.Parser(grammar).parse(b"").root_node, broken=True)
    root = sitter.Parser(grammar).parse(text).root_node
    return Source(root, bool(root.has_error))


def walk(root: Node) -> Iterator[Node]:
    """Yield a node and all named nodes below it, in source order, without recursion."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.named_children))


def name(node: Node | None) -> str:
    """The text of a node that counts only while it is short: a name; else nothing.

    A chain of a thousand calls has a thousand receivers, each as long as all before it.
    """
    short = node is not None and node.end_byte - node.start_byte <= NAME_MAX
    return text(node) if short else ""


def text(node: Node | None) -> str:
    """The text of a node as a string; bytes that are not UTF-8 survive as surrogates."""
    return (node.text or b"").decode("utf-8", "surrogateescape") if node is not None else ""
