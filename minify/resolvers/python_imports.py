"""Which modules does Python source import, anywhere in it?

Application code is parsed; library code, of which there is much more, is only scanned for import
lines: that finds a little too much (imports quoted in docstrings) and nothing too little.
"""

from __future__ import annotations

import ast
import bisect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

LIMIT = 4 * 1024 * 1024  # bytes; larger "source" is data
MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
NAMED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?::[\w.]+(?:\(\))?)?")
LINE = re.compile(
    rb"\b(?:from[ \t]+(\.*+(?:\w[\w.]*)?)[ \t]*import\b[ \t]*"
    rb"(\((?:[^()#]+|#[^\n]{0,300})*+\)|(?:[^\n#;\\]|\\\r?\n)+)"
    rb"|import[ \t]+((?:[^\n#;\\]|\\\r?\n)+))"
)
BLOCK = re.compile(
    rb"^(def|class|async|if[ (]+__name__|try|if|else|elif|except|with|for)\b", re.MULTILINE
)
INNER = (b"def", b"class", b"async")
CALL = re.compile(rb"import(?:_module|__)\s*\(\s*['\"]([\w.]+)['\"]")
RENAMED = re.compile(r"#.*|\bas\s+\w+")
WORDS = re.compile(rb"\0([A-Za-z_][A-Za-z0-9_.]{2,60})(?=\0)")
STRING_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Import:
    """One import: how many leading dots, the module, the names taken from it.

    `outer`: in no function or class, so it happens when the module is imported. `text`: only a
    string that looks like a module's name.
    """

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    outer: bool = False
    text: bool = False


@dataclass(frozen=True)
class Source:
    """What a file imports; `trouble` says why it could not be parsed."""

    imports: frozenset[Import]
    trouble: str = ""


def scan(text: bytes) -> Source:
    """Find import statements without parsing, wherever the words stand."""
    found: set[Import] = set()
    blocks: list[tuple[int, bool]] | None = None
    for match in _statements(text):
        at = match.start()
        outer = text[at - 1 : at] in (b"", b"\n")
        if not outer:
            blocks = _blocks(text) if blocks is None else blocks
            outer = _outer(at, blocks)
        origin, names, modules = ((p or b"").decode("utf-8", "replace") for p in match.groups())
        if names:
            module = origin.lstrip(".")
            taken = re.findall(r"\w+", RENAMED.sub("", names))
            found.add(Import(module, len(origin) - len(module), tuple(taken), outer))
            continue
        for part in modules.split(","):
            if name := MODULE.match(part.strip(" \t\\\r\n")):
                found.add(Import(name[0], outer=outer))
    if b"import_module" in text or b"import__" in text:
        found.update(Import(m.decode()) for m in CALL.findall(text))
    return Source(frozenset(found))


def _statements(text: bytes) -> Iterator[re.Match[bytes]]:
    """Every match of LINE: only lines with the word are looked at, which are one in thirty."""
    at = 0
    while (word := text.find(b"import", at)) >= 0:
        match = LINE.search(text, max(at, text.rfind(b"\n", at, word) + 1))
        if match is None:
            return
        yield match
        at = match.end()


def _blocks(text: bytes) -> list[tuple[int, bool]]:
    """Where statements with a body begin at the margin, and whether that runs only when called."""
    return [(m.start(), m[1].endswith((*INNER, b"__name__"))) for m in BLOCK.finditer(text)]


def _outer(at: int, blocks: list[tuple[int, bool]]) -> bool:
    """Whether a statement runs when its module is imported: in no function and no class."""
    index = bisect.bisect(blocks, (at, False))
    return index == 0 or not blocks[index - 1][1]


def parse(text: bytes) -> Source:
    """Parse source and find every import and every string that could name a module."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        return Source(frozenset(i for node in ast.walk(tree) for i in _imports(node)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        return Source(scan(text).imports, f"not parsable as Python: {reason}"[:200])


def _imports(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        yield Import(node.module or "", node.level, names)
    elif isinstance(node, ast.Call):
        yield from _called(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from strings(node.value)


def _called(node: ast.Call) -> Iterator[Import]:
    """`importlib.import_module("x")`, `import_module(".x", __package__)`, `__import__("x")`."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in ("import_module", "__import__") or not node.args:
        return
    first = node.args[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        module = first.value.lstrip(".")
        yield Import(module, len(first.value) - len(module))
    elif isinstance(first, ast.JoinedStr) and first.values:
        # f"plugins.{kind}": the package before the first placeholder.
        head = first.values[0]
        if isinstance(head, ast.Constant) and isinstance(head.value, str):
            module = head.value.rpartition(".")[0]
            yield Import(module.lstrip("."), len(module) - len(module.lstrip(".")), ("*",))
    elif isinstance(first, ast.BinOp) and isinstance(first.left, ast.Constant):
        module = str(first.left.value).rpartition(".")[0]
        yield Import(module.lstrip("."), len(module) - len(module.lstrip(".")), ("*",))


def strings(value: str) -> Iterator[Import]:
    """A string such as "django.contrib.auth" or "app.tasks:main"."""
    if len(value) <= STRING_LENGTH and (match := NAMED.fullmatch(value)):
        yield Import(match[1], text=True)


def words(binary: bytes) -> Source:
    """Module-like names an extension module holds as C strings: what it may import by itself."""
    found = {m.decode() for m in WORDS.findall(binary)}
    return Source(frozenset(Import(m, text=True) for m in found if MODULE.fullmatch(m)))


# Marshalled short ASCII strings (Python/marshal.c): a type byte, a length byte, the characters.
MARSHALLED = re.compile(rb"(?=[zZ\xfa\xda]([\x01-\x7f])([A-Za-z_][A-Za-z0-9_.]{0,126}))")


def names_in_bytecode(binary: bytes) -> Source:
    """Module-like names a .pyc file mentions, whatever its version."""
    found = {m[2][: m[1][0]].decode() for m in MARSHALLED.finditer(binary) if len(m[2]) >= m[1][0]}
    return Source(frozenset(Import(m) for m in found if MODULE.fullmatch(m)))
