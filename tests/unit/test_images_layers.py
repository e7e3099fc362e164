"""Layers applied in order: the OCI whiteout rules, against a naive model and overlayfs's own."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minify.images.layers import squash
from minify.images.overlay import read_overlay
from minify.model import Kind
from minify.tree import Tree
from tests.image_kit import Item, folder, hard, item, spans, symlink

BASE = [
    folder("etc"),
    item("etc/a", "1"),
    item("etc/b", "2"),
    folder("etc/d"),
    item("etc/d/x", "3"),
]


def names(tree: Tree) -> set[str]:
    return set(tree.entries) - {"/"}


def test_an_upper_file_replaces_a_lower_one(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, BASE, [item("etc/a", "new", mode=0o600)]))
    assert tree.read("/etc/a") == b"new"
    assert tree.entries["/etc/a"].mode == 0o600
    assert (tree.entries["/etc/a"].layer, tree.entries["/etc/b"].layer) == (1, 0)


def test_a_whiteout_removes_a_file_and_a_whole_directory(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, BASE, [item("etc/.wh.a"), item("etc/.wh.d")]))
    assert names(tree) == {"/etc", "/etc/b"}


def test_a_whiteout_does_not_touch_its_own_layer(tmp_path: Path) -> None:
    upper = [item("etc/a", "again"), item("etc/.wh.a")]
    assert squash(spans(tmp_path, BASE, upper)).read("/etc/a") == b"again"


def test_an_opaque_directory_hides_what_was_in_it(tmp_path: Path) -> None:
    upper = [folder("etc", mode=0o700), item("etc/new", "n"), item("etc/.wh..wh..opq")]
    tree = squash(spans(tmp_path, BASE, upper))
    assert names(tree) == {"/etc", "/etc/new"}
    assert tree.entries["/etc"].mode == 0o700


def test_an_opaque_root(tmp_path: Path) -> None:
    assert names(squash(spans(tmp_path, BASE, [item(".wh..wh..opq"), item("z", "")]))) == {"/z"}


def test_a_file_over_a_directory_and_a_directory_over_a_file(tmp_path: Path) -> None:
    middle = [item("etc/d", "now a file")]
    upper = [folder("etc/d"), item("etc/d/y", "")]
    assert "/etc/d/x" not in squash(spans(tmp_path, BASE, middle)).entries
    tree = squash(spans(tmp_path, BASE, middle, upper))
    assert names(tree) == {"/etc", "/etc/a", "/etc/b", "/etc/d", "/etc/d/y"}


def test_a_directory_mentioned_only_as_a_parent_keeps_its_attributes(tmp_path: Path) -> None:
    lower = [folder("etc", mode=0o711, uid=9), item("etc/a", "1")]
    tree = squash(spans(tmp_path, lower, [item("etc/deep/er/c", "2")]))
    assert (tree.entries["/etc"].mode, tree.entries["/etc"].uid) == (0o711, 9)
    assert tree.entries["/etc/deep/er"].mode == 0o755
    assert tree.is_file("/etc/deep/er/c")


def test_later_duplicates_win(tmp_path: Path) -> None:
    tree = squash(
        spans(tmp_path, [item("a", "one"), item("./a", "three"), folder("b"), folder("b/")])
    )
    assert tree.read("/a") == b"three"
    assert names(tree) == {"/a", "/b"}


def test_a_directory_replaced_within_its_layer_loses_its_children(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, [folder("a"), item("a/b", "x"), item("a", "file")]))
    assert names(tree) == {"/a"}


def test_hard_links_are_one_group_and_a_replaced_name_leaves_it(tmp_path: Path) -> None:
    lower = [item("a", "data"), hard("b", "a"), hard("c", "./b"), item("alone", "x")]
    tree = squash(spans(tmp_path, lower, [item("b", "other")]))
    assert tree.twins(tree.entries["/a"]) == ("/a", "/c")
    assert tree.entries["/b"].inode == tree.entries["/alone"].inode == 0
    assert tree.read("/c") == b"data"
    single = squash(spans(tmp_path, lower, [item(".wh.b"), item(".wh.c")]))
    assert single.entries["/a"].inode == 0


def test_members_below_a_symlink_of_the_same_layer_follow_it(tmp_path: Path) -> None:
    layer = [folder("usr"), folder("usr/bin"), symlink("bin", "usr/bin"), item("bin/tool", "t")]
    assert names(squash(spans(tmp_path, layer))) == {"/usr", "/usr/bin", "/bin", "/usr/bin/tool"}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_both_formats(tmp_path: Path, kind: int) -> None:
    from tests.image_kit import span, tar

    name = "d/" * 60 + "n" * 200
    tree = squash(
        [span(tmp_path / "l.tar", tar([item(name, "x"), symlink("l", "/" + name)], kind))]
    )
    assert tree.read("/" + name) == b"x"
    assert tree.entries["/l"].link == "/" + name


def test_an_empty_image_has_a_root(tmp_path: Path) -> None:
    assert squash([]).entries["/"].kind is Kind.DIR
    assert squash(spans(tmp_path, [])).entries["/"].kind is Kind.DIR


# ------------------------------------------------------------- against a model, and overlayfs

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["file", "dir", "whiteout", "opaque"]), PATHS), max_size=8
)


def consistent(changes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep what one layer can hold: a name is one thing, and parents are directories."""
    kept: dict[str, str] = {}
    for kind, path in changes:
        parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)]
        if path in kept or any(kept.get(p, "dir") not in ("dir", "opaque") for p in parents):
            continue
        for parent in parents:
            kept.setdefault(parent, "dir")
        kept[path] = kind
    return sorted((kind, path) for path, kind in kept.items())


