"""Globs sorted by shape mean what the plain regular expression means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minify.globs import compile_globs, expand, literal_dir, with_real
from minify.policies.places import braces, load_places, runtime_homes, script_of_another, weigh
from minify.tree import glob_regex
from tests.kit import Exec, Link, Same, tree

PARTS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "[ab]", "?"])
NAMES = st.sampled_from(["a", "b", "ab", "ba"])


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=4))
def test_every_shape_matches_as_the_regular_expression_does(
    parts: list[str], names: list[str]
) -> None:
    path = "/" + "/".join(names)
    for pattern in ("/" + "/".join(parts), "/".join(["**", *parts])):
        expected = glob_regex(pattern).fullmatch(path) is not None
        assert compile_globs([pattern]).match(path) is expected, (pattern, path)


@pytest.mark.parametrize(
    ("pattern", "split"),
    [("/a/b", ("/a/b", "")), ("/a/*.c", ("/a", "/*.c")), ("/a/**", ("/a", "/**")),
     ("/*", ("/", "/*")), ("/a/b[1]/c", ("/a", "/b[1]/c"))],
)  # fmt: skip
def test_the_directory_before_a_wildcard(pattern: str, split: tuple[str, str]) -> None:
    assert literal_dir(pattern) == split


def test_expanding_follows_links_before_the_wildcard_only() -> None:
    files = tree({"/usr/lib/x": "1", "/lib": Link("usr/lib"), "/o": Link("/nowhere")})
    assert list(expand(files, "/lib/**")) == ["/lib", "/usr/lib/x"]
    assert list(expand(files, "/o")) == ["/o"]
    assert list(expand(files, "/gone/*")) == []
    assert list(with_real(files, ["/lib/*", "/lib"])) == ["/lib/*", "/usr/lib/*", "/lib"]


def test_braces() -> None:
    assert list(braces("/{a,b}/c{1,2}")) == ["/a/c1", "/a/c2", "/b/c1", "/b/c2"]
    assert list(braces("/a")) == ["/a"]


def test_the_shipped_places() -> None:
    places = load_places()
    for shared in ("/", "/usr", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/etc", "/var/lib", "/srv",
                   "/home/me", "/proc/1", "/usr/share/locale/de"):  # fmt: skip
        assert places.generic.match(shared), shared
    for apart in ("/app", "/srv/site", "/usr/share/nginx", "/etc/nginx", "/var/lib/redis", "/data"):
        assert not places.generic.match(apart), apart
    assert places.vendored.match("/app/node_modules/x/y.js")
    assert places.vendored.match("/usr/local/lib/python3.12/os.py")
    assert not places.vendored.match("/app/lib/site.py")


def test_homes_of_run_times() -> None:
    files = tree({"/opt/java/lib/modules": "x", "/opt/conda/conda-meta/history": "", "/app/a": ""})
    assert runtime_homes(files, load_places()) == {"/opt/java", "/opt/conda"}


def test_what_pip_put_into_a_folder_of_any_name_is_at_home_there() -> None:
    record = "orm/__init__.py,sha256=x,1\nsix.py,,\n../bin/orm,,\n"
    files = tree({"/task/orm-1.dist-info/RECORD": record, "/task/orm/__init__.py": "",
                  "/task/six.pyc": "", "/task/own.py": "",
                  "/v/site-packages/a-1.dist-info/RECORD": "a.py,,"})  # fmt: skip
    homes = {"/task/orm-1.dist-info", "/task/orm", "/task/six.pyc"}
    assert runtime_homes(files, load_places()) == homes


def test_hard_links_weigh_once() -> None:
    found = weigh(tree({"/a/x": "123", "/a/y": Same("/a/x"), "/a/z/w": "1"}), "/a", lambda _: False)
    assert (found.size, found.files) == (4, 3)


def test_scripts_of_interpreters_in_use() -> None:
    files = tree(
        {
            "/bin": Link("usr/bin"),
            "/usr/bin/perl": Exec(b"x"),
            "/a": Exec(b"#!/bin/perl -w"),
            "/b": Exec(b"#!/usr/bin/env -S perl"),
            "/c": "#!/bin/perl",
        }
    )
    for path, foreign in (("/a", True), ("/b", True), ("/c", False), ("/usr/bin/perl", False)):
        entry, nobody = files.entries[path], frozenset[str]()
        assert script_of_another(files, entry, nobody, lambda _: False) is foreign
        assert not script_of_another(files, entry, frozenset({"/usr/bin/perl"}), lambda _: False)
        assert not script_of_another(files, entry, nobody, lambda _: True)
