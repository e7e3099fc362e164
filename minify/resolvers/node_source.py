"""Which modules does JavaScript or TypeScript source name?

The source is not parsed but searched for the forms in which a module can be named. That finds too
much (names in comments), which costs a file that exists anyway, and nothing too little that a
parser would find: it works on minified, bundled, typed and broken source alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minify.jsontext import parse_json

# require("x"), require.resolve("x"), import("x"), import "x", export/import ... from "x",
# new Worker("x"), new URL("x", import.meta.url); minified: no spaces, any name for `require`.
GAP = rb"(?:\s|/\*[^*]{0,80}\*/)*"
NAMED = re.compile(
    rb"(?:\b(?:require(?:\.resolve)?|import|Worker|URL|fork)" + GAP + rb"\(|\b(?:from|import))"
    + GAP + rb"(['\"`])([^'\"`\n\r\\$]{1,200})\1"
)  # fmt: skip
CALLED = re.compile(rb"\b[\w$]{1,3}\((['\"])([^'\"\n\r\\]{1,200})\1\)")
STRING = re.compile(rb"(['\"`])(@?[A-Za-z][\w.-]{0,60}(?:/[\w.-]{1,60})?)\1")


def named(text: bytes, *, bundled: bool = False) -> frozenset[str]:
    """Specifiers in every form that loads a module by a constant name.

    `bundled`: also `x("name")`, as minifiers rename `require`.
    """
    found = {m[2] for m in NAMED.finditer(text)}
    found |= {m[2] for m in CALLED.finditer(text)} if bundled else set()
    return frozenset(s.decode("utf-8", "replace") for s in found)


def strings(text: bytes) -> frozenset[str]:
    """Strings that could be the name of a package, such as a view engine's or a driver's."""
    return frozenset(m[2].decode("ascii") for m in STRING.finditer(text))


def manifest(text: bytes) -> Mapping[str, Any] | None:
    """Read a package.json; None when it is not a JSON object."""
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def dependencies(package: Mapping[str, Any]) -> Iterator[str]:
    """Names of packages a package needs or can use when it runs (npm: package.json).

    Optional peers are left to the code that loads them: most are for its types or its tests.
    """
    meta = package.get("peerDependenciesMeta")
    spare = set(meta) if isinstance(meta, dict) else set()
    for field in ("dependencies", "optionalDependencies", "peerDependencies"):
        value = package.get(field)
        if isinstance(value, dict):
            yield from (n for n in map(str, value) if field[:4] != "peer" or n not in spare)
    bundled = package.get("bundleDependencies", package.get("bundledDependencies"))
    if isinstance(bundled, list):
        yield from (str(name) for name in bundled)


def developers(package: Mapping[str, Any]) -> frozenset[str]:
    """Names of packages that only a package's developers need: its build and tests import them."""
    value = package.get("devDependencies")
    return frozenset(map(str, value if isinstance(value, dict) else ())) - set(
        dependencies(package)
    )


def fits(package: Mapping[str, Any], libcs: frozenset[str]) -> bool:
    """Whether a package is for Linux and one of these C libraries (npm: package.json, os, libc).

    A name with "!" before it is excluded; a field that is not there excludes nothing.
    """
    for field, have in (("os", frozenset({"linux"})), ("libc", libcs)):
        value = package.get(field)
        told = [str(v) for v in value] if isinstance(value, list) else []
        wanted = {v for v in told if not v.startswith("!")}
        if have and (
            (wanted and not wanted & have) or have <= {v[1:] for v in told if v[:1] == "!"}
        ):
            return False
    return True


def targets(package: Mapping[str, Any]) -> Iterator[str]:
    """Files a package.json names: main, module, bin, exports and imports of any condition."""
    todo: list[Any] = [package.get(f) for f in ("main", "module", "bin", "exports", "imports")]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
