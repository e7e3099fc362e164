"""The layer writer: what goes in comes out byte for byte, and always the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from minify.errors import BuildError
from minify.images.layers import squash
from minify.images.span import Span
from minify.images.tar_header import header
from minify.images.write import write_layer
from minify.model import Entry, Kind
from minify.tree import Tree
from tests.kit import Exec, Link, Same, tree

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def rich() -> Tree:
    """A tree with one of everything."""
    plain = tree(
        {
            "/usr/bin/tool": Exec(b"\x7fELF...", 0o4755),
            "/usr/bin/alias": Same("/usr/bin/tool"),
            "/bin": Link("usr/bin"),
            "/var/empty": None,
            "/etc/a-file": "text",
        }
    )
    more = [
        Entry("/dev/null", Kind.CHAR, 0o666, device=(1, 3)),
        Entry("/dev/disk", Kind.BLOCK, 0o660, gid=6, device=(259, 70000)),
        Entry("/dev", Kind.DIR, 0o755),
        Entry("/run/pipe", Kind.FIFO, 0o600),
        Entry("/run", Kind.DIR, 0o1777, mtime=77),
        Entry("/etc", Kind.DIR, 0o750, 12, 5_000_000, mtime=99),
    ]
    for name in ("/usr/bin/tool", "/usr/bin/alias"):
        capable = (("security.capability", CAPABILITY),)
        more.append(replace(plain.entries[name], xattrs=capable))
    return Tree({**plain.entries, **{e.path: e for e in more}}, plain.opener)


def written(source: Tree, sink: Path, *, epoch: int | None = None) -> Tree:
    info = write_layer(source, source.entries, sink, epoch=epoch)
    assert info.size == sink.stat().st_size
    assert info.diff_id == "sha256:" + hashlib.sha256(sink.read_bytes()).hexdigest()
    return squash([Span(sink, 0, info.size)])


def test_everything_survives(tmp_path: Path) -> None:
    source = rich()
    back = written(source, tmp_path / "layer.tar")
    assert dict(back.entries) == {
        p: replace(e, inode=back.entries[p].inode) for p, e in source.entries.items()
    }
    assert back.twins(back.entries["/usr/bin/tool"]) == ("/usr/bin/alias", "/usr/bin/tool")
    assert back.read("/usr/bin/tool") == b"\x7fELF..."


def test_content_of_a_hard_linked_file_is_stored_once(tmp_path: Path) -> None:
    source = tree({"/a": b"x" * 5000, "/b": Same("/a"), "/c": Same("/a")})
    info = write_layer(source, ["/c", "/b"], tmp_path / "layer.tar")
    assert info.content_bytes == 5000
    with tarfile.open(tmp_path / "layer.tar") as archive:
        first, second = archive.getmembers()
    assert (first.name, first.type) == ("b", tarfile.REGTYPE)
    assert (second.name, second.type, second.linkname) == ("c", tarfile.LNKTYPE, "b")


def test_parents_come_along_with_their_attributes(tmp_path: Path) -> None:
    source = tree({"/a/b/c": "x", "/a/other": "y"})
    entries = {**source.entries, "/a": Entry("/a", Kind.DIR, 0o2710, 3, 4, mtime=5)}
    write_layer(Tree(entries, source.opener), ["/a/b/c"], tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as archive:
        found = {m.name: (m.mode, m.uid, m.gid, m.mtime) for m in archive}
    assert list(found) == ["a", "a/b", "a/b/c"]
    assert found["a"] == (0o2710, 3, 4, 5)


def test_an_unusual_root_is_written_first(tmp_path: Path) -> None:
    source = tree({"/a": "x"})
    entries = {**source.entries, "/": Entry("/", Kind.DIR, 0o555)}
    back = written(Tree(entries, source.opener), tmp_path / "layer.tar")
    assert back.entries["/"].mode == 0o555


def test_same_input_same_bytes_in_any_order(tmp_path: Path) -> None:
    source = rich()
    write_layer(source, sorted(source.entries), tmp_path / "one.tar", epoch=50)
    backwards = Tree(dict(reversed(list(source.entries.items()))), source.opener)
    write_layer(backwards, sorted(source.entries)[::-1], tmp_path / "two.tar", epoch=50)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_the_epoch_clamps_and_never_advances(tmp_path: Path) -> None:
    source = rich()
    back = written(source, tmp_path / "layer.tar", epoch=80)
    assert back.entries["/run"].mtime == 77
    assert back.entries["/etc"].mtime == 80


@pytest.mark.parametrize(
    "name",
    [
        "/etc/na\udcefve",
        "/" + "d" * 200 + "/" + "f" * 255,
        "/ünï/cödé",
        "/new\nline and space=equals",
        "/" + "\udcff" * 120,
    ],
)
def test_names_are_kept_byte_for_byte(tmp_path: Path, name: str) -> None:
    source = tree({name: "data", "/link": Link(name)})
    back = written(source, tmp_path / "layer.tar")
    assert back.entries[name].size == 4
    assert back.entries["/link"].link == name
    with tarfile.open(tmp_path / "layer.tar", errors="surrogateescape") as archive:
        assert name[1:] in archive.getnames()


@pytest.mark.parametrize("mtime", [-1, 0, 0o77777777777, 0o77777777777 + 1])
def test_extreme_times(tmp_path: Path, mtime: int) -> None:
    entries = {"/f": Entry("/f", Kind.FILE, mtime=mtime)}
    back = written(Tree(entries, lambda _e: io.BytesIO()), tmp_path / "layer.tar")
    assert back.entries["/f"].mtime == mtime


def test_a_file_larger_than_8_gib_has_its_size_in_a_pax_record() -> None:
    data = header(Entry("/big", Kind.FILE, size=9 << 30), 0)
    archive = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115 - the tar is only a header
    first = archive.next()
    assert first is not None
    assert first.size == 9 << 30


def test_xattrs_are_binary_safe(tmp_path: Path) -> None:
    xattrs = (("security.capability", CAPABILITY), ("user.note", b"a\nb=\0c\xff"), ("user.z", b""))
    entries = {"/f": Entry("/f", Kind.FILE, xattrs=xattrs)}
    back = written(Tree(entries, lambda _e: io.BytesIO()), tmp_path / "layer.tar")
    assert back.entries["/f"].xattrs == xattrs


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, (1 << 20) - 1, 1 << 20, (2 << 20) + 7])
def test_content_of_any_size(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    back = written(tree({"/a": data, "/b": data[::-1]}), tmp_path / "layer.tar")
    assert back.read("/a") == data
    assert back.read("/b") == data[::-1]


@pytest.mark.parametrize("claimed", [3, 5])
def test_content_of_another_length_is_an_error(tmp_path: Path, claimed: int) -> None:
    source = Tree({"/f": Entry("/f", Kind.FILE, size=claimed)}, lambda _e: io.BytesIO(b"four"))
    with pytest.raises(BuildError, match="is not"):
        write_layer(source, ["/f"], tmp_path / "layer.tar")
    assert not (tmp_path / "layer.tar").exists()


def test_an_unknown_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="/nowhere"):
        write_layer(tree({}), ["/nowhere"], tmp_path / "layer.tar")


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    full = tmp_path / "layer.tar"
    full.symlink_to("/dev/full")
    with pytest.raises(BuildError, match="No space left"):
        write_layer(tree({"/a": b"x" * 100_000}), ["/a"], full)
    assert not full.is_symlink()


def test_an_empty_keep_set_is_an_empty_layer(tmp_path: Path) -> None:
    info = write_layer(tree({"/a": "x"}), [], tmp_path / "layer.tar")
    assert (info.entries, info.size) == (0, 1024)
