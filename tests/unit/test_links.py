"""Symlinks lead to what they point to, and kept files bring their other names."""

from __future__ import annotations

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene, links
from minify.tree import Tree
from tests.kit import Exec, Link, Same, tree


def ask(made: Tree, path: str, level: KeepLevel = KeepLevel.EXACT) -> list[str]:
    nothing: frozenset[str] = frozenset()
    scene = Scene(made, ImageConfig(), {}, frozenset(), nothing, nothing, level)
    answers = list(links.make().needs(scene, made.entries[path]))
    assert all(isinstance(a, Need) for a in answers)
    return [a.path for a in answers if isinstance(a, Need)]


def test_a_symlink_needs_its_target() -> None:
    made = tree({"/a": Link("b"), "/b": Link("/c"), "/c": "x"})
    assert ask(made, "/a") == ["/a"]  # resolving it keeps every link crossed, and the end
    assert made.resolve("/a").crossed == ("/a", "/b")


def test_dangling_and_looping_symlinks_need_nothing() -> None:
    made = tree({"/a": Link("gone"), "/l": Link("l"), "/m": Link("n"), "/n": Link("m")})
    assert [ask(made, p) for p in ("/a", "/l", "/m")] == [[], [], []]


def test_other_names_of_a_file_and_of_a_directory() -> None:
    made = tree(
        {
            "/usr/bin/busybox": Exec(b"x"),
            "/usr/bin/sh": Link("busybox"),
            "/bin": Link("usr/bin"),
            "/etc/alternatives/sh": Link("/usr/bin/sh"),
            "/other": Link("/usr/lib"),
        }
    )
    assert ask(made, "/usr/bin/busybox") == ["/etc/alternatives/sh", "/usr/bin/sh"]
    assert ask(made, "/usr/bin") == ["/bin"]


def test_names_nobody_uses_are_left_out() -> None:
    made = tree(
        {
            "/etc/init.d/x": Exec(b"x"),
            "/etc/rc2.d/S01x": Link("../init.d/x"),
            "/usr/share/doc/x/x": Link("/etc/init.d/x"),
        }
    )
    assert ask(made, "/etc/init.d/x") == []


def test_hard_link_twins_of_programs_are_kept_from_reach_on() -> None:
    made = tree(
        {"/bin/perl": Exec(b"x"), "/bin/perl5": Same("/bin/perl"), "/a": "x", "/b": Same("/a")}
    )
    assert ask(made, "/bin/perl") == []
    assert "/bin/perl5" in ask(made, "/bin/perl", KeepLevel.REACH)
    assert ask(made, "/a", KeepLevel.REACH) == []


def test_links_to_the_root_are_no_alias() -> None:
    assert ask(tree({"/x": Link("/")}), "/") == []
