"""What is read of engines' stores on disk: containerd's records and blobs, Podman's layers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import struct
import tarfile
from pathlib import Path
from typing import Any

import pytest

from minify.engines.bolt import Bucket, Unreadable, look
from minify.engines.containerd_store import CONTENT, OVERLAY, ContainerdStore, chain_ids
from minify.engines.docker_disk import Disk, bytes_in
from minify.engines.docker_image import image_of
from minify.engines.podman_store import root_in, with_root
from minify.model import Entry, Kind
from minify.tree import Tree

PAGE = 4096
Value = bytes | dict[bytes, Any]


class Database:
    """A bbolt file made page by page; buckets of few keys stand inline, as bbolt has them."""

    def __init__(self, root: dict[bytes, Value], *, inline: int = 2, fan: int = 3) -> None:
        self.pages: list[bytes] = [b"", b""]
        self.inline, self.fan = inline, fan
        number = self.tree(root)
        self.pages[0] = self.meta(0, number, 1)
        self.pages[1] = self.meta(1, number, 2)

    def tree(self, items: dict[bytes, Value]) -> int:
        """Write a bucket's leaves, and the branch above them when they are several."""
        pairs = sorted(items.items())
        groups = [pairs[n : n + self.fan] for n in range(0, len(pairs), self.fan)] or [[]]
        leaves = [(group[0][0] if group else b"", self.add(self.leaf(group))) for group in groups]
        return leaves[0][1] if len(leaves) == 1 else self.add(self.branch(leaves))

    def add(self, body: tuple[int, int, bytes]) -> int:
        flags, count, data = body
        pages = max(1, -(-(16 + len(data)) // PAGE))
        number = len(self.pages)
        head = struct.pack("<QHHI", number, flags, count, pages - 1)
        whole = (head + data).ljust(pages * PAGE, b"\0")
        self.pages += [whole, *[b""] * (pages - 1)]
        return number

    def leaf(self, pairs: list[tuple[bytes, Value]]) -> tuple[int, int, bytes]:
        heads, bodies, at = b"", b"", 16 * len(pairs)
        for number, (key, value) in enumerate(pairs):
            flags, data = (1, self.bucket(value)) if isinstance(value, dict) else (0, value)
            place = at + len(bodies) - 16 * number
            heads += struct.pack("<IIII", flags, place, len(key), len(data))
            bodies += key + data
        return 2, len(pairs), heads + bodies

    def bucket(self, items: dict[bytes, Value]) -> bytes:
        if len(items) > self.inline or any(isinstance(v, dict) for v in items.values()):
            return struct.pack("<QQ", self.tree(items), 0)
        flags, count, data = self.leaf(sorted(items.items()))
        return struct.pack("<QQ", 0, 0) + struct.pack("<QHHI", 0, flags, count, 0) + data

    def branch(self, below: list[tuple[bytes, int]]) -> tuple[int, int, bytes]:
        heads, bodies, at = b"", b"", 16 * len(below)
        for number, (key, page) in enumerate(below):
            heads += struct.pack("<IIQ", at + len(bodies) - 16 * number, len(key), page)
            bodies += key
        return 1, len(below), heads + bodies

    @staticmethod
    def meta(page: int, root: int, transaction: int) -> bytes:
        body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, 0, 0, transaction)
        value = 0xCBF29CE484222325
        for byte in body:
            value = (value ^ byte) * 0x100000001B3 % (1 << 64)
        whole = struct.pack("<QHHI", page, 4, 0, 0) + body + struct.pack("<Q", value)
        return whole.ljust(PAGE, b"\0")

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(self.pages))
        return path


def plain(bucket: Bucket) -> dict[bytes, Any]:
    return {k: plain(v) if isinstance(v, Bucket) else v for k, v in bucket.items()}


KEYS: dict[bytes, Value] = {
    b"v1": {
        b"many": {b"%03d" % n: b"x" * n for n in range(50)},
        b"long": {b"key": b"y" * 3 * PAGE},
        b"empty": {},
    },
    b"plain": b"value",
}


def test_a_database_is_read_whole(tmp_path: Path) -> None:
    path = Database(KEYS).write(tmp_path / "x.db")
    assert look(path, plain) == KEYS


def test_the_newest_whole_transaction_counts(tmp_path: Path) -> None:
    database = Database({b"a": b"old"})
    other = database.tree({b"a": b"new"})
    database.pages[0] = database.meta(0, other, 3)
    path = database.write(tmp_path / "x.db")
    assert look(path, plain) == {b"a": b"new"}
    database.pages[0] = database.pages[0][:20] + b"?" + database.pages[0][21:]  # torn: not whole
    assert look(database.write(path), plain) == {b"a": b"old"}


