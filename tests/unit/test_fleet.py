"""What a fleet shares: text that reads back, and only files that are the same in all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.engines import Loaded
from minify.errors import UsageError
from minify.fleet import Fleet, Member, fleet_of, load_fleet, read_fleet, write_fleet
from minify.images.layers import squash
from minify.model import Image, ImageConfig, KeepLevel, KeepSet, Layer, Platform, Reason
from minify.pack import SHARED, shared, single
from tests.image_kit import Item, folder, hard, item, spans

TOUCHED = (Reason("touch:open", "strace"),)
BASE = [
    folder("lib"), item("lib/a", b"a" * 900), item("lib/b", b"b" * 900), item("lib/c", "c"),
    item("lib/one", "1"), hard("lib/two", "lib/one"),
]  # fmt: skip


def loaded(place: Path, name: str, *upper: Item, base: list[Item] = BASE) -> Loaded:
    where = place / name
    where.mkdir()
    tars = spans(where, base, list(upper))
    layers = (Layer("sha256:base" if base is BASE else "sha256:other"), Layer(f"sha256:{name}"))
    image = Image(name, "sha256:" + name, Platform(), ImageConfig(), layers)
    return Loaded(image, squash(tars), lambda count: squash(tars[:count]))


def member(name: str, source: Loaded, *kept: str, also: tuple[str, ...] = ()) -> Member:
    return Member(name, source, dict.fromkeys(kept, TOUCHED) | dict.fromkeys(also, (SHARED,)))


def test_a_list_reads_back() -> None:
    fleet = Fleet(2, frozenset({"/a", "/b\tc", "/é", "/x\udcff"}))
    assert read_fleet(write_fleet(fleet), "f") == fleet
    assert load_fleet("") is None


@pytest.mark.parametrize("text", ["", "layers 0\n/a\n", "layers many\n/a\n", "/a\nnonsense\n"])
def test_other_text_is_no_list(text: str) -> None:
    with pytest.raises(UsageError, match="f"):
        read_fleet(text, "f")


def test_a_list_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none: No such file"):
        load_fleet(str(tmp_path / "none"))


def test_only_what_all_keep_unchanged_is_shared(tmp_path: Path) -> None:
    one = loaded(tmp_path, "x", item("app", "1"))
    two = loaded(tmp_path, "y", item("lib/c", "changed"))
    three = loaded(tmp_path, "z", item("app", "3"))
    fleet = fleet_of(
        [
            member("x", one, "/lib/a", "/lib/b", "/lib/c", "/lib/one", "/lib/two"),
            member("y", two, "/lib/a", "/lib/b", "/lib/c", "/lib/one"),
            member("z", three, "/lib", "/lib/a", "/lib/c", "/lib/two", also=("/lib/b",)),
        ]
    )
    # /lib/b is in z for the sake of a shared layer only; the hard links are one file.
    assert fleet == Fleet(1, frozenset({"/lib/a", "/lib/one", "/lib/two"}))


def test_a_file_that_lost_a_name_is_not_shared(tmp_path: Path) -> None:
    one = loaded(tmp_path, "x", item("app", "1"))
    two = loaded(tmp_path, "y", item("lib/.wh.two"))
    members = [member(n, s, "/lib/a", "/lib/one") for n, s in (("x", one), ("y", two))]
    assert fleet_of(members).paths == {"/lib/a"}


def test_nothing_in_common_is_said(tmp_path: Path) -> None:
    one = loaded(tmp_path, "x", item("app", "1"))
    two = loaded(tmp_path, "y", item("app", "1"), base=[item("lib/a", "a")])
    with pytest.raises(UsageError, match="no layer in common: x, y"):
        fleet_of([member("x", one, "/lib/a"), member("y", two, "/lib/a")])
    with pytest.raises(UsageError, match="no file is kept by all of: x, z"):
        fleet_of([member("x", one, "/lib/a"), member("z", one, "/lib/b")])


def keep(*paths: str) -> KeepSet:
    return KeepSet("sha256:i", KeepLevel.REACH, dict.fromkeys(paths, TOUCHED))


def test_the_first_layer_is_the_list_whatever_else_is_kept(tmp_path: Path) -> None:
    fleet = Fleet(1, frozenset({"/lib/a", "/lib/one", "/not/there"}))
    for name, kept in (("x", ("/lib/a", "/app")), ("y", ("/lib/a", "/lib/b", "/lib/one", "/app"))):
        made, parts = shared(loaded(tmp_path, name, item("app", name)), keep(*kept), fleet)
        assert parts[0].paths == ("/lib/a", "/lib/one", "/lib/two")
        assert made.paths["/lib/two"] == (SHARED,)
        assert made.findings == ()


@pytest.mark.parametrize(
    ("fleet", "upper", "told"),
    [
        (Fleet(1, frozenset({"/lib/a"})), item("lib/a", "new"), "an upper layer changed"),
        (Fleet(1, frozenset({"/none"})), item("app", "1"), "have none of its files"),
        (Fleet(1, frozenset({"/lib/b"})), item("app", "1"), "less than half"),
    ],
)
def test_a_layer_that_is_left_out_is_said(
    tmp_path: Path, fleet: Fleet, upper: Item, told: str
) -> None:
    source = loaded(tmp_path, "x", upper)
    made, parts = shared(source, keep("/lib/a", "/app"), fleet)
    assert "base" not in [part.name for part in parts]
    assert told in made.findings[0].message
    assert set(made.paths) == {"/lib/a", "/app"} == set(single(source, made)[1][0].paths)
