"""Images made to do harm: each is refused in one line, or read as the runtimes read it.

None may write outside its folder, run anything, hang, or eat the disk or the memory.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from minify.errors import EngineError
from minify.images.archive import read_docker_archive
from minify.images.layers import squash
from minify.images.limits import Limits
from minify.images.oci import read_oci_archive, read_oci_layout
from minify.images.span import Span
from minify.images.tar_header import header
from minify.images.tar_read import members, parse_pax
from minify.model import Entry, Kind
from tests.image_kit import (
    DOCKER,
    OCI,
    Item,
    Layout,
    config,
    docker_archive,
    folder,
    hard,
    item,
    sha256,
    span,
    spans,
    symlink,
    tar,
)

GOOD = tar([folder("etc"), item("etc/a", "data")])


def small(path: Path) -> None:
    """Nothing but the files we made may be in the folder."""
    assert sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) < 50_000_000


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "members",
    [
        [item("../evil", "x")],
        [item("a/../../evil", "x")],
        [item("/../evil", "x")],
        [item("..", "x")],
        [folder("a"), item("a/../../../etc/cron.d/evil", "x")],
        [item("a", "x"), hard("b", "../../etc/shadow")],
        [item("a", "x"), hard("b", "/etc/shadow")],
        [hard("b", "b")],
        [folder("d"), hard("e", "d")],
        [hard("b", ".")],
        [item("etc/.wh...", "")],
        [item(".wh..", "")],
        [item("etc/.wh.", "")],
        [item("a", "file"), item("a/b", "below a file")],
        [symlink("a", "b"), symlink("b", "a"), item("a/x", "loop")],
        [item("x" * 300, "")],
        [item("d/" * 2500 + "x", "")],
        [symlink("a", "t" * 5000)],
        [item(".", "the root as a file")],
        [item("a", "", type=b"Z")],
    ],
    ids=lambda m: (m[-1][0].name + "~" + m[-1][0].linkname)[:30] or "unknown-type",
)
def test_what_no_runtime_would_unpack_is_refused(tmp_path: Path, members: list[Item]) -> None:
    with pytest.raises(EngineError) as caught:
        squash(spans(tmp_path, members))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 6000


def test_absolute_names_are_inside_the_root(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, [item("/etc/passwd", "mine"), item("//a", "x"), item("b/../c")]))
    assert tree.read("/etc/passwd") == b"mine"
    assert set(tree.entries) == {"/", "/etc", "/etc/passwd", "/a", "/c"}


def test_a_symlink_of_a_lower_layer_is_not_written_through(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, [symlink("d", "/etc")], [item("d/passwd", "evil")]))
    assert tree.entries["/d"].kind is Kind.DIR
    assert set(tree.entries) == {"/", "/d", "/d/passwd"}


def test_a_symlink_out_of_the_root_stays_inside(tmp_path: Path) -> None:
    layer = [symlink("out", "../../../.."), item("out/x", "inside"), symlink("self", "/self")]
    tree = squash(spans(tmp_path, layer))
    assert tree.read("/x") == b"inside"
    assert tree.resolve("/self").real is None


def test_hard_links_do_not_reach_into_other_layers(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="not a file of its layer"):
        squash(spans(tmp_path, [item("a", "x")], [hard("b", "a")]))


def test_a_hard_link_to_a_symlink_is_the_symlink(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, [symlink("a", "/etc/shadow"), hard("b", "a")]))
    assert (tree.entries["/b"].kind, tree.entries["/b"].link) == (Kind.SYMLINK, "/etc/shadow")


def test_device_nodes_are_entries_and_nothing_more(tmp_path: Path) -> None:
    disk = item("sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
    tree = squash(spans(tmp_path, [disk]))
    assert tree.entries["/sda"].kind is Kind.BLOCK
    assert [p.name for p in tmp_path.iterdir()] == ["layer0.tar"]


def test_names_that_are_not_utf8_and_control_characters(tmp_path: Path) -> None:
    tree = squash(spans(tmp_path, [item("a\udcff\nb", "x"), item("\x1b[31m", "y")]))
    assert tree.read("/a\udcff\nb") == b"x"


def test_a_hundred_thousand_entries_in_one_directory(tmp_path: Path) -> None:
    names = (header(Entry(f"/d/{n}", Kind.FILE), 0) for n in range(100_000))
    layer = span(tmp_path / "many.tar", b"".join(names) + bytes(1024))
    tree = squash([layer, *spans(tmp_path, [item("d/.wh.7")])])
    assert len(tree.children("/d")) == 99_999


def test_duplicates_and_endless_replacing(tmp_path: Path) -> None:
    again = [item("a", str(n)) for n in range(1000)]
    assert squash(spans(tmp_path, again)).read("/a") == b"999"
    flips = [x for n in range(200) for x in (folder("a"), item("a/b"), item("a", ""))]
    with pytest.raises(EngineError, match="replacing"):
        squash(spans(tmp_path, flips))


def test_a_bound_on_entries(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="more than 5 entries"):
        squash(spans(tmp_path, [item(str(n)) for n in range(9)]), Limits(max_entries=5))


# ------------------------------------------------------------------ tar oddities


def damaged(tmp_path: Path, data: bytes) -> list[object]:
    return list(members(span(tmp_path / "x.tar", data)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:700], "cut short|beyond"),
        (lambda t: t[:512] + t[1024:1536], "beyond"),
        (lambda t: b"X" + t[1:], "checksum"),
        (lambda t: t[:100] + b"\xff" * 8 + t[108:], "checksum"),
    ],
)
def test_damaged_headers(tmp_path: Path, change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(EngineError, match=message):
        damaged(tmp_path, change(tar([item("a", "x" * 2000)])))


def checked(block: bytearray) -> bytes:
    """Give a header a right checksum, so that only its oddity is left."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block)


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"99999999999\0", b"-0000000001\0", b"7" * 12]
)
def test_impossible_sizes(tmp_path: Path, size: bytes) -> None:
    block = bytearray(tar([item("a", "x")]))
    block[124:136] = size
    with pytest.raises(EngineError):
        damaged(tmp_path, checked(block))