@pytest.mark.parametrize("content", [b"", b"no database", bytes(3 * PAGE)])
def test_what_is_no_database_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        look(path, plain)


def test_damage_is_told_or_harmless(tmp_path: Path) -> None:
    path = Database(KEYS).write(tmp_path / "x.db")
    whole = path.read_bytes()
    chance = random.Random(7)
    told = 0
    for _ in range(300):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(1, len(whole))])])
        for _ in range(chance.randrange(8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(bytes(data))
        try:
            look(path, plain)
        except Unreadable:
            told += 1
    assert told > 50


# ---------------------------------------------------------------- containerd


def blob(store: Path, data: bytes) -> str:
    hexed = hashlib.sha256(data).hexdigest()
    path = store / CONTENT / hexed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return f"sha256:{hexed}"


def document(store: Path, value: object) -> str:
    return blob(store, json.dumps(value).encode())


LAYERS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]


def config(architecture: str) -> dict[str, Any]:
    return {"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": LAYERS}}


def an_index(store: Path) -> tuple[str, dict[str, str]]:
    """An index as BuildKit makes it: two platforms of equal layers, and an attestation."""
    configs = {a: document(store, config(a)) for a in ("arm64", "amd64")}
    manifests = [document(store, {"config": {"digest": d}}) for d in configs.values()]
    statement = document(store, {"config": {"digest": document(store, {"rootfs": {}})}})
    nested = document(store, {"manifests": [{"digest": m} for m in manifests]})
    return document(store, {"manifests": [{"digest": statement}, {"digest": nested}]}), configs


def test_an_image_is_known_by_its_configuration_behind_index_and_manifest(tmp_path: Path) -> None:
    digest, configs = an_index(tmp_path)
    for architecture, wanted in configs.items():
        found = ContainerdStore(tmp_path).config(digest, LAYERS, architecture)
        assert found and f"sha256:{hashlib.sha256(found).hexdigest()}" == wanted
    assert ContainerdStore(tmp_path).config(digest, LAYERS[:1], "amd64") is None
    assert ContainerdStore(tmp_path).config("sha256:" + "0" * 64, LAYERS, "amd64") is None


def test_a_damaged_blob_is_as_good_as_absent(tmp_path: Path) -> None:
    digest, configs = an_index(tmp_path)
    path = tmp_path / CONTENT / configs["amd64"].removeprefix("sha256:")
    path.write_bytes(path.read_bytes() + b" ")
    assert ContainerdStore(tmp_path).config(digest, LAYERS, "amd64") is None
    assert ContainerdStore(tmp_path).config(digest, LAYERS, "arm64") is not None


def test_an_index_that_names_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / CONTENT / ("0" * 64)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    many = document(tmp_path, {"manifests": [{"digest": "sha256:" + "0" * 64}] * 100_000})
    assert ContainerdStore(tmp_path).config(many, LAYERS, "amd64") is None


def snapshots(root: Path, names: dict[str, int]) -> None:
    records = {
        f"moby/{n + 7}/{name}".encode(): {b"id": bytes([n | 0x80, 1]), b"kind": b"\3"}
        for name, n in names.items()
    }
    Database({b"v1": {b"parents": {}, b"snapshots": records}}).write(root / OVERLAY / "metadata.db")
    for number in names.values():
        (root / OVERLAY / "snapshots" / str(number + 128) / "fs").mkdir(parents=True)


def test_layers_are_found_by_chain_id_and_written_files_by_container(tmp_path: Path) -> None:
    chains = chain_ids(LAYERS)
    assert chains[0] == LAYERS[0]
    text = f"{LAYERS[0]} {LAYERS[1]}".encode()
    assert chains[1] == f"sha256:{hashlib.sha256(text).hexdigest()}"
    snapshots(tmp_path, {chains[0]: 3, chains[1]: 9, "c" * 64: 11, "x": 4, "y": 5})
    store = ContainerdStore(tmp_path)
    folder = tmp_path / OVERLAY / "snapshots"
    assert store.layer_folders(LAYERS) == (folder / "131/fs", folder / "137/fs")
    assert store.written_folder("c" * 64) == folder / "139/fs"
    assert store.written_folder("d" * 64) is None
    assert store.layer_folders([*LAYERS, "sha256:" + "3" * 64]) == ()  # one is not unpacked
    assert ContainerdStore(tmp_path / "none").layer_folders(LAYERS) == ()


