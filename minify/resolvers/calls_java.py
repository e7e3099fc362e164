"""Which commands may Java code start? By the string constants of classes that can start any.

`new ProcessBuilder("convert", "-")` is in the class file as the names of a class and as strings.
Of jars inside a jar nothing is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from minify.model import Entry
from minify.resolvers.calls_text import NAME, of_literal
from minify.resolvers.java_archive import classes, literals
from minify.tree import Tree

JARS = (".jar", ".war", ".ear")
ENDS = (".class", *JARS)
LIMIT = 64 << 20  # bytes of a jar, and of the classes in it
STARTERS = re.compile(
    rb"java/lang/ProcessBuilder|java/lang/Runtime\b|org/apache/commons/exec/|scala/sys/process/"
)


def commands(tree: Tree, entry: Entry) -> tuple[tuple[str, bool], ...]:
    """Words of a class file's or a jar's strings that may be commands, and whether each is all
    that its string says."""
    if entry.size > LIMIT:
        return ()
    with tree.opener(entry) as stream:
        found = classes(stream, LIMIT) if entry.path.endswith(JARS) else iter([stream.read()])
        return tuple(sorted({pair for data in found for pair in _of_class(data)}))


def _of_class(data: bytes) -> Iterator[tuple[str, bool]]:
    if not STARTERS.search(data):
        return
    for text in literals(data):
        if len(text) <= 500:
            words = (w for w in of_literal(text) if NAME.fullmatch(w.rpartition(" ")[2]))
            yield from ((word, word == text) for word in words)
