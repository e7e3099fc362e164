"""What Perl source loads, as far as names tell. Pure.

Perl can only be parsed by running it (perlsyn(1)), so this reads words, not syntax: POD, comments
on lines of their own and everything after `__END__` are left out; what remains and looks like a
load counts, also inside `eval` and strings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

POD = re.compile(rb"^=[a-zA-Z].*?(?:^=cut\b[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
NAME = rb"[A-Za-z_]\w*(?:(?:::|')[A-Za-z_]\w*){0,30}"
# use X; no X; require X; also in a string that is evaluated.
LOAD = re.compile(rb"\b(?:use|no|require)\s+(" + NAME + rb")\s*(?=[;\s({'\"\[}]|\Z|->)")
# The words after `use parent`, `use base`, `use if …,`, `use aliased`, `extends`, `with`.
LISTED = re.compile(
    rb"(?:\buse\s+(?:parent|base|if|aliased|autouse|Mojo::Base)\b"
    rb"|^[ \t]*(?:extends|with)\s*+\(?\s*+"
    rb"(?=['\"q]))([^;]{0,2000});",
    re.MULTILINE,
)
WORD = re.compile(rb"(?<![\w$@%&:>])" + NAME + rb"(?![\w(])")
COMPUTED = re.compile(rb"(?<![\w$@%&:>])(" + NAME + rb")::[$@]?\{?\$\w")
FILE = re.compile(rb"\b(?:require|do)\s*+\(?\s*+(?:\"([^\"\n]+)\"|'([^'\n]+)')")
FOLDER = re.compile(rb"\b(?:use\s+lib|unshift\s*+\(?\s*+@INC|push\s*+\(?\s*+@INC)\b([^;]{0,2000});")
QUOTED = re.compile(
    rb"\"([^\"\n]+)\"|'([^'\n]+)'|qw\s*(?:\(([^)]{0,999})\)|/([^/]{0,999})/|\{([^}]{0,999})\})"
)
NAMED_CHARACTER = re.compile(rb"\\N\{(?!U\+)[A-Za-z]")
# A scalar or a call that stands for the script's own folder, at the start of a path.
HERE = re.compile(r"^(?:\$(?:\{)?(?:FindBin::)?(?:Real)?Bin\}?|\$Bin|\$FindBin::RealBin)(?=/|$)")


@dataclass
class Loads:
    """Modules by name ("A::B"), files as written, folders added to @INC, names merely said.

    `families` are folders of modules whose last part is computed ("A/B" of "A::B::$name").
    """

    modules: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    said: set[str] = field(default_factory=set)
    families: set[str] = field(default_factory=set)


def read_loads(source: bytes, path: str, *, said: bool = True) -> Loads:
    """Find everything a file may load, in any sub, branch or evaluated string.

    Without `said`, names that are merely mentioned are not looked for: they cost most of the time.
    """
    code = strip(source)
    found = Loads()
    found.modules = {_module(name) for name in LOAD.findall(code)}
    for rest in LISTED.findall(code):
        found.modules |= {_module(name) for name in WORD.findall(rest)}
    found.files = set(_files(code, path))
    found.folders = set(_folders(code, path))
    if said:
        found.said = {_module(name) for name in WORD.findall(code) if b"::" in name}
        found.families = {_module(name).replace("::", "/") for name in COMPUTED.findall(code)}
    if NAMED_CHARACTER.search(code):
        found.modules.add("_charnames")
    if b"encoding(" in code:  # a layer of open and binmode, loaded by C code
        found.modules |= {"PerlIO::encoding", "Encode"}
    return found


def _files(code: bytes, path: str) -> Iterator[str]:
    for double, single in FILE.findall(code):
        if (name := _place((double or single).decode("latin-1"), path)) is not None:
            yield name


def _folders(code: bytes, path: str) -> Iterator[str]:
    for rest in FOLDER.findall(code):
        for groups in QUOTED.findall(rest):
            for word in b" ".join(groups).decode("latin-1").split():
                if (name := _place(word, path)) is not None:
                    yield name


def strip(source: bytes) -> bytes:
    """The code of a file: without POD, full-line comments, and data after `__END__`."""
    bare = POD.sub(b"", source)
    for mark in (b"\n__END__", b"\n__DATA__"):
        bare = bare.partition(mark)[0]
    return COMMENT.sub(b"", bare)


def _module(name: bytes) -> str:
    return name.decode("latin-1").replace("'", "::")


def _place(word: str, path: str) -> str | None:
    """A file name as written, with the script's own folder put in; None if it is computed."""
    word = HERE.sub(posixpath.dirname(path).replace("\\", ""), word)
    return None if any(sign in word for sign in "$@{*") else word


def module_file(name: str) -> str:
    """Where a module is below @INC (perlfunc(1), require)."""
    return name.replace("::", "/") + ".pm"


def options(argv: tuple[str, ...]) -> tuple[list[bytes], list[str], list[str]]:
    """A `perl` command line (perlrun(1)): code given by -e, modules by -M, folders by -I."""
    code: list[bytes] = []
    modules: list[str] = []
    folders: list[str] = []
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        if word[1:2] in ("M", "m"):
            modules.append(word[2:].lstrip("-").partition("=")[0].split(" ")[0])
        elif word[1:2] == "I":
            folders.append(word[2:] or next(words, ""))
        elif word[-1:] in ("e", "E"):
            code.append(next(words, "").encode("utf-8", "surrogateescape"))
    return code, modules, folders
