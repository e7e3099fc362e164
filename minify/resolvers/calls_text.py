"""Which commands may a program's source start? By its string literals, in files that start any.

No language is parsed: a file that names a function that starts programs (system, exec, popen,
subprocess, child_process, ...) is searched for literals whose first word, or whose words after a
shell's separators, could be a command. Whether there is such a command, the image decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from minify.resolvers.shell_data import WRAPPERS
from minify.resolvers.shell_parse import first_words

# What a file that starts programs has in it, by kind of source.
STARTERS = {
    "python": re.compile(
        rb"\b(?:subprocess|Popen|pexpect|plumbum|fabric|invoke|posix_spawn|create_subprocess_\w+"
        rb"|(?:os|shutil)\.(?:system|popen|exec\w+|spawn\w+|which)|import sh|from sh)\b"
    ),
    "node": re.compile(rb"child_process|\bexeca\b|shelljs|cross-spawn|\bzx\b|\b(?:Bun|Deno)\."),
    "php": re.compile(
        rb"\b(?:shell_exec|exec|system|passthru|popen|proc_open|pcntl_exec|Process)\b|`"
    ),
    "ruby": re.compile(rb"\b(?:system|exec|spawn|popen|capture[23]e?|popen[23]|Kernel)\b|`|%x"),
    "perl": re.compile(rb"\b(?:system|exec|open[23]?|qx|run|capture)\b|`"),
    "other": re.compile(rb"\b(?:system|exec|execute|popen|spawn|Process|ProcessBuilder)\b|`"),
}
ENDS = {
    ".py": "python", ".pyw": "python", ".js": "node", ".mjs": "node", ".cjs": "node",
    ".ts": "node", ".mts": "node", ".cts": "node", ".tsx": "node", ".jsx": "node",
    ".php": "php", ".phtml": "php", ".inc": "php", ".rb": "ruby", ".ru": "ruby", ".rake": "ruby",
    ".gemspec": "ruby", ".pl": "perl", ".pm": "perl", ".cgi": "perl", ".psgi": "perl",
    ".t": "perl", ".lua": "other", ".tcl": "other", ".exs": "other", ".ex": "other",
    ".groovy": "other", ".R": "other", ".jl": "other", ".raku": "other", ".scm": "other",
}  # fmt: skip
INTERPRETERS = (
    ("python", "python"), ("pypy", "python"), ("node", "node"), ("bun", "node"), ("deno", "node"),
    ("php", "php"), ("ruby", "ruby"), ("perl", "perl"), ("lua", "other"), ("tclsh", "other"),
    ("Rscript", "other"), ("julia", "other"), ("elixir", "other"), ("groovy", "other"),
)  # fmt: skip

LITERAL = re.compile(rb"(['\"`])((?:\\.|(?!\1)[^\\\n]){1,500})\1")
QUOTED = re.compile(rb"(?:\bqx|%x)\s*[{(\[|/!<]([^\n]{1,500}?)[})\]|/!>]")  # Perl's, Ruby's
LISTED = re.compile(rb"(?:%w|\bqw)\s*[\[({/<|]\s*([\w./+-]{1,100})")
OTHERS = frozenset({"sudo", "doas", "pkexec"})  # text for people has them, too
NAME = re.compile(r"/?[A-Za-z0-9_\[][\w.+/-]{0,99}")


def kind_of(path: str, head: bytes) -> str:
    """The kind of source a file is, by its suffix or its first line; "" for anything else."""
    if head.startswith(b"#!"):
        line = head.split(b"\n", 1)[0].decode("latin-1")
        return next((kind for name, kind in INTERPRETERS if name in line), "")
    stem, dot, end = path.rpartition(".")
    return ENDS.get(f".{end}", "") if dot and "/" not in end and stem else ""


def commands(kind: str, text: bytes) -> Iterator[str]:
    """Words that may be commands, in the literals of a file that starts programs."""
    if not STARTERS[kind].search(text):
        return
    for match in LITERAL.finditer(text):
        yield from of_literal(match[2].decode("utf-8", "replace"))
    for match in QUOTED.finditer(text):
        yield from of_literal(match[1].decode("utf-8", "replace"))
    for match in LISTED.finditer(text):
        yield from of_literal(match[1].decode("utf-8", "replace"))


def words(text: bytes) -> Iterator[str]:
    """Literals that are one word, whatever the file does."""
    for match in LITERAL.finditer(text):
        word = match[2].decode("utf-8", "replace")
        if NAME.fullmatch(word):
            yield word


def of_literal(value: str, depth: int = 0) -> Iterator[str]:
    """Words of one literal that may be commands: the whole of it, or where a shell runs some.

    What is to be run as somebody else has that command before it: `sudo apt` is nothing where there
    is no sudo.
    """
    value = value.strip(" \t|<>&").replace("\\n", "\n").replace('\\"', '"')
    if NAME.fullmatch(value):
        yield value
        return
    for word in first_words(value.encode("utf-8", "replace")):
        if NAME.fullmatch(word):
            yield word
            if word.rpartition("/")[2] in WRAPPERS | {"sh", "bash"} and depth == 0:
                others = (w for w in re.split(r"[\s'\"]+", value) if NAME.fullmatch(w))
                by = f"{word} " if word in OTHERS else ""
                yield from (f"{by}{other}" for other in others if other != word)
