"""Which commands may a compiled program start? By its C strings, where it can start any.

`popen("convert - png:-")` is in the program as text between two NULs. Programs whose strings are
not so enclosed tell little here: Rust's, and Go's, for which there is `calls_go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from minify.resolvers.calls_text import NAME
from minify.resolvers.shell_data import WRAPPERS
from minify.resolvers.shell_parse import first_words

LIMIT = 64 << 20
# As names of symbols, or (in a program without any) the shell that system(3) starts.
STARTERS = re.compile(rb"(?:system|popen|exec[lv]p?e?|posix_spawnp?|/bin/sh)\0")
TEXT = re.compile(rb"\0([A-Za-z/][\x20-\x7e]{1,300})(?=\0)")
# What commands have and sentences do not.
SIGNS = re.compile(r" -{1,2}\w|[|<>$@]|(?:^| )/|%s")


def commands(data: bytes) -> Iterator[tuple[str, bool]]:
    """Words that may be commands, and whether the text around them looks like a command line."""
    if not STARTERS.search(data):
        return
    for match in TEXT.finditer(data):
        text = match[1].decode("ascii")
        sure = SIGNS.search(text) is not None
        for word in _words(text):
            if NAME.fullmatch(word):
                yield word, sure


def _words(text: str) -> Iterator[str]:
    for word in first_words(text.encode()):
        yield word
        if word.rpartition("/")[2] in WRAPPERS:
            yield from text.split()
