"""What a program that never ran names beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.beside import FEW, MOST, make
from minify.resolvers.pieces import PIECE
from minify.tree import Tree
from tests.elf_kit import INTERP, elf
from tests.kit import Content, Exec, Link, tree

APP = "/usr/lib/app"
ROOM = b"\0" * 1024


def program(text: bytes, needed: tuple[str, ...] = ()) -> Exec:
    return Exec(elf(needed, interp=INTERP, extra=ROOM + text + ROOM))


def run(files: Tree, path: str, *touched: str) -> tuple[set[str], list[Finding]]:
    scene = Scene(files, ImageConfig(), {}, frozenset(), frozenset(touched), frozenset(),
                  KeepLevel.REACH)  # fmt: skip
    found = list(make().needs(scene, files.entries[path]))
    return (
        {n.path for n in found if isinstance(n, Need)},
        [n for n in found if isinstance(n, Finding)],
    )


def named(text: bytes, *entries: str) -> set[str]:
    """Which entries a program names."""
    files = tree({f"{APP}/app": program(text), **{f"{APP}/{e}": "x" for e in entries}})
    return {p.removeprefix(f"{APP}/") for p in run(files, f"{APP}/app")[0]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"\0icudtl.dat\0", True),
        (b"\0%s/icudtl.dat\0", True),
        (b'load("icudtl.dat")', True),
        (b"\0headless_icudtl.dat\0", True),  # two strings, merged by the linker
        (b"\0icudtl.dat.old\0", False),
        (b"\0icudtl_dat\0", False),
    ],
)
def test_a_file_beside_a_program_is_needed_where_its_name_ends(text: bytes, names: bool) -> None:
    assert named(text, "icudtl.dat", "other.dat") == ({"icudtl.dat"} if names else set())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"\0crash_handler\0", True),
        (b"\0./crash_handler\0", True),
        (b"\0no crash_handler there\0", False),
        (b"\0set_crash_handler\0", False),
    ],
)
def test_a_name_without_a_dot_may_be_a_word_of_a_message(text: bytes, names: bool) -> None:
    assert named(text, "crash_handler") == ({"crash_handler"} if names else set())


def test_of_a_named_directory_everything_is_needed_within_limits() -> None:
    files = tree({f"{APP}/app": program(b"\0locales/\0"), f"{APP}/locales/en/a.pak": "x"})
    wanted = {f"{APP}/locales", f"{APP}/locales/en", f"{APP}/locales/en/a.pak"}
    paths, findings = run(files, f"{APP}/app")
    assert paths == wanted
    assert "kept 2 entries, 1 bytes" in findings[0].message
    entries = dict(files.entries)
    entries[f"{APP}/locales/en/a.pak"] = replace(entries[f"{APP}/locales/en/a.pak"], size=64 << 20)
    paths, findings = run(Tree(entries, files.opener), f"{APP}/app")
    assert paths == set()
    assert f"too much to keep for a name in {APP}/app" in findings[0].message


def test_a_library_that_a_program_names_is_asked_in_turn() -> None:
    files = tree({f"{APP}/app": program(b"\0libGL.so\0"), f"{APP}/driver.json": "x",
                  f"{APP}/libGL.so": elf(extra=ROOM + b"\0driver.json\0" + ROOM)})  # fmt: skip
    assert run(files, f"{APP}/app")[0] == {f"{APP}/libGL.so"}
    assert run(files, f"{APP}/libGL.so")[0] == {f"{APP}/driver.json"}


def test_what_ran_is_known_and_what_is_linked_is_the_loaders() -> None:
    files = tree({f"{APP}/app": program(b"\0a.dat\0libx.so\0app\0", ("libx.so",)),
                  f"{APP}/a.dat": "x", f"{APP}/libx.so": "x"})  # fmt: skip
    assert run(files, f"{APP}/app")[0] == {f"{APP}/a.dat"}
    assert run(files, f"{APP}/app", f"{APP}/app")[0] == set()


@pytest.mark.parametrize("folder", ["/usr/bin", "/usr/lib", "/usr/lib/jvm/x/lib", "/opt"])
def test_in_shared_directories_and_language_run_times_names_say_nothing(folder: str) -> None:
    files = tree({f"{folder}/app.so": program(b"\0a.dat\0"), f"{folder}/a.dat": "x"})
    assert run(files, f"{folder}/app.so")[0] == set()


def test_many_programs_are_commands_and_many_entries_no_belongings() -> None:
    data = {f"{APP}/a.dat": "x"}
    app: Mapping[str, Content] = {f"{APP}/app": program(b"\0a.dat\0tool0\0"), **data}
    few = {f"{APP}/tool0": Exec("x")}
    many = {f"{APP}/tool{n}": Exec("x") for n in range(FEW)}
    assert run(tree({**app, **few}), f"{APP}/app")[0] == {f"{APP}/a.dat", f"{APP}/tool0"}
    assert run(tree({**app, **many}), f"{APP}/app")[0] == {f"{APP}/a.dat"}
    crowd = {f"{APP}/{n}.x": "x" for n in range(MOST)}
    assert run(tree({**app, **crowd}), f"{APP}/app")[0] == set()


def test_a_name_across_two_pieces_and_a_link_and_what_is_no_program() -> None:
    head = program(b"").data
    far = Exec(head + b"\0" * (PIECE - len(head) - 4) + b"\0a.dat\0")
    files = tree({f"{APP}/app": far, f"{APP}/a.dat": Link("/usr/share/a"), "/usr/share/a": "x",
                  f"{APP}/broken": Exec(b"\x7fELF\0a.dat\0" + b"\xff" * 2000)})  # fmt: skip
    assert run(files, f"{APP}/app")[0] >= {f"{APP}/a.dat"}
    assert run(files, f"{APP}/broken")[0] == set()
