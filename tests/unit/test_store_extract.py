"""Unpacking layers: exact, and never outside the folder, whatever the tar says."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from minify.errors import EngineError
from minify.images.limits import Limits
from minify.store.extract import unpack
from tests.image_kit import Item, folder, hard, item, span, symlink, tar

MINE = {"uid": os.getuid(), "gid": os.getgid()}
OPAQUE = "user.overlay.opaque"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def own(items: Sequence[Item]) -> list[Item]:
    for info, _ in items:
        info.uid, info.gid = info.uid or MINE["uid"], info.gid or MINE["gid"]
    return list(items)


def unpacked(tmp_path: Path, *items: Item, limits: Limits | None = None) -> Path:
    """Unpack a layer next to a file that must not change."""
    place = tmp_path / "jail" / "layer"
    place.mkdir(parents=True, exist_ok=True)
    (tmp_path / "jail" / "outside").write_text("untouched")
    layer = span(tmp_path / "layer.tar", tar(own(items)))
    try:
        unpack(layer, place, rootless=True, limits=limits or Limits())
    finally:
        assert (tmp_path / "jail" / "outside").read_text() == "untouched"
        assert sorted(os.listdir(tmp_path / "jail")) == ["layer", "outside"]
    return place


def test_files_keep_their_mode_time_and_links(tmp_path: Path) -> None:
    layer = unpacked(
        tmp_path,
        folder("a", mode=0o711, mtime=1000),
        item("a/file", "text", mode=0o4751, mtime=2000),
        hard("a/twin", "a/file"),
        symlink("a/link", "/etc/passwd"),
        item("a/pipe", type=tarfile.FIFOTYPE, mode=0o640),
        item("a/empty", mode=0o600),
    )
    file = (layer / "a/file").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_mtime, file.st_nlink) == (0o4751, 2000, 2)
    assert (layer / "a/twin").stat().st_ino == file.st_ino
    assert (layer / "a").stat().st_mtime == 1000
    assert stat.S_IMODE((layer / "a").stat().st_mode) == 0o711
    assert os.readlink(layer / "a/link") == "/etc/passwd"
    assert stat.S_ISFIFO((layer / "a/pipe").lstat().st_mode)


@root_only
def test_owners_capabilities_and_devices(tmp_path: Path) -> None:
    value = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    xattr = {"SCHILY.xattr.security.capability": value.decode("latin-1")}
    place = tmp_path / "layer"
    place.mkdir()
    made = tar([
        item("owned", "x", uid=70000, gid=33, mode=0o2755),
        item("able", "x", mode=0o755, pax_headers=xattr),
        item("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    ])  # fmt: skip
    unpack(span(tmp_path / "tar", made), place)
    found = (place / "owned").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (70000, 33, 0o2755)
    assert os.getxattr(place / "able", "security.capability") == value
    assert os.stat(place / "null").st_rdev == os.makedev(1, 3)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    layer = unpacked(tmp_path, item("caf\udce9", "x"), folder("\udcff"), item("\udcff/y", "z"))
    assert sorted(os.listdir(os.fsencode(layer))) == [b"caf\xe9", b"\xff"]


def test_whiteouts_become_overlayfs_marks(tmp_path: Path) -> None:
    layer = unpacked(tmp_path, folder("d"), item(".wh.gone"), item("d/.wh..wh..opq"),
                     item(".wh..wh.plnk"))  # fmt: skip
    gone = (layer / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert os.getxattr(layer / "d", OPAQUE) == b"y"
    assert sorted(p.name for p in layer.iterdir()) == ["d", "gone"]


@pytest.mark.parametrize("swap", [False, True])
def test_a_whiteout_hides_only_what_is_below(tmp_path: Path, swap: bool) -> None:
    """In whatever order the whiteout and the layer's own entry of that name come."""
    members = [item(".wh.file"), item("file", "new")]
    dirs = [item(".wh.dir"), folder("dir")]
    layer = unpacked(
        tmp_path, *(members[::-1] if swap else members), *(dirs[::-1] if swap else dirs)
    )
    assert (layer / "file").read_text() == "new"
    assert os.getxattr(layer / "dir", OPAQUE) == b"y"


def test_the_last_of_equal_names_counts(tmp_path: Path) -> None:
    layer = unpacked(
        tmp_path, item("x", "1"), item("x", "2"), folder("d"), item("d/below", "b"), item("d", "f"),
        item("e", "file"), folder("e"), item("e/below", "b"), symlink("f", "x"), item("f", "file"),
    )  # fmt: skip
    assert (layer / "x").read_text() == "2"
    assert (layer / "d").read_text() == "f"
    assert (layer / "e/below").read_text() == "b"
    assert (layer / "f").read_text() == "file"


def test_parents_that_are_missing_are_named(tmp_path: Path) -> None:
    place = tmp_path / "layer"
    place.mkdir()
    made = span(tmp_path / "tar", tar(own([item("a/b/c", "x"), folder("a"), item("z/y", "x")])))
    assert unpack(made, place, rootless=True).implied == ("/a/b", "/z")


