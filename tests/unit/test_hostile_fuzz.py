"""Whatever the bytes: a tree, or an EngineError; never another exception, never an endless loop."""

from __future__ import annotations

import contextlib
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minify.errors import EngineError
from minify.images.archive import read_docker_archive
from minify.images.check import validate
from minify.images.layers import squash
from minify.images.oci import read_oci_layout
from minify.images.tar_read import parse_pax
from minify.model import Kind
from minify.tree import Tree
from tests.image_kit import (
    Item,
    Layout,
    config,
    docker_archive,
    folder,
    hard,
    item,
    span,
    symlink,
    tar,
)

ITEMS: list[Item] = [
    folder("d"), item("d/a", "data", pax_headers={"SCHILY.xattr.user.x": "y", "mtime": "1.5"}),
    hard("d/b", "d/a"), symlink("l", "d"), item("l/c", "x" * 600), item("d/.wh.gone"),
    item("long/" * 40, "z"), item("dev", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
]  # fmt: skip
LAYER = tar(ITEMS)
quick = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EDITS = st.lists(st.tuples(st.integers(0, len(LAYER) - 1), st.binary(min_size=1, max_size=12)),
                 min_size=1, max_size=4)  # fmt: skip


def edited(data: bytes, edits: list[tuple[int, bytes]]) -> bytes:
    """Overwrite bytes, then make every ustar header's checksum right again."""
    out = bytearray(data)
    for at, patch in edits:
        out[at : at + len(patch)] = patch[: len(out) - at]
    for at in range(0, len(out) - 511, 512):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def sane(tree: Tree) -> None:
    """What every tree must be, from whatever bytes it came."""
    for path, entry in tree.entries.items():
        assert path == entry.path
        assert path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/")[1:]) or path == "/"
        parent = tree.entries[path.rpartition("/")[0] or "/"]
        assert parent.kind is Kind.DIR
        if entry.kind is Kind.FILE:
            with tree.opener(entry) as stream:
                assert len(stream.read()) == entry.size


@quick
@given(EDITS)
def test_any_tar(tmp_path: Path, edits: list[tuple[int, bytes]]) -> None:
    layer = span(tmp_path / "l.tar", edited(LAYER, edits))
    with contextlib.suppress(EngineError):
        sane(squash([span(tmp_path / "base.tar", LAYER), layer]))


@quick
@given(st.integers(0, len(LAYER)))
def test_any_truncation(tmp_path: Path, length: int) -> None:
    with contextlib.suppress(EngineError):
        sane(squash([span(tmp_path / "l.tar", LAYER[:length])]))


NAME = st.text("a./\0", min_size=1, max_size=12)
MEMBER = st.one_of(
    st.builds(item, NAME, st.just("x")),
    st.builds(folder, NAME),
    st.builds(symlink, NAME, NAME),
    st.builds(hard, NAME, NAME),
    st.builds(lambda n: item(f"{n}/.wh.a"), NAME),
    st.builds(lambda n: item(f"{n}/.wh..wh..opq"), NAME),
)


@quick
@given(st.lists(st.lists(MEMBER, max_size=8), min_size=1, max_size=3))
def test_any_names_and_links(tmp_path: Path, layers: list[list[Item]]) -> None:
    parts = [span(tmp_path / f"{n}.tar", tar(items)) for n, items in enumerate(layers)]
    with contextlib.suppress(EngineError):
        sane(squash(parts))


@quick
@given(st.one_of(st.binary(max_size=80), st.text("0123456789 =\na", max_size=40)))
def test_any_pax_records(data: bytes | str) -> None:
    with contextlib.suppress(EngineError):
        parse_pax(data.encode() if isinstance(data, str) else data)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["Config", "Layers", "RepoTags", "rootfs", "diff_ids", "config", "layers", "Env",
                 "manifests", "digest", "size", "mediaType", "history", "Healthcheck", "Test"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)  # fmt: skip


@quick
@given(JSON, JSON)
def test_any_documents_in_a_docker_archive(tmp_path: Path, one: object, two: object) -> None:
    path = tmp_path / "a.tar"
    for data in (
        tar([item("manifest.json", json.dumps(one))]),
        docker_archive([LAYER], conf=json.dumps(one).encode()),
        docker_archive([LAYER], conf=config([LAYER], config=one, history=two)),
    ):
        path.write_bytes(data)
        validate(path)
        with contextlib.suppress(EngineError):
            read_docker_archive(path, spool=tmp_path)


@quick
@given(JSON)
def test_any_documents_in_a_layout(tmp_path: Path, value: object) -> None:
    layout = Layout(tmp_path / "l")
    kind = "application/vnd.oci.image.manifest.v1+json"
    layout.add(layout.blob(json.dumps(value).encode(), kind))
    for text in (None, json.dumps(value)):
        if text is not None:
            (tmp_path / "l" / "index.json").write_text(text)
        validate(tmp_path / "l")
        with contextlib.suppress(EngineError):
            read_oci_layout(tmp_path / "l", spool=tmp_path)


@pytest.mark.parametrize("kind", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_real_tars_of_every_format_are_read_as_tarfile_reads_them(
    tmp_path: Path, kind: str
) -> None:
    import subprocess

    root = tmp_path / "root"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "dir" / "file").write_text("content")
    (root / "dir" / "twin").hardlink_to(root / "dir" / "file")
    (root / "link").symlink_to("dir/file")
    if kind != "v7":
        deep = root / ("p" * 90) / ("q" * 60)
        deep.mkdir(parents=True)
        (deep / "leaf").write_text("deep")
    path = tmp_path / "t.tar"
    owner = [] if kind in ("v7", "ustar") else ["--owner=3000000", "--group=12"]
    subprocess.run(["tar", f"--format={kind}", *owner, "-C", root, "-cf", path, "."], check=True)
    tree = squash([span(path, path.read_bytes())])
    with tarfile.open(path) as archive:
        for member in archive:
            entry = tree.entries[("/" + member.name.removeprefix(".")).replace("//", "/")]
            assert (entry.uid, entry.gid, entry.mode) == (
                member.uid,
                member.gid,
                member.mode & 0o7777,
            )
            assert entry.mtime == int(member.mtime)
    assert tree.read("/link") == b"content"
    assert tree.twins(tree.entries["/dir/file"]) == ("/dir/file", "/dir/twin")
