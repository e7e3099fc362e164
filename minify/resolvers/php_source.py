"""What PHP source includes, as far as constants tell; and PHP's ini files. Pure.

A part of a path that no constant explains is `*`, so "lang/$code.php" becomes a glob.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field

from minify import syntax
from minify.syntax import Node, parse, text, walk

INCLUDES = frozenset({"include_expression", "include_once_expression", "require_expression",
                      "require_once_expression"})  # fmt: skip
ANY = "*"
MOST = 8
LONGEST = 4096  # PATH_MAX; constants made of constants would double without end


@dataclass(frozen=True)
class Includes:
    """The paths (or globs) a file includes; `unknown` counts those nothing is known about."""

    paths: frozenset[str]
    unknown: int
    broken: bool


@dataclass
class _Names:
    path: str
    values: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read_includes(source: bytes, path: str) -> Includes:
    """Find every include and require in a file, in any function or branch."""
    parsed = parse("php", source)
    names = _Names(path)
    found: set[str] = set()
    unknown = 0
    nodes = list(walk(parsed.root))
    for node in nodes:
        _learn(node, names)
    for node in nodes:
        if node.type in INCLUDES and node.named_children:
            values = _value(node.named_children[0], names, 0)
            known = {v for v in values if v.strip("*/.")}
            unknown += not known
            found |= known
    return Includes(frozenset(found), unknown, parsed.broken)


def _learn(node: Node, names: _Names) -> None:
    """Remember `define('X', …)`, `const X = …` and `$x = …` of constant strings."""
    parts = node.named_children
    if node.type in ("assignment_expression", "const_element") and len(parts) == 2:
        key, value = syntax.name(parts[0]), parts[1]
    elif node.type == "function_call_expression" and syntax.name(parts[0]).lower() == "define":
        arguments = _arguments(node)
        if len(arguments) < 2:
            return
        key, value = text(arguments[0]).strip("'\""), arguments[1]
    else:
        return
    values = tuple(v for v in _value(value, names, 0) if v != ANY)
    if values:
        names.values[key] = tuple(dict.fromkeys([*names.values.get(key, ()), *values]))[:MOST]


def _arguments(call: Node) -> list[Node]:
    found = call.child_by_field_name("arguments")
    inside = found.named_children if found is not None else ()
    return [a.named_children[-1] for a in inside if a.type == "argument" and a.named_children]


def _value(node: Node, names: _Names, depth: int) -> tuple[str, ...]:
    kind, parts = node.type, node.named_children
    if depth > 50:
        return (ANY,)
    if kind in ("string", "encapsed_string"):
        return _joined(list(parts), names, depth)
    if kind in ("string_content", "string_value"):
        return (text(node),)
    if kind == "escape_sequence":
        return (text(node)[-1],)
    if kind == "parenthesized_expression" and parts:
        return _value(parts[0], names, depth + 1)
    if kind == "binary_expression" and any(c.type == "." for c in node.children):
        return _joined(list(parts), names, depth)
    if kind == "conditional_expression" or (kind == "binary_expression" and len(parts) == 2):
        return tuple(v for p in parts[-2:] for v in _value(p, names, depth + 1))[:MOST]
    if kind in ("name", "variable_name", "qualified_name"):
        return _name(text(node), names)
    if kind == "assignment_expression" and len(parts) == 2:
        return _value(parts[1], names, depth + 1)
    return _call(node, names, depth) if kind == "function_call_expression" else (ANY,)


def _name(name: str, names: _Names) -> tuple[str, ...]:
    if name.upper() == "__DIR__":
        return (posixpath.dirname(names.path),)
    if name.upper() == "__FILE__":
        return (names.path,)
    if name.endswith("_SEPARATOR"):
        return ("/",) if name.endswith("DIRECTORY_SEPARATOR") else (":",)
    return names.values.get(name.lstrip("\\"), (ANY,))


def _joined(parts: list[Node], names: _Names, depth: int) -> tuple[str, ...]:
    values: tuple[str, ...] = ("",)
    for part in parts:
        more = _value(part, names, depth + 1)
        if max(map(len, values), default=0) >= LONGEST:
            break
        values = tuple((a + b)[:LONGEST] for a in values for b in more)[:MOST]
    return values


def _call(node: Node, names: _Names, depth: int) -> tuple[str, ...]:
    arguments = _arguments(node)
    name = syntax.name(node.named_children[0]).lower().lstrip("\\")
    if not arguments:
        return (ANY,)
    values = _value(arguments[0], names, depth + 1)
    if name in ("realpath", "rtrim", "strval"):
        return values
    if name != "dirname":
        return (ANY,)
    levels = text(arguments[1]) if len(arguments) > 1 else "1"
    for _ in range(min(int(levels), 20) if re.fullmatch("[0-9]{1,4}", levels) else 1):
        values = tuple(posixpath.dirname(v) for v in values)
    return values


def read_ini(source: bytes) -> tuple[tuple[str, str], ...]:
    """The settings of an ini file (php.ini, a pool of PHP-FPM), in order, quotes removed."""
    found: list[tuple[str, str]] = []
    for line in source.decode("utf-8", "surrogateescape").splitlines():
        key, sign, value = line.strip().partition("=")
        if not sign or key.startswith((";", "#", "[")):
            continue
        value = value.strip()
        if value[:1] in ("'", '"'):
            value = value[1:].partition(value[0])[0]
        else:
            value = value.partition(";")[0].strip()
        key = key.strip()
        if key.startswith("php_") and "[" in key:  # php_admin_value[error_log] of a pool
            key = key.partition("[")[2].rstrip("]")
        if value:
            found.append((key, value))
    return tuple(found)
