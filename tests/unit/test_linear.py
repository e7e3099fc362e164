"""Every reader of an image's content is linear: twice the text takes at most three times as long.

Three nets. Every regular expression of the rooms that read content, on text made of its own
literals; every function that takes text; every resolver, on files of every kind. A new reader is
in them without being named, and one whose arguments cannot be guessed has to be listed here.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import minify
from minify.model import ImageConfig, KeepLevel
from minify.resolvers import MODULES, Scene
from minify.resolvers.shell_parse import Names
from minify.syntax import parse
from minify.tree import glob_regex
from tests.kit import Exec, tree
from tests.linear_kit import FACTOR, PUMPS, STARTS, cpu, growth, pump, tokens

ROOT = Path(minify.__file__).parent
# What reads an image or what a container said; the rest reads what the user wrote.
ROOMS = ("resolvers", "packages", "policies", "elf", "images", "store", "imports", "compare",
         "tree", "globs", "jsontext", "syntax")  # fmt: skip
SEED = int(os.environ.get("MINIFY_SEED", "1"))
CASES = int(os.environ.get("MINIFY_CASES", "20"))  # of each net

# Of what the user gives, and of paths: no content of an image reaches them.
USERS = {
    "minify.images.transports.REFERENCE", "minify.resolvers.links.NO_ALIAS",
    "minify.resolvers.calls.LIBRARY",
}  # fmt: skip


@functools.cache
def sources() -> str:
    return "\n".join(path.read_text() for path in sorted(ROOT.rglob("*.py")))


def searched(name: str) -> bool:
    """Whether a pattern is looked for anywhere in a text, not only matched from its start."""
    word = re.escape(name.rpartition(".")[2])
    return not re.search(rf"\b{word}\.(?:full)?match\b", sources()) or bool(
        re.search(rf"\b{word}\.(?:search|findall|finditer|sub|split)\b", sources())
    )


# Readers with more to tell than the text: how to call them; None for what reads no content.
Reader = Callable[[bytes], object]
READERS: dict[str, Reader | None] = {}


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def listed() -> dict[str, Reader | None]:
    """The readers that need more than text; imported here, for some have optional libraries."""
    crawl = importlib.import_module("minify.imports.crawl")
    from minify.imports import graphql
    from minify.resolvers import (
        calls_go,
        calls_text,
        java_archive,
        perl_source,
        php_source,
        ruby_source,
        shell_parse,
    )

    return {
        "images.transports.parse_location": None,
        "images.transports.located": None,
        "imports.crawl.links_of": lambda d: crawl.links_of(text(d), "text/html", "/", forms=True),
        "imports.graphql.queries_of": lambda d: graphql.queries_of(d, 3),
        "imports.har.har_drives": None,  # the user's own files
        "imports.openapi.generate": None,  # see test_openapi
        "imports.postman.postman_drives": None,
        "policies.rules.parse_rules": None,
        "resolvers.calls_go.commands": lambda d: list(calls_go.commands(d, len)),
        "resolvers.calls_text.commands": lambda d: [
            list(calls_text.commands(kind, d)) for kind in calls_text.STARTERS
        ],
        "resolvers.java_archive.classes": None,  # archives: see test_reach_java
        "resolvers.java_archive.class_path": None,
        "resolvers.java_archive.arguments": lambda d: java_archive.arguments(text(d)),
        "resolvers.perl_source.read_loads": lambda d: perl_source.read_loads(d, "/x"),
        "resolvers.php_source.read_includes": lambda d: php_source.read_includes(d, "/x"),
        "resolvers.pieces.pieces": None,
        "resolvers.plugins.read_rows": None,
        "resolvers.ruby_source.read_requires": lambda d: ruby_source.read_requires(d, "/x"),
        "resolvers.ruby_source.outer": lambda d: ruby_source.outer(d, "x"),
        "resolvers.ruby_source.is_tool": None,  # paths
        "resolvers.ruby_source.top_of": None,
        "resolvers.shell_parse.read_script": lambda d: shell_parse.read_script(d, Names("/x", "/")),
    }


def takes_text(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or not node.args.args:
        return False
    first = node.args.args[0]
    kind = ast.unparse(first.annotation) if first.annotation else ""
    told = first.arg in ("text", "source", "line", "value", "document")
    return kind in ("bytes", "BinaryIO", "Iterator[bytes]") or (kind == "str" and told)


def modules() -> Iterator[str]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        if name.partition(".")[0] in ROOMS:
            yield name.removesuffix(".__init__")


@functools.cache
def found_readers() -> dict[str, str]:
    """Every public function whose first argument is text, and that argument's type."""
    found = {}
    for module in modules():
        file = ROOT / (module.replace(".", "/") + ".py")
        file = file if file.exists() else ROOT / module.replace(".", "/") / "__init__.py"
        for node in ast.parse(file.read_text()).body:
            if takes_text(node):
                assert isinstance(node, ast.FunctionDef)
                kind = ast.unparse(node.args.args[0].annotation or ast.Constant(""))
                found[f"{module}.{node.name}"] = kind
    return found


