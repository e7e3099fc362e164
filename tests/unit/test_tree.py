from __future__ import annotations

import pytest

from minify.errors import MinifyError
from minify.tree import glob_regex
from tests.kit import Link, Same, tree


def test_every_link_crossed_is_told() -> None:
    t = tree({"/usr/bin/python3.11": b"x", "/usr/bin/python3": Link("python3.11"),
              "/bin": Link("usr/bin"), "/etc/alternatives/py": Link("/bin/python3")})  # fmt: skip
    found = t.resolve("/etc/alternatives/py")
    assert found.real == "/usr/bin/python3.11"
    assert found.crossed == ("/etc/alternatives/py", "/bin", "/usr/bin/python3")


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/a/../../../etc/passwd", "/etc/passwd"),
        ("/esc/etc/passwd", "/etc/passwd"),
        ("/loop", None),
        ("/etc/passwd/x", None),
        ("/", "/"),
        ("/nowhere", None),
    ],
)
def test_no_path_leaves_the_root(path: str, real: str | None) -> None:
    t = tree({"/etc/passwd": b"", "/a/b": b"", "/esc": Link("../../../.."), "/loop": Link("/loop2"),
              "/loop2": Link("/loop")})  # fmt: skip
    assert t.resolve(path).real == real


def test_relative_paths_start_at_the_base() -> None:
    t = tree({"/app/x": b"1", "/app/link": Link("sub/../x")})
    assert t.real("x", "/app") == "/app/x"
    assert t.real("link", "/app") is None  # sub does not exist, as for the kernel


def test_hard_links_know_each_other() -> None:
    t = tree({"/a": b"same", "/b": Same("/a"), "/c": b"other"})
    entry = t.get("/b")
    assert entry is not None
    assert t.twins(entry) == ("/a", "/b")
    assert t.read("/b") == b"same"


def test_reading_what_is_no_file_says_so() -> None:
    with pytest.raises(MinifyError, match="not a regular file"):
        tree({"/d": None}).read("/d")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/etc/*.conf", "/etc/a.conf", True),
        ("/etc/*.conf", "/etc/b/a.conf", False),
        ("/etc/**", "/etc", True),
        ("/etc/**", "/etc/b/a.conf", True),
        ("/etc/**", "/etcetera", False),
        ("/usr/**/x.so", "/usr/x.so", True),
        ("/usr/**/x.so", "/usr/a/b/x.so", True),
        ("**/*.py", "/a/b.py", True),
        ("/a/[bc]?", "/a/bz", True),
        ("/a/[bc]?", "/a/dz", False),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert bool(glob_regex(pattern).fullmatch(path)) is matches


def test_walk_goes_as_deep_as_a_hostile_image() -> None:
    paths = ["/d" * n for n in range(1, 5001)]
    deep = tree({paths[-1] + "/file": "x"})
    assert [e.path for e in deep.walk("/")] == [*paths, paths[-1] + "/file"]


def test_walk_is_depth_first_and_sorted() -> None:
    made = tree({"/b/2": "", "/b/1/x": "", "/a": "", "/b.c": ""})
    assert [e.path for e in made.walk("/")] == ["/a", "/b", "/b/1", "/b/1/x", "/b/2", "/b.c"]
    assert [e.path for e in made.walk("/b")] == ["/b/1", "/b/1/x", "/b/2"]
    assert list(made.walk("/a")) == []


def test_content_counts_hard_links_once() -> None:
    made = tree({"/a": "123", "/b": Same("/a"), "/c": "45", "/d": Link("a"), "/e": None})
    assert made.content_bytes == 5
