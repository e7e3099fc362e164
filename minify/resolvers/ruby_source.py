"""What Ruby source requires, as far as constants tell; and what a gemspec says. Pure.

Most files only say `require "name"`; those are read line by line. A file that computes a path is
parsed. A part of a path that no constant explains is `*`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field

from minify.resolvers.ruby_data import TOOLS
from minify.syntax import Node, name, parse, text, walk

ANY = "*"
MOST = 6
LONGEST = 4096  # PATH_MAX; constants made of constants would double without end
# A word that loads something, at a place where a call can stand; and its plain, constant form.
WORD = re.compile(rb"(?<![\w.:@$\"'])(require_relative|require|load|autoload)\b(?!\s*[=:,.)\]}])")
PLAIN = re.compile(
    rb"(?:\.|(?<![\w:@$\"']))(require_relative|require|load|autoload)[ \t(]+"
    rb"(?::\w+,\s*|['\"][\w:]+['\"],\s*)?(?:\"([^\"#\\\n]+)\"|'([^'\\\n]+)')"
)
GEM = re.compile(rb"^[ \t]*gem[ (]+['\"]([\w.-]+)['\"]", re.MULTILINE)
DEPENDENCY = re.compile(
    rb"add_(?:runtime_)?dependency\s*+\(?\s*+(?:%q<([^>\n]{1,200})>|['\"]([^'\"]+)['\"])"
)
DEVELOPMENT = re.compile(
    rb"add_development_dependency\s*+\(?\s*+(?:%q<([^>\n]{1,200})>|['\"]([^'\"]+)['\"])"
)
EXECUTABLES = re.compile(rb"\.executables\s*=\s*\[([^\[\]]*)\]")
QUOTED = re.compile(rb"['\"]([\w.-]+)['\"]")
COMMENT = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
OUTER = re.compile(rb"^(?:require|require_relative|autoload|Gem\.autoload)\b.*$", re.MULTILINE)
PATHS = ("$:", "$LOAD_PATH")
PATH_WORDS = (b"__dir__", b"__FILE__", b"File.join", b"expand_path")


@dataclass
class Requires:
    """What a file loads: features of the load path, absolute paths or globs, gems by name."""

    features: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    gems: set[str] = field(default_factory=set)
    unknown: int = 0
    broken: bool = False


def read_requires(source: bytes, path: str) -> Requires:
    """Find everything a file loads, in any method or branch."""
    source = source.partition(b"\n__END__\n")[0]
    found = Requires(gems={m.decode("latin-1") for m in GEM.findall(source)})
    bare = COMMENT.sub(b"", source)
    plain = PLAIN.findall(bare)
    for word, double, single in plain:
        _add(found, word.decode(), (double or single).decode("utf-8", "surrogateescape"), path)
    if len(WORD.findall(bare)) > len(plain) or (
        b"LOAD_PATH" in bare or (b"$:" in bare and any(w in bare for w in PATH_WORDS))
    ):
        _parsed(source, path, found)
    return found


def outer(source: bytes, own: str) -> bytes:
    """The lines of a file that load something at once (they are not indented), or of its own."""
    named = rf"(?:require|autoload)\b.*['\"]{re.escape(own)}/.*"
    inside = rf"^[ \t]+(?:require_relative\b.*|{named})$".encode()
    within = re.findall(inside, source, re.MULTILINE) if own != "rubygems" else []
    return b"\n".join((*OUTER.findall(source), *within))


def _add(found: Requires, word: str, value: str, path: str) -> None:
    if not value.strip("*/."):
        found.unknown += 1
    elif value.startswith("/"):
        found.paths.add(posixpath.normpath(value))
    elif word == "require_relative" or value.startswith(("./", "../")):
        found.paths.add(posixpath.normpath(posixpath.join(posixpath.dirname(path), value)))
    else:
        found.features.add(value)


LOADERS = frozenset({"require", "require_relative", "load", "autoload", "eager_autoload"})


def _parsed(source: bytes, path: str, found: Requires) -> None:
    parsed = parse("ruby", source)
    found.broken = parsed.broken
    nodes = list(walk(parsed.root))
    names: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        if node.type == "assignment" and len(node.named_children) == 2:
            key, value = node.named_children
            values = tuple(v for v in evaluate(value, path, names) if v != ANY)
            if values:
                names[name(key)] = (*names.get(name(key), ()), *values)[:MOST]
    for node in nodes:
        if node.type == "call":
            _call(node, path, names, found)
        elif node.type == "binary" and name(next(iter(node.children), None)) in PATHS:
            found.folders |= _folders(list(node.named_children[-1:]), path, names)


def _call(node: Node, path: str, names: dict[str, tuple[str, ...]], found: Requires) -> None:
    method = name(node.child_by_field_name("method"))
    receiver = name(node.child_by_field_name("receiver"))
    arguments = _arguments(node)
    if receiver in PATHS and method in ("unshift", "push", "prepend", "<<"):
        found.folders |= _folders(arguments, path, names)
    if method not in LOADERS or receiver not in ("", "Kernel", "Object") or not arguments:
        return
    at = 1 if method == "autoload" and len(arguments) > 1 else 0
    for value in evaluate(arguments[at], path, names):
        _add(found, method, value, path)


def _folders(nodes: list[Node], path: str, names: dict[str, tuple[str, ...]]) -> set[str]:
    values = {v for node in nodes for v in evaluate(node, path, names)}
    return {posixpath.normpath(v) for v in values if v.startswith("/") and "*" not in v}


def _arguments(node: Node) -> list[Node]:
    found = node.child_by_field_name("arguments")
    return list(found.named_children) if found is not None else []


def evaluate(
    node: Node, path: str, names: dict[str, tuple[str, ...]], depth: int = 0
) -> tuple[str, ...]:
    """Everything a string expression may be, with `*` for what is not constant."""
    kind, parts = node.type, node.named_children
    if depth > 30:
        return (ANY,)
    if kind == "string":
        return _joined(list(parts), path, names, depth)
    if kind in ("string_content", "simple_symbol"):
        return (text(node).lstrip(":"),)
    if kind == "interpolation" and parts:
        return evaluate(parts[0], path, names, depth + 1)
    if kind in ("identifier", "constant", "instance_variable", "global_variable"):
        return _name(name(node), path, names)
    if kind == "binary" and any(c.type == "+" for c in node.children):
        return _joined(list(parts), path, names, depth)
    if kind == "parenthesized_statements" and len(parts) == 1:
        return evaluate(parts[0], path, names, depth + 1)
    return _file_call(node, path, names, depth) if kind == "call" else (ANY,)


def _name(word: str, path: str, names: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if word == "__dir__":
        return (posixpath.dirname(path),)
    return (path,) if word in ("__FILE__", "$0") else names.get(word, (ANY,))


def _joined(
    parts: list[Node], path: str, names: dict[str, tuple[str, ...]], depth: int
) -> tuple[str, ...]:
    values: tuple[str, ...] = ("",)
    for part in parts:
        more = evaluate(part, path, names, depth + 1)
        if max(map(len, values), default=0) >= LONGEST:
            break
        values = tuple((a + b)[:LONGEST] for a in values for b in more)[:MOST]
    return values


def _file_call(
    node: Node, path: str, names: dict[str, tuple[str, ...]], depth: int
) -> tuple[str, ...]:
    """`File.join`, `File.expand_path`, `File.dirname`, `Pathname#join` and their like."""
    method = name(node.child_by_field_name("method"))
    arguments = [evaluate(a, path, names, depth + 1) for a in _arguments(node)]
    receiver = node.child_by_field_name("receiver")
    first = [a[0] for a in arguments if a]
    if method in ("to_s", "freeze") and receiver is not None:
        return evaluate(receiver, path, names, depth + 1)
    if method == "dirname" and first:
        return (posixpath.dirname(first[0]),)
    if method in ("join", "expand_path", "absolute_path", "realpath") and first:
        if name(receiver) not in ("File", "Pathname", "::File"):
            base = evaluate(receiver, path, names, depth + 1)[0] if receiver is not None else ANY
            first = [base, *first] if method == "join" else [*first, base]
        if method == "join":
            return ("/".join(first),)
        base = first[1] if len(first) > 1 else ""
        return (posixpath.normpath(posixpath.join(base, first[0])),)
    return (ANY,)


def dependencies(gemspec: bytes) -> frozenset[str]:
    """The names of the gems that a gemspec says it needs at run time."""
    needed, unneeded = (
        {(quoted or plain).decode("latin-1") for quoted, plain in rule.findall(gemspec)}
        for rule in (DEPENDENCY, DEVELOPMENT)
    )
    # For very old RubyGems a gemspec says everything again, without telling the two apart.
    return frozenset(needed - unneeded)


def executables(gemspec: bytes) -> frozenset[str]:
    """The names of the commands that a gemspec says the gem brings."""
    lists = b" ".join(EXECUTABLES.findall(gemspec))
    return frozenset(word.decode("latin-1") for word in QUOTED.findall(lists))


def is_vendor(root: str | None) -> bool:
    """Whether a folder of the load path is for what was installed beside the standard library."""
    return root is not None and ("vendor_ruby" in root or "site_ruby" in root)


def is_tool(source: str, root: str) -> bool:
    """Whether a file is of a developers' tool or of RubyGems: of it, what loads at once counts."""
    return top_of(source, root) in TOOLS or "/rubygems/" in source


def top_of(source: str, root: str) -> str:
    """The first part of the name under which a file is required from its load path."""
    return source[len(root) + 1 :].partition("/")[0].removesuffix(".rb") if root else ""