def reader(name: str) -> Reader | None:
    known = listed()
    if name in known:
        return known[name]
    module, _, function = name.rpartition(".")
    call = getattr(importlib.import_module(f"minify.{module}"), function)
    _first, *others = inspect.signature(call).parameters.values()
    needed = [p.name for p in others if p.default is p.empty]
    assert not needed, f"{name} needs {needed}: list it here, and how it is called"
    if found_readers()[name] == "str":
        return lambda data: _all(call(text(data)))
    return lambda data: _all(call(data))


def _all(answer: Any) -> Any:
    return list(answer) if isinstance(answer, Iterator) else answer


def linear(name: str, token: bytes, work: Callable[[int], Callable[[], object]], size: int) -> None:
    times = growth(work, size)
    if times > FACTOR:  # a machine's hiccup does not grow with the text, a bad reader does
        times = growth(work, 2 * size)
    assert times <= FACTOR, f"{name}: {token!r} again and again: twice the text, {times:.1f} times"


def sample(cases: list[Any], share: float = 1.0) -> list[Any]:
    """Some of all cases, others with another MINIFY_SEED; all with a large MINIFY_CASES."""
    count = int(CASES * share)
    return cases if count >= len(cases) else random.Random(SEED).sample(cases, count)


def patterns() -> list[tuple[str, re.Pattern[Any]]]:
    found: dict[tuple[Any, int], tuple[str, re.Pattern[Any]]] = {}
    for module in modules():
        if module == "imports.openapi":
            continue
        loaded = importlib.import_module(f"minify.{module}")
        for key, value in vars(loaded).items():
            for one in _patterns_in(value):
                found.setdefault((one.pattern, one.flags), (f"minify.{module}.{key}", one))
    # Text that is only matched from its start is a path or a word: of at most PATH_MAX bytes.
    return [
        (name, rule) for name, rule in found.values()
        if name not in USERS and (isinstance(rule.pattern, bytes) or searched(name))
    ]  # fmt: skip