def as_layer(changes: list[tuple[str, str]], number: int) -> list[Item]:
    items: list[Item] = []
    for kind, path in sorted(changes, key=lambda c: c[1]):
        parent, _, name = path.rpartition("/")
        if kind == "file":
            items.append(item(path, f"{number}{path}"))
        elif kind == "whiteout":
            items.append(item(f"{parent}/.wh.{name}" if parent else f".wh.{name}"))
        else:
            items.append(folder(path, mode=0o700 + number))
            if kind == "opaque":
                items.append(item(f"{path}/.wh..wh..opq"))
    return items


def naive(layers: list[list[tuple[str, str]]]) -> dict[str, tuple[str, int]]:
    """Apply layer after layer to a plain dictionary: path -> (kind, layer)."""
    files: dict[str, tuple[str, int]] = {}

    def remove(path: str, *, itself: bool) -> None:
        for known in list(files):
            if known.startswith(path + "/") or (itself and known == path):
                del files[known]

    for number, changes in enumerate(layers):
        for kind, path in changes:
            if kind in ("whiteout", "opaque"):
                remove(path, itself=kind == "whiteout")
        for kind, path in changes:
            if kind == "file":
                remove(path, itself=True)
            if kind != "whiteout":
                files[path] = ("file" if kind == "file" else "dir", number)
    return files


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES.map(consistent), min_size=1, max_size=4))
def test_any_layers_give_what_a_naive_model_gives(
    tmp_path: Path, layers: list[list[tuple[str, str]]]
) -> None:
    tree = squash(spans(tmp_path, *(as_layer(c, n) for n, c in enumerate(layers))))
    found = {p[1:]: (e.kind.value, e.layer) for p, e in tree.entries.items() if p != "/"}
    assert found == naive(layers)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="whiteout devices and trusted.* xattrs need root")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHANGES.map(consistent), min_size=1, max_size=4))
def test_overlay_directories_give_the_same_tree(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[tuple[str, str]]]
) -> None:
    work = tmp_path_factory.mktemp("overlay")
    roots = [as_directory(work / str(n), changes, n) for n, changes in enumerate(layers)]
    merged = read_overlay(roots)
    tree = squash(spans(work, *(as_layer(c, n) for n, c in enumerate(layers))))
    assert {p: facts(merged, p) for p in names(merged)} == {p: facts(tree, p) for p in names(tree)}


def facts(tree: Tree, path: str) -> tuple[str, int, int, bytes]:
    entry = tree.entries[path]
    data = tree.read(path) if entry.kind is Kind.FILE else b""
    return entry.kind.value, entry.mode, entry.layer, data


def as_directory(root: Path, changes: list[tuple[str, str]], number: int) -> Path:
    """A layer as overlayfs keeps it."""
    root.mkdir()
    for kind, path in sorted(changes, key=lambda c: c[1]):
        target = root / path
        if kind == "file":
            target.write_text(f"{number}{path}")
            target.chmod(0o644)
        elif kind == "whiteout":
            os.mknod(target, 0o020000, 0)
        else:
            target.mkdir()
            target.chmod(0o700 + number)
            if kind == "opaque":
                os.setxattr(target, "trusted.overlay.opaque", b"y")
    return root