def test_a_registrys_manifest_is_told_from_one_made_here(tmp_path: Path) -> None:
    ours, theirs = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    source = {b"containerd.io/distribution.source.reg.example": b"team/app"}
    blobs: dict[bytes, Value] = {
        ours.encode(): {b"labels": {b"containerd.io/gc.ref.content.0": b"x"}, b"size": b"\1"},
        theirs.encode(): {b"labels": source},
    }
    namespace: dict[bytes, Value] = {b"content": {b"blob": blobs}}
    path = tmp_path / "io.containerd.metadata.v1.bolt" / "meta.db"
    Database({b"v1": {b"moby": namespace, b"version": b"\1"}}).write(path)
    store = ContainerdStore(tmp_path)
    assert (store.pulled(ours), store.pulled(theirs), store.pulled("sha256:0")) == (0, 1, 0)


# ---------------------------------------------------------------- Docker's answers


def test_the_identity_is_that_of_the_configuration_not_the_engines(tmp_path: Path) -> None:
    stored = json.dumps({**config("amd64"), "unknown": {"kept": 1}}).encode()
    found = {"Id": "sha256:" + "e" * 64, "Size": 5, "Architecture": "amd64"}
    image = image_of("x:1", found, stored)
    assert image.digest == f"sha256:{hashlib.sha256(stored).hexdigest()}"
    assert image.handle == found["Id"] != image.digest
    assert json.loads(image.config.raw)["unknown"] == {"kept": 1}
    assert [layer.diff_id for layer in image.layers] == LAYERS
    assert image_of("x:1", found).digest == found["Id"]  # where nothing better is known


def test_nothing_is_read_of_a_store_whose_owners_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    found = {"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": str(tmp_path / "layer")}}}
    open_store = Disk(tmp_path, "overlay2", readable=True)
    assert open_store.layers(found) == (tmp_path / "layer",)
    assert Disk(tmp_path, "overlay2", mapped=True, readable=True).layers(found) == ()
    assert Disk(tmp_path, "overlay2").layers(found) == ()


def test_the_bytes_of_layers_count_each_file_once(tmp_path: Path) -> None:
    for layer in ("a", "b"):
        (tmp_path / layer / "deep").mkdir(parents=True)
        (tmp_path / layer / "deep/file").write_bytes(b"x" * 100)
    (tmp_path / "a/link").hardlink_to(tmp_path / "a/deep/file")
    (tmp_path / "a/sym").symlink_to("/etc/passwd")
    assert bytes_in((tmp_path / "a", tmp_path / "b")) == 200


# ---------------------------------------------------------------- Podman


def split(path: Path, *names: str, mode: int = 0o750) -> Path:
    """A tar-split file of a tar with these directories (tar-split, disassemble)."""
    lines = []
    for number, name in enumerate(names):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.mtime = tarfile.DIRTYPE, mode, 7, 1234
        header = base64.b64encode(b"padding" + info.tobuf(tarfile.GNU_FORMAT)).decode()
        lines.append({"type": 2, "payload": header, "position": 2 * number})
        lines.append({"type": 1, "name": name, "payload": None, "position": 2 * number + 1})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


def test_the_root_directory_is_the_tars_not_podmans(tmp_path: Path) -> None:
    layers = tmp_path / "overlay-layers"
    split(layers / "aa.tar-split.gz", "dev/", "./", "etc/")
    split(layers / "bb.tar-split.gz", "etc/", "srv/")
    folders = [tmp_path / "overlay" / name / "diff" for name in ("aa", "bb")]
    unpacked = Entry("/", Kind.DIR, 0o555, mtime=99, layer=1)

    def opener(_: Entry) -> Any:
        raise AssertionError

    tree = with_root(Tree({"/": unpacked}, opener), tmp_path, folders)
    root = tree.entries["/"]
    assert (root.mode, root.uid, root.mtime, root.layer) == (0o750, 7, 1234, 0)
    untold = with_root(Tree({"/": unpacked}, opener), tmp_path, folders[1:]).entries["/"]
    assert (untold.mode, untold.uid, untold.gid) == (0o755, 0, 0)


def test_a_damaged_tar_split_tells_nothing(tmp_path: Path) -> None:
    whole = split(tmp_path / "x.gz", "a/", "./").read_bytes()
    for data in (b"", b"no gzip", whole[:40], gzip.compress(b'{"type":1,"name":"./"}\n'),
                 gzip.compress(b"[1]\n"), gzip.compress(b"nonsense\n")):  # fmt: skip
        (tmp_path / "x.gz").write_bytes(data)
        assert root_in(tmp_path / "x.gz") is None
    assert root_in(tmp_path / "none.gz") is None