def _patterns_in(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _patterns_in(one)


@pytest.mark.parametrize(
    ("name", "rule"), patterns(), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_regular_expression(name: str, rule: re.Pattern[Any]) -> None:
    own = tokens(rule)
    pumps = dict.fromkeys([*own, *(a + b for a in own[:6] for b in own[:6]), *PUMPS[:14]])
    ways = [rule.match, *([rule.findall] if searched(name) else [])]
    raw = isinstance(rule.pattern, bytes)
    for token, start in sample(list(itertools.product(pumps, [b"", *own[:4]])), 0.6):

        def work(size: int, token: bytes = token, start: bytes = start) -> Callable[[], object]:
            data = pump(token, size, start)
            given: Any = data if raw else data.decode("latin-1")
            return lambda: [way(given) for way in ways]

        linear(name, start + b" and " + token if start else token, work, 5_000)


def test_the_readers_are_counted() -> None:
    assert set(listed()) <= {*found_readers(), "resolvers.calls_text.commands"}
    assert len(found_readers()) > 40
    assert sum(reader(name) is not None for name in found_readers()) > 30


@pytest.mark.parametrize("name", sorted(found_readers()))
def test_every_function_that_takes_text(name: str) -> None:
    read = reader(name)
    if read is None:
        pytest.skip("reads no content of an image, or is tested elsewhere")
    for token in sample([t for t in PUMPS + STARTS if t not in BOUNDED], 0.4):

        def work(size: int, token: bytes = token) -> Callable[[], object]:
            data = pump(token, size)
            return lambda: _tried(read, data)

        linear(name, token, work, 12_000)


def _tried(read: Reader, data: bytes) -> None:
    try:
        read(data)
    except (minify_errors(), ValueError, IndexError, KeyError):
        pass


def minify_errors() -> type[Exception]:
    from minify.errors import MinifyError

    return MinifyError


PLACES = {
    "/app/x.py": b"", "/app/x.rb": b"", "/app/x.gemspec": b"", "/app/x.pl": b"", "/app/x.pm": b"",
    "/app/x.php": b"", "/app/x.js": b"", "/app/package.json": b"", "/app/x.sh": b"#!/bin/sh\n",
    "/app/Procfile": b"", "/app/x.conf": b"", "/etc/crontab": b"", "/etc/supervisor/x.conf": b"",
    "/etc/logrotate.d/x": b"", "/etc/ld.so.conf": b"", "/etc/passwd": b"", "/etc/pam.d/x": b"",
    "/etc/nsswitch.conf": b"", "/app/x.lua": b"", "/usr/lib/x/ebin/x.app": b"",
    "/app/x.pyc": b"", "/usr/lib/x86_64-linux-gnu/libx.so": b"\x7fELF", "/app/x.pth": b"",
    "/app/x.class": b"\xca\xfe\xba\xbe\0\0\0\x34", "/app/x.yaml": b"", "/app/x": b"#!/bin/bash\n",
    "/usr/lib/python3/dist-packages/x.py": b"", "/var/lib/dpkg/status": b"",
    "/var/lib/dpkg/info/x.list": b"", "/lib/apk/db/installed": b"",
}  # fmt: skip
PROGRAMS = ("/bin/sh", "/usr/bin/a", "/usr/bin/python3.11", "/usr/bin/perl", "/usr/bin/ruby",
            "/usr/bin/php", "/usr/bin/node")  # fmt: skip


# What tree-sitter's own parsers make of these is quadratic: that is bounded in number.
BOUNDED = (b"a|", b"<<A\n", b"a=(", b"a=")


def test_a_source_that_takes_for_ever_to_parse_is_given_up() -> None:
    for token in BOUNDED[:2]:
        source = pump(token, 200_000)
        assert cpu(lambda source=source: parse("bash", source)) < 1  # type: ignore[misc]
        assert parse("bash", source).broken
    assert not parse("bash", b"echo a || b\n" * 20_000).broken


def asked(path: str, data: bytes) -> None:
    """Ask every resolver about a file that was started and read."""
    programs = {program: Exec(b"\x7fELFx") for program in PROGRAMS}
    made = tree({**programs, "/usr/lib/python3.11/os.py": b"", path: Exec(PLACES[path] + data)})
    scene = Scene(
        made, ImageConfig(entrypoint=(path,)), {"PATH": "/usr/bin:/bin"}, frozenset({(path,)}),
        frozenset({path}), frozenset({"/app"}), KeepLevel.REACH,
    )  # fmt: skip
    for name in MODULES:
        resolver = importlib.import_module(f"minify.resolvers.{name}").make()
        list(resolver.needs(scene, made.entries[path]))


@pytest.mark.parametrize("path", PLACES)
def test_every_resolver_on_every_kind_of_file(path: str) -> None:
    for token in sample([t for t in PUMPS + STARTS if t not in BOUNDED], 0.2):

        def work(size: int, token: bytes = token) -> Callable[[], object]:
            data = pump(token, size)
            return lambda: asked(path, data)

        linear(path, token, work, 8_000)


def test_globs_with_many_stars_fail_at_once() -> None:
    rule = glob_regex("/" + "*a" * 40 + "*b")
    assert rule.fullmatch("/" + "a" * 255) is None
    assert rule.fullmatch("/" + "a" * 40 + "b")
    assert glob_regex("/x*y*z/*.py").fullmatch("/xyyzz/a.py")
