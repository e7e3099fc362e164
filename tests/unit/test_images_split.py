"""Layers shared by a fleet: the base bytes are equal although each image keeps something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.images.layers import squash
from minify.images.span import Span
from minify.images.split import Part, common_layers, core, fleet_core, split
from minify.images.write import LayerInfo, write_layer
from minify.tree import Tree
from tests.image_kit import Item, folder, hard, item, spans, symlink

LIB = "usr/lib/x86_64-linux-gnu"
LIBC, LOADER = f"/{LIB}/libc.so.6", f"/{LIB}/ld-linux-x86-64.so.2"
BASE = [
    folder("usr"), folder("usr/lib"), folder(LIB, mtime=1),
    item(f"{LIB}/libc.so.6", b"c" * 9000), item(f"{LIB}/ld-linux-x86-64.so.2", b"l" * 2000),
    hard(f"{LIB}/ld-linux.so.2", f"{LIB}/ld-linux-x86-64.so.2"),
    item(f"{LIB}/libm.so.6", b"m" * 3000), item(f"{LIB}/libz.so.1", b"z" * 500),
    folder("etc"), item("etc/passwd", "root"), symlink("lib", "usr/lib"),
    folder("var"), folder("var/lib"), folder("var/lib/dpkg"), item("var/lib/dpkg/status", "1"),
]  # fmt: skip


def packages(name: str) -> list[Item]:
    """A layer that installs something: it touches the directory the base's libraries are in."""
    return [
        folder(LIB, mtime=len(name), mode=0o711),
        item(f"{LIB}/{name}.so", name),
        item("var/lib/dpkg/status", name),
    ]


def image(tmp_path: Path, name: str, *upper: list[Item]) -> tuple[Tree, Tree]:
    where = tmp_path / name
    where.mkdir()
    tars = spans(where, BASE, *(upper or (packages(name), [item("app", name)])))
    return squash(tars), squash(tars[:1])


def written(tmp_path: Path, parts: tuple[Part, ...]) -> list[tuple[LayerInfo, Path]]:
    found = []
    for number, part in enumerate(parts):
        sink = tmp_path / f"out{number}-{part.paths[-1].replace('/', '_')}.tar"
        found.append((write_layer(part.tree, part.paths, sink, epoch=None), sink))
    return found


def test_the_base_layer_is_equal_although_the_subsets_differ(tmp_path: Path) -> None:
    one, base = image(tmp_path, "one")
    two, base_two = image(tmp_path, "other")
    first = split(one, base, [LIBC, LOADER, f"/{LIB}/one.so", "/app"], core(base))
    second = split(two, base_two, [LIBC, "/lib", "/app", "/etc/passwd"], core(base_two))
    assert [p.name for p in first] == [p.name for p in second] == ["base", "runtime", "application"]
    digests = [[i.diff_id for i, _ in written(tmp_path, parts)] for parts in (first, second)]
    assert digests[0][0] == digests[1][0]
    assert digests[0][1:] != digests[1][1:]


def test_the_layers_together_are_the_tree_of_a_single_layer(tmp_path: Path) -> None:
    tree, base = image(tmp_path, "one")
    kept = [LIBC, LOADER, f"/{LIB}/one.so", "/app", "/etc/passwd", "/lib"]
    parts = split(tree, base, kept, core(base))
    many = squash([Span(path, 0, info.size) for info, path in written(tmp_path, parts)])
    info = write_layer(tree, kept, tmp_path / "single.tar")
    single = squash([Span(tmp_path / "single.tar", 0, info.size)])
    assert set(many.entries) == set(single.entries) | core(base)
    for path, entry in single.entries.items():
        other = many.entries[path]
        assert (other.kind, other.mode, other.mtime) == (entry.kind, entry.mode, entry.mtime)


def test_the_core_takes_all_names_of_a_file(tmp_path: Path) -> None:
    _, base = image(tmp_path, "one")
    assert f"/{LIB}/ld-linux.so.2" in core(base)
    assert f"/{LIB}/libz.so.1" not in core(base)


@pytest.mark.parametrize(
    "upper",
    [[item(f"{LIB}/libc.so.6", "upgraded")], [item(f"{LIB}/.wh.libm.so.6")]],
    ids=["upgraded", "removed"],
)
def test_no_base_layer_when_an_upper_layer_changed_it(tmp_path: Path, upper: list[Item]) -> None:
    tree, base = image(tmp_path, "one", upper)
    parts = split(tree, base, [LIBC, LOADER], core(base))
    assert "base" not in [part.name for part in parts]
    assert {p for part in parts for p in part.paths} >= {LIBC, LOADER}


def test_no_base_layer_for_a_static_program(tmp_path: Path) -> None:
    tree, base = image(tmp_path, "one")
    assert [p.name for p in split(tree, base, ["/app"], core(base))] == ["application"]


def test_an_image_that_keeps_only_the_base(tmp_path: Path) -> None:
    tree, base = image(tmp_path, "one")
    parts = split(tree, base, sorted(core(base)), core(base))
    many = squash([Span(path, 0, info.size) for info, path in written(tmp_path, parts)])
    assert many.entries[f"/{LIB}"].mode == 0o711  # as the upper source layer left it


def test_an_empty_keep_list(tmp_path: Path) -> None:
    tree, base = image(tmp_path, "one")
    assert split(tree, base, [], core(base)) == ()
    assert split(tree, base, [], frozenset()) == ()


def test_a_fleet_shares_what_all_keep(tmp_path: Path) -> None:
    _, base = image(tmp_path, "one")
    zlib = f"/{LIB}/libz.so.1"
    keeps = [{LIBC, zlib, "/app", LOADER}, {LIBC, zlib, "/usr", LOADER}]
    assert fleet_core(base, keeps) == {LIBC, zlib}  # of the loader not every name is kept
    assert fleet_core(base, []) == frozenset()


@pytest.mark.parametrize(
    ("images", "count"),
    [
        ([], 0),
        ([["a", "b"]], 1),
        ([[]], 0),
        ([["a", "b"], ["a", "b", "c"]], 2),
        ([["a"], ["b"]], 0),
    ],
)
def test_common_layers(images: list[list[str]], count: int) -> None:
    assert common_layers(images) == count
