"""Overlay directories read in place. What needs marks only root may set is marked so."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from minify.errors import EngineError, Unsupported
from minify.images.overlay import read_overlay
from minify.model import Kind

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def layer(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root.mkdir(exist_ok=True)
    return root


def test_layers_merge_and_bytes_are_read_in_place(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"etc/a": "low", "etc/b": "low"})
    top = layer(tmp_path / "1", {"etc/b": "top"})
    (top / "link").symlink_to("etc/b")
    tree = read_overlay([low, top])
    assert tree.read("/etc/a") == b"low"
    assert tree.read("/link") == b"top"
    assert (tree.entries["/etc/a"].layer, tree.entries["/etc/b"].layer) == (0, 1)
    assert tree.entries["/etc/b"].size == 3
    assert tree.entries["/"].layer == 1


def test_times_are_whole_seconds_rounded_down(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"a": ""})
    os.utime(low / "a", ns=(0, 1_999_999_999))
    assert read_overlay([low]).entries["/a"].mtime == 1


def test_user_xattrs_stay_and_marks_are_hidden(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"d/a": "", "d/b": ""})
    top = layer(tmp_path / "1", {"d/c": ""})
    try:
        os.setxattr(top / "d", "user.overlay.opaque", b"y")
        os.setxattr(top / "d/c", "user.note", b"\0\xff")
    except OSError:
        pytest.skip("no user xattrs on this file system")
    tree = read_overlay([low, top])
    assert set(tree.entries) == {"/", "/d", "/d/c"}
    assert tree.entries["/d"].xattrs == ()
    assert tree.entries["/d/c"].xattrs == (("user.note", b"\0\xff"),)


def test_a_whiteout_by_xattr(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"a": "data", "b": "data"})
    top = layer(tmp_path / "1", {"a": ""})
    try:
        os.setxattr(top / "a", "user.overlay.whiteout", b"y")
    except OSError:
        pytest.skip("no user xattrs on this file system")
    assert set(read_overlay([low, top]).entries) == {"/", "/b"}


def test_hard_links_by_layer(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"a": "x", "outside": "y"})
    for name in ("b", "c"):
        os.link(low / "a", low / name)
    os.link(low / "outside", tmp_path / "elsewhere")
    top = layer(tmp_path / "1", {"b": "other"})
    tree = read_overlay([low, top])
    assert tree.twins(tree.entries["/a"]) == ("/a", "/c")
    assert tree.entries["/b"].inode == tree.entries["/outside"].inode == 0


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {})
    with open(os.fsencode(low) + b"/na\xefve", "wb") as stream:
        stream.write(b"data")
    assert read_overlay([low]).read("/na\udcefve") == b"data"


def test_special_files(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {})
    os.mkfifo(low / "pipe", 0o640)
    entry = read_overlay([low]).entries["/pipe"]
    assert (entry.kind, entry.mode) == (Kind.FIFO, 0o640)


def test_a_path_swapped_for_a_symlink_is_not_followed(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"a": "inside"})
    tree = read_overlay([low])
    (low / "a").unlink()
    (low / "a").symlink_to("/etc/passwd")
    with pytest.raises(EngineError, match="cannot read"):
        tree.read("/a")


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="layer directory"):
        read_overlay([tmp_path / "gone"])


@pytest.mark.root
@as_root
def test_devices_and_owners(tmp_path: Path) -> None:
    low = layer(tmp_path / "0", {"a": "", "gone": "x", "kept": ""})
    top = layer(tmp_path / "1", {})
    os.chown(low / "a", 1234, 70_000)
    os.chmod(low / "a", 0o6755)
    os.mknod(low / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "gone", stat.S_IFCHR, 0)
    tree = read_overlay([low, top])
    assert set(tree.entries) == {"/", "/a", "/null", "/kept"}
    entry = tree.entries["/a"]
    assert (entry.uid, entry.gid, entry.mode) == (1234, 70_000, 0o6755)
    assert (tree.entries["/null"].kind, tree.entries["/null"].device) == (Kind.CHAR, (1, 3))


@pytest.mark.root
@as_root
@pytest.mark.parametrize("feature", ["redirect", "metacopy"])
def test_features_only_the_kernel_can_follow_are_refused(tmp_path: Path, feature: str) -> None:
    low = layer(tmp_path / "0", {"d/a": ""})
    os.setxattr(low / "d", f"trusted.overlay.{feature}", b"x")
    with pytest.raises(Unsupported, match=feature):
        read_overlay([low])
