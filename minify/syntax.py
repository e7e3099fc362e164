"""Syntax trees of source code, by tree-sitter: the only file that knows that library.

A parser is imported when the first file of its language occurs. Parsing never fails: text with
errors gives a tree with error nodes, and `Source.broken` says so.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LIMIT = 4 * 1024 * 1024  # bytes; larger "source" is data or generated, and costs too much to walk

NAME_MAX = 256  # bytes
ALWAYS = 8 << 10  # bytes that are parsed whatever they are
SECONDS = 1.0  # of the processor; a megabyte of ordinary source takes one
PIECE = 64 << 10

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
    if len(text) > ALWAYS and _endless(sitter.Parser(grammar), text):
        return Source(sitter.Parser(grammar).parse(b"").root_node, broken=True)
    root = sitter.Parser(grammar).parse(text).root_node
    return Source(root, bool(root.has_error))


def _endless(parser: Any, text: bytes) -> bool:
    """Whether parsing takes absurdly long: a pipeline of ten thousand commands, quadratic there.

    Only text that is read piece by piece can be given up, and its nodes are slow to read: so it is
    parsed once more.
    """
    end = time.process_time() + SECONDS
    try:
        parser.parse(
            lambda at, _point: text[at : at + PIECE],
            progress_callback=lambda _at, _error: time.process_time() > end,
        )
    except ValueError:
        return True
    except TypeError:  # before tree-sitter 0.25
        return False
    return False


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