@pytest.mark.parametrize(
    "records",
    [b"9999 path=x\n", b"0 path=x\n", b"path=x\n", b"11 path=xyz", b"6 a=b\n6 ", b"-7 a=bc\n",
     b"99999999999999999999999 a=b\n", b"7 =abc\n", b"6 abcd\n"],
)  # fmt: skip
def test_malformed_pax_records(records: bytes) -> None:
    with pytest.raises(EngineError, match="PAX"):
        parse_pax(records)


def pax(records: dict[str, str], name: str = "a", data: bytes = b"x") -> bytes:
    return tar([item(name, data, pax_headers=records)])


@pytest.mark.parametrize(
    "records",
    [
        {"size": "99999999999999"},
        {"size": "-1"},
        {"uid": "root"},
        {"mtime": "1e9"},
        {"path": "../../evil"},
        {"path": "a\0b"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a"},
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"},
    ],
)
def test_pax_oddities_are_refused(tmp_path: Path, records: dict[str, str]) -> None:
    with pytest.raises(EngineError):
        squash([span(tmp_path / "l.tar", pax(records))])


def test_harmless_pax_oddities_are_read_as_runtimes_do(tmp_path: Path) -> None:
    records = {"path": "", "comment": "x", "unknown.key": "y", "mtime": "-1.5"}
    entry = squash([span(tmp_path / "l.tar", pax(records))]).entries["/a"]
    assert entry.mtime == -2
    globals_ = io.BytesIO()
    with tarfile.open(fileobj=globals_, mode="w", pax_headers={"path": "evil", "uid": "7"}) as out:
        out.addfile(*_file("b"))
    tree = squash([span(tmp_path / "g.tar", globals_.getvalue())])
    assert set(tree.entries) == {"/", "/b"}
    assert tree.entries["/b"].uid == 0


def _file(name: str) -> tuple[tarfile.TarInfo, io.BytesIO]:
    return tarfile.TarInfo(name), io.BytesIO()


def test_sparse_members_of_gnu_tar_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as stream:
        stream.truncate(10_000_000)
        stream.seek(5_000_000)
        stream.write(b"x" * 4096)
    for kind in ("gnu", "posix"):
        argv = ["tar", "--sparse", f"--format={kind}", "-cf", f"{kind}.tar", "holes"]
        subprocess.run(argv, cwd=tmp_path, check=True)
        path = tmp_path / f"{kind}.tar"
        with pytest.raises(EngineError, match="sparse"):
            squash([Span(path, 0, path.stat().st_size)])


def test_a_huge_extended_header_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="extended tar header"):
        damaged(tmp_path, pax({"comment": "x" * 2_000_000}))