def test_symlinks_in_the_layer_lead_inside_it(tmp_path: Path) -> None:
    layer = unpacked(
        tmp_path,
        folder("usr"), folder("usr/lib"), symlink("lib", "usr/lib"), item("lib/one", "1"),
        symlink("absolute", "/usr"), item("absolute/two", "2"),
        symlink("up", "../../../.."), item("up/usr/three", "3"),
        symlink("usr/dots", "../../usr/./lib/"), hard("usr/dots/four", "absolute/two"),
        symlink("escape", "../outside"),
    )  # fmt: skip
    assert (layer / "usr/lib/one").read_text() == "1"
    assert (layer / "usr/two").read_text() == "2"
    assert (layer / "usr/three").read_text() == "3"
    assert (layer / "usr/lib/four").read_text() == "2"


@pytest.mark.parametrize(
    "items",
    [
        [item("../outside", "x")],
        [item("a/../../outside", "x")],
        [symlink("l", "../outside"), hard("h", "l/../../outside")],
        [hard("h", "../outside")],
        [hard("h", "/etc/passwd")],
        [hard("h", "nothing")],
        [hard("h", "")],
        [folder("d"), hard("h", "d")],
        [symlink("loop", "loop"), item("loop/x", "x")],
        [symlink("a", "b"), symlink("b", "a"), item("a/x", "x")],
        [item("file", "x"), item("file/below", "x")],
        [item("file", "x"), hard("h", "file/below")],
        [item(".wh.")],
        [item("d/.wh..")],
        [item("d/.wh...")],
        [item("n" * 300, "x")],
        [item("/".join(["d"] * 300), "x")],
        [item("./", "x")],
        [item("odd", type=b"Z")],
        [item("owner", "x", uid=2**40)],
        [item("sparse", "x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})],
    ],
    ids=lambda items: items[-1][0].name[:20] + items[-1][0].linkname,
)
def test_hostile_layers_are_refused(tmp_path: Path, items: list[Item]) -> None:
    with pytest.raises(EngineError):
        unpacked(tmp_path, *items)


@pytest.mark.parametrize(
    "items",
    [
        [symlink("l", "../outside"), item("l", "replaced")],
        [symlink("l", "/"), item("l/etc/passwd", "x")],
        [item("/absolute", "x")],
        [item("//double//slash", "x")],
        [symlink("l", "../.."), folder("l")],
        [symlink("l", "../../outside"), hard("h", "l")],
        [folder("d"), symlink("d", ".."), item("d/outside2", "x")],
        [item(".wh.outside"), symlink("s", ".."), item("s/.wh.outside")],
        [symlink("s", ".."), item("s/.wh..wh..opq")],
    ],
    ids=lambda items: "+".join(i[0].name for i in items),
)
def test_hostile_layers_that_stay_inside(tmp_path: Path, items: list[Item]) -> None:
    unpacked(tmp_path, *items)


def test_overlayfs_marks_of_the_layer_itself_are_dropped(tmp_path: Path) -> None:
    marks = {f"SCHILY.xattr.{n}.overlay.redirect": "/etc" for n in ("user", "trusted")}
    layer = unpacked(tmp_path, folder("d", pax_headers={**marks, "SCHILY.xattr.user.mine": "kept"}))
    names = [n for n in os.listxattr(layer / "d") if not n.startswith("security.")]
    assert names == ["user.mine"]


def test_limits(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="more than 3 entries"):
        unpacked(tmp_path, *(item(f"f{n}") for n in range(4)), limits=Limits(max_entries=3))
    with pytest.raises(EngineError):
        unpacked(tmp_path, item("big", "x" * 9999), limits=Limits(max_bytes=5000))


def test_a_truncated_layer(tmp_path: Path) -> None:
    place = tmp_path / "layer"
    place.mkdir()
    whole = tar(own([item("a", "x" * 5000), item("b", "y" * 5000)]))
    with pytest.raises(EngineError):
        unpack(span(tmp_path / "tar", whole[:7000]), place, rootless=True)


def test_many_names_in_deep_and_wide_folders(tmp_path: Path) -> None:
    """More folders than descriptors are kept open for."""
    deep = "/".join(f"d{n}" for n in range(200))
    wide = [item(f"w{n}/x/y/f", str(n)) for n in range(300)]
    again = [item(f"w{n}/x/z/f", str(n)) for n in range(300)]
    layer = unpacked(
        tmp_path, item(f"{deep}/leaf", "leaf"), *wide, *again, item(f"{deep}/more", "m")
    )
    assert (layer / deep / "leaf").read_text() == "leaf"
    assert (layer / deep / "more").read_text() == "m"
    assert all((layer / f"w{n}/x/z/f").read_text() == str(n) for n in range(300))
