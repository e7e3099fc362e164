"""Where the bytes are: layers that undo one another, packages, reasons, copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.analyze import (
    NO_PACKAGE,
    Share,
    Stacked,
    Waste,
    by_package,
    by_reason,
    dropped,
    duplicates,
    stacked,
)
from minify.images.layers import squash
from minify.model import Image, ImageConfig, KeepLevel, KeepSet, Layer, Platform, Reason
from tests.image_kit import Item, folder, hard, item, spans, symlink
from tests.kit import Same, tree

TREE = tree(
    {
        "/a/one": b"1" * 5000, "/a/same": b"1" * 5000, "/a/other": b"2" * 5000,
        "/a/name": Same("/a/one"), "/b/small": b"x" * 10, "/b/copy": b"x" * 10, "/b/dir": None,
    }
)  # fmt: skip
PACKAGES = {"/a/one": "p", "/a/name": "p", "/b/small": "q"}.get


def look(place: Path, *layers: list[Item], commands: tuple[str, ...] = ()) -> Stacked:
    tars = spans(place, *layers)
    diff_ids = tuple(Layer(f"sha256:{n}") for n in range(len(layers)))
    image = Image("i", "sha256:i", Platform(), ImageConfig(), diff_ids)
    return stacked(image, lambda count: squash(tars[:count]), commands)


def test_layers_that_add_waste_nothing(tmp_path: Path) -> None:
    found = look(tmp_path, [item("a", b"a" * 10)], [item("b", b"b" * 5), symlink("c", "a")])
    assert [(one.bytes, one.files, one.hidden) for one in found.layers] == [(10, 1, 0), (5, 1, 0)]
    assert (found.wasted, found.wasted_bytes, found.efficiency) == ((), 0, 1.0)


def test_what_is_overwritten_is_in_vain_where_it_was_stored(tmp_path: Path) -> None:
    layers = [item("a", b"1" * 30)], [item("a", b"2" * 10)], [item("a", b"3" * 20)]
    found = look(tmp_path, *layers, commands=("FROM", "RUN x", "RUN y"))
    assert [one.hidden for one in found.layers] == [30, 10, 0]
    assert [one.created_by for one in found.layers] == ["FROM", "RUN x", "RUN y"]
    assert found.wasted == (Waste("/a", 40, 3, deleted=False),)
    assert found.efficiency == 10 / 60  # as Dive has it: the smallest of its sizes against all


def test_what_is_deleted_is_in_vain(tmp_path: Path) -> None:
    found = look(tmp_path, [item("a", b"1" * 30), item("b", b"b" * 40)], [item(".wh.a")])
    assert found.wasted == (Waste("/a", 30, 2, deleted=True),)
    assert found.layers[0].hidden == 30
    assert found.efficiency == 70 / 100  # the deletion counts as a second copy


def test_a_deleted_folder_is_in_vain_too(tmp_path: Path) -> None:
    base = [folder("d"), item("d/a", b"1" * 30), item("d/b", b"2" * 5)]
    found = look(tmp_path, base, [item(".wh.d")])
    assert {(w.path, w.bytes, w.deleted) for w in found.wasted} == {
        ("/d/a", 30, True), ("/d/b", 5, True),
    }  # fmt: skip
    assert found.efficiency == 1.0  # where Dive sees nothing


def test_what_comes_back_is_not_deleted(tmp_path: Path) -> None:
    found = look(tmp_path, [item("a", b"1" * 30)], [item(".wh.a")], [item("a", b"2" * 30)])
    assert found.wasted == (Waste("/a", 30, 3, deleted=False),)


def test_names_of_one_file_count_once(tmp_path: Path) -> None:
    found = look(tmp_path, [item("a", b"1" * 30), hard("b", "a")], [item(".wh.b")])
    assert (found.layers[0].bytes, found.layers[0].files, found.wasted_bytes) == (30, 2, 0)


def test_bytes_by_package() -> None:
    assert by_package(TREE, PACKAGES) == (
        Share(NO_PACKAGE, 10010, 3), Share("p", 5000, 2), Share("q", 10, 1),
    )  # fmt: skip


def test_bytes_by_reason_and_what_was_dropped() -> None:
    kept = {"/a/one": "elf", "/b/small": "data", "/b/dir": "parent"}
    keep = KeepSet("i", KeepLevel.REACH, {p: (Reason(r, "x"),) for p, r in kept.items()})
    shares = by_reason(TREE, keep)
    assert shares == (Share("elf", 5000, 1), Share("data", 10, 1))
    # The other name of what is kept is no loss.
    assert dropped(TREE, keep, PACKAGES) == (Share(NO_PACKAGE, 10010, 3),)


def test_the_same_content_twice() -> None:
    (found,) = duplicates(TREE)
    assert (found.bytes, found.size, found.paths) == (5000, 5000, ("/a/name", "/a/same"))
    assert len(duplicates(TREE, smallest=1)) == 2


@pytest.mark.parametrize("layers", [0, 1])
def test_an_empty_image(tmp_path: Path, layers: int) -> None:
    found = look(tmp_path, *[list[Item]()] * layers)
    assert (len(found.layers), found.efficiency) == (layers, 1.0)