def test_noise_is_not_a_tar(tmp_path: Path) -> None:
    with pytest.raises(EngineError):
        damaged(tmp_path, os.urandom(4096))


# ------------------------------------------------------------------ archives


def opened(tmp_path: Path, data: bytes, **options: object) -> object:
    (tmp_path / "image.tar").write_bytes(data)
    (tmp_path / "spool").mkdir(exist_ok=True)
    limits = Limits(**options)  # type: ignore[arg-type]
    try:
        return read_docker_archive(tmp_path / "image.tar", spool=tmp_path / "spool", limits=limits)
    finally:
        assert not list((tmp_path / "spool").glob(".*"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image archive"),
        (b"hello", "cut short"),
        (tar([item("readme", "x")]), "no manifest.json"),
        (tar([item("manifest.json", "{")]), "malformed"),
        (tar([item("manifest.json", "[]")]), "holds 0 images"),
        (tar([item("manifest.json", "[" * 100_000)]), "malformed"),
        (tar([item("manifest.json", '[{"Config": 1, "Layers": []}]')]), "malformed"),
        (tar([item("manifest.json", '[{"Config": "../../etc/passwd", "Layers": []}]')]), "lacks"),
        (docker_archive([GOOD], conf=config([b"another layer"])), "digest mismatch"),
        (docker_archive([GOOD], conf=config([GOOD, GOOD])), "lists 1 layers"),
        (docker_archive([GOOD], conf=b'{"artifact": true}'), "not an image configuration"),
        (docker_archive([GOOD])[:1200], "beyond|cut short"),
        (docker_archive([b"BZh91AY&SY"]), "bzip2"),
    ],
)
def test_broken_docker_archives(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        opened(tmp_path, data)


@pytest.mark.parametrize("diff_id", ["sha256:../../secret", "secret", "", 7, None, "sha512:0"])
def test_diff_ids_that_are_paths(tmp_path: Path, diff_id: object) -> None:
    """The spool names layers by diff_id: nothing else may be found under that name."""
    (tmp_path / "secret.tar").write_bytes(GOOD)
    conf = json.dumps({"rootfs": {"diff_ids": [diff_id]}}).encode()
    with pytest.raises(EngineError, match="not an image configuration"):
        opened(tmp_path, docker_archive([gzip.compress(GOOD)], conf=conf))


def test_links_inside_an_archive_lead_nowhere_else(tmp_path: Path) -> None:
    manifest = json.dumps([{"Config": "c", "Layers": [], "RepoTags": None}])
    for target in ("/etc/passwd", "../../../etc/passwd", "c"):
        data = tar([item("manifest.json", manifest), symlink("c", target)])
        with pytest.raises(EngineError, match="lacks c"):
            opened(tmp_path, data)


def test_a_layer_stored_as_a_symlink_to_another_is_found(tmp_path: Path) -> None:
    conf = config([GOOD, GOOD])
    manifest = [{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar"], "RepoTags": []}]
    data = tar(
        [
            item("a/layer.tar", GOOD),
            symlink("b/layer.tar", "../a/layer.tar"),
            item("c.json", conf),
            item("manifest.json", json.dumps(manifest)),
        ]
    )
    (tmp_path / "i.tar").write_bytes(data)
    assert len(read_docker_archive(tmp_path / "i.tar", spool=tmp_path).layers) == 2


def test_a_truncated_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(docker_archive([GOOD]))
    for cut in (20, len(packed) // 2, len(packed) - 4):
        with pytest.raises(EngineError, match=r"cut short|damaged"):
            opened(tmp_path, packed[:cut])
    with pytest.raises(EngineError, match="damaged"):
        opened(tmp_path, packed[:-8] + b"\0\0\0\0" + packed[-4:])


def test_a_truncated_zstd(tmp_path: Path) -> None:
    data = docker_archive([GOOD])
    done = subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True)
    assert opened(tmp_path, done.stdout)
    with pytest.raises(EngineError, match="zstd"):
        opened(tmp_path, done.stdout[:-10])


def test_a_decompression_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with pytest.raises(EngineError, match="more than 10000000 bytes"):
        opened(tmp_path, bomb, max_bytes=10_000_000)
    small(tmp_path)


def test_a_zstd_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    done = subprocess.run(["zstd", "-c"], input=bytes(1 << 28), capture_output=True, check=True)
    with pytest.raises(EngineError, match="more than 10000000 bytes"):
        opened(tmp_path, done.stdout, max_bytes=10_000_000)
    small(tmp_path)


def test_an_absurd_ratio_is_refused_whatever_the_limit() -> None:
    Limits().check_ratio(1 << 20, 1 << 30)
    with pytest.raises(EngineError, match="bomb"):
        Limits().check_ratio(1 << 10, (1 << 30) + 1)


def test_many_layers_that_together_exceed_the_limit(tmp_path: Path) -> None:
    layers = [tar([item(str(n), b"x" * 90_000)]) for n in range(5)]
    with pytest.raises(EngineError, match="unpacks to more than"):
        opened(tmp_path, docker_archive(layers), max_bytes=300_000)


def test_a_manifest_with_a_million_layers(tmp_path: Path) -> None:
    conf = json.dumps({"rootfs": {"diff_ids": [sha256(GOOD)] * 1_000_000}}).encode()
    manifest = [{"Config": "c", "Layers": ["l"] * 1_000_000, "RepoTags": []}]
    data = tar([item("l", GOOD), item("c", conf), item("manifest.json", json.dumps(manifest))])
    with pytest.raises(EngineError, match=r"million|1000000|larger than"):
        opened(tmp_path, data)


def test_a_full_spool_is_an_error_and_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(gzip.compress(docker_archive([GOOD])))
    with pytest.raises(EngineError, match="cannot unpack"):
        read_docker_archive(tmp_path / "image.tar", spool=tmp_path / "missing")


# ------------------------------------------------------------------ layouts


def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def read(tmp_path: Path, **options: object) -> object:
    limits = Limits(**options)  # type: ignore[arg-type]
    return read_oci_layout(tmp_path / "layout", spool=tmp_path, limits=limits)


@pytest.mark.parametrize(
    "digest",
    ["sha256:../../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "", 7, None],
)
def test_digests_that_are_paths_or_nonsense(tmp_path: Path, digest: object) -> None:
    entry = {"mediaType": OCI + "manifest.v1+json", "digest": digest, "size": 5}
    layout(tmp_path).add(entry)
    with pytest.raises(EngineError, match="descriptor"):
        read(tmp_path)


def test_a_blob_that_was_changed_or_cut(tmp_path: Path) -> None:
    made = layout(tmp_path)
    made.add(made.image([GOOD]))
    for path in sorted((tmp_path / "layout" / "blobs" / "sha256").iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(EngineError, match="size mismatch"):
            read(tmp_path)
        path.write_bytes(bytes([whole[0], whole[1] ^ 1]) + whole[2:])
        with pytest.raises(EngineError, match=r"digest mismatch|damaged"):
            read(tmp_path)
        path.unlink()
        with pytest.raises(EngineError, match="lacks the blob"):
            read(tmp_path)
        path.write_bytes(whole)
    assert read(tmp_path)


def test_a_layer_whose_content_is_not_its_diff_id(tmp_path: Path) -> None:
    made = layout(tmp_path)
    made.add(made.image([GOOD], packed=[gzip.compress(tar([item("other")]))]))
    with pytest.raises(EngineError, match="digest mismatch"):
        read(tmp_path)
    assert not list(tmp_path.glob("*.tar"))


def test_a_second_image_cannot_pass_off_its_blob_as_a_known_layer(tmp_path: Path) -> None:
    """The layer is spooled already; the stored bytes are still verified."""
    made = layout(tmp_path)
    made.add(made.image([GOOD]))
    assert read(tmp_path)
    blob = next(
        p for p in (tmp_path / "layout/blobs/sha256").iterdir() if p.read_bytes()[:1] == b"\x1f"
    )
    blob.write_bytes(blob.read_bytes()[:-1] + b"\x01")
    with pytest.raises(EngineError, match="digest mismatch"):
        read(tmp_path)


@pytest.mark.parametrize(
    "kind",
    [
        OCI + "layer.nondistributable.v1.tar+gzip",
        DOCKER + "image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_foreign_layers(tmp_path: Path, kind: str) -> None:
    made = layout(tmp_path)
    made.add(made.image([GOOD], layer_type=kind))
    with pytest.raises(EngineError, match="foreign"):
        read(tmp_path)


def test_encrypted_layers_and_artifacts(tmp_path: Path) -> None:
    made = layout(tmp_path)
    made.add(made.image([GOOD], layer_type=OCI + "layer.v1.tar+gzip+encrypted"))
    with pytest.raises(EngineError, match="unsupported layer type"):
        read(tmp_path)


def test_indexes_nested_without_end(tmp_path: Path) -> None:
    made = layout(tmp_path)
    entry = made.image([GOOD])
    for _ in range(20):
        entry = made.index(
            [{**entry, "platform": {"os": "linux", "architecture": os.uname().machine}}]
        )
    made.add(entry)
    with pytest.raises(EngineError):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"manifests": {}}', "[" * 200_000, '"x"'])
def test_an_index_that_is_not_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text(text)
    with pytest.raises(EngineError):
        read(tmp_path)


def test_an_index_without_images(tmp_path: Path) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text('{"manifests": []}')
    with pytest.raises(EngineError):
        read(tmp_path)


def test_an_oci_manifest_with_a_million_layers(tmp_path: Path) -> None:
    made = layout(tmp_path)
    conf = made.blob(config([GOOD]), OCI + "config.v1+json")
    layer = made.blob(gzip.compress(GOOD), OCI + "layer.v1.tar+gzip")
    layers = ",".join([json.dumps(layer)] * 1_000_000)
    text = f'{{"schemaVersion": 2, "config": {json.dumps(conf)}, "layers": [{layers}]}}'
    made.add(made.blob(text.encode(), OCI + "manifest.v1+json"))
    with pytest.raises(EngineError, match=r"larger than|lists 1000000"):
        read(tmp_path)


def test_an_oci_archive_with_paths_out_of_it(tmp_path: Path) -> None:
    index = '{"schemaVersion": 2, "manifests": []}'
    (tmp_path / "a.tar").write_bytes(
        tar([item("../../index.json", index), symlink("oci-layout", "/")])
    )
    with pytest.raises(EngineError, match=r"no index.json"):
        read_oci_archive(tmp_path / "a.tar", spool=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]
