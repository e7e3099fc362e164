"""What reading an image may take: bytes, entries, depth; whatever an archive says."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from minify.errors import EngineError
from minify.images.archive import read_docker_archive
from minify.images.layers import squash
from minify.images.span import Span
from minify.images.tar_header import END, pax_header
from minify.jsontext import JsonError, parse_json
from minify.packages import rpmdb
from minify.packages.rpmdb import rpm_files
from minify.store.extract import unpack
from tests.image_kit import config, docker_archive, folder, item, span, symlink, tar

MIB = 1 << 20


def record(key: str, value: bytes) -> bytes:
    return pax_header({key: value})


def both(tar_: Span, tmp_path: Path) -> None:
    """Refused by the reader of archives, and by that of the store."""
    with pytest.raises(EngineError):
        squash([tar_])
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError):
        unpack(tar_, tmp_path / "out")


def test_extended_headers_that_add_up_for_one_member(tmp_path: Path) -> None:
    many = b"".join(record(f"SCHILY.xattr.user.{n}", b"x" * 60_000) for n in range(40))
    both(span(tmp_path / "l.tar", many + tar([item("a", "x")])), tmp_path)


def test_attributes_of_many_members_that_add_up(tmp_path: Path) -> None:
    with (tmp_path / "l.tar").open("wb") as out:
        for n in range(600):
            out.write(record("SCHILY.xattr.user.x", b"%060000d" % n))
            out.write(tar([item(f"f{n}", "")]).removesuffix(END)[:512])
        out.write(END)
        size = out.tell()
    with pytest.raises(EngineError, match="exceed"):
        squash([Span(tmp_path / "l.tar", 0, size)])


def test_equal_attributes_cost_nothing(tmp_path: Path) -> None:
    with (tmp_path / "l.tar").open("wb") as out:
        for n in range(3000):
            out.write(record("SCHILY.xattr.user.x", b"y" * 60_000))
            out.write(tar([item(f"f{n}", "")])[:512])
        out.write(END)
        size = out.tell()
    tree = squash([Span(tmp_path / "l.tar", 0, size)])
    values = [dict(entry.xattrs)["user.x"] for path, entry in tree.entries.items() if path != "/"]
    assert len(values) == 3000
    assert len({id(value) for value in values}) == 1


def test_an_attribute_no_kernel_takes_and_a_name_of_a_megabyte(tmp_path: Path) -> None:
    big = record("SCHILY.xattr.user.x", b"x" * 70_000) + tar([item("a", "x")])
    both(span(tmp_path / "l.tar", big), tmp_path)
    with pytest.raises(EngineError, match="name"):
        squash([span(tmp_path / "n.tar", record("path", b"x/" * 9000) + tar([item("a", "x")]))])


def test_names_that_imply_thousands_of_folders_each(tmp_path: Path) -> None:
    deep = [item(f"{n}/" + "d/" * 2000 + "f", "") for n in range(60)]
    with pytest.raises(EngineError, match="exceed"):
        squash([span(tmp_path / "l.tar", tar(deep))])


def test_symlinks_that_nest_without_end(tmp_path: Path) -> None:
    items = [folder("d" + "/d" * 200)]
    at = "d" + "/d" * 200
    for n in range(4):
        items += [symlink(f"l{n}", at), folder(f"l{n}" + "/d" * 200)]
        at = f"l{n}" + "/d" * 200
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="too many folders deep"):
        unpack(span(tmp_path / "l.tar", tar(items)), tmp_path / "out")


PEAK = """
import resource, sys
from pathlib import Path
from minify.errors import EngineError
from minify.images.archive import read_docker_archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_docker_archive(Path(sys.argv[1]), spool=Path(sys.argv[2])).tree
except EngineError as error:
    print("refused:", error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def peak(path: Path, spool: Path) -> tuple[str, int]:
    spool.mkdir()
    argv = [sys.executable, "-c", PEAK, str(path), str(spool)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    said, _, megabytes = done.stdout.strip().rpartition("\n")
    return said, int(megabytes)


def test_a_small_archive_of_large_headers_takes_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "l.tar").open("wb") as out:
        for n in range(150):
            records = {
                f"SCHILY.xattr.user.{k}": b"%d %d" % (n, k) + bytes(60_000) for k in range(16)
            }
            out.write(pax_header(records) + tar([item(f"f{n}", "")])[:512])
        out.write(END)
    layer = (tmp_path / "l.tar").read_bytes()
    (tmp_path / "image.tar").write_bytes(gzip.compress(docker_archive([layer]), 1))
    assert (tmp_path / "image.tar").stat().st_size < 9 * MIB
    said, megabytes = peak(tmp_path / "image.tar", tmp_path / "spool")
    assert "refused" in said
    assert megabytes < 150


@pytest.mark.parametrize("size", [31, 3.9])
def test_a_huge_configuration_takes_little_memory(tmp_path: Path, size: float) -> None:
    layer = tar([item("a", "x")])
    known = json.loads(config([layer]))
    known["x"] = [{} for _ in range(int(size * MIB) // 4)]
    conf = json.dumps(known, separators=(",", ":")).encode()
    image = docker_archive([layer], conf=conf)
    (tmp_path / "image.tar").write_bytes(image)
    said, megabytes = peak(tmp_path / "image.tar", tmp_path / "spool")
    assert "refused" in said
    assert megabytes < 100


def test_json_is_bounded_in_bytes_values_and_depth() -> None:
    for text in (b"[" * 101 + b"]" * 101, b"[" + b"0," * 200_001 + b"0]", b" " * (4 * MIB + 1),
                 b'{"a":' * 5000, b"[NaN]", b"1" * 5000, b"\xff", b'{"a": 1,}'):  # fmt: skip
        with pytest.raises(JsonError):
            parse_json(text)
    commas = {"history": "[,{" * 300_000, "\\": '",' * 1000}
    assert parse_json(json.dumps(commas).encode()) == commas
    assert parse_json(b'["\\ud800x", "\\ud83d\\ude00"]') == ["?x", "\U0001f600"]


def test_a_configuration_of_a_wrong_shape_is_refused_before_it_is_built(tmp_path: Path) -> None:
    layer = tar([item("a", "x")])
    (tmp_path / "i.tar").write_bytes(docker_archive([layer], conf=b'{"a":' * 3000 + b"1"))
    with pytest.raises(EngineError, match="nested"):
        read_docker_archive(tmp_path / "i.tar", spool=tmp_path)


def test_a_package_database_that_counts_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpmdb, "MOST_STEPS", 1_000_000)

    with sqlite3.connect(tmp_path / "db") as db:
        db.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS "
            "(SELECT 1 UNION ALL SELECT blob + 1 FROM n) SELECT blob FROM n WHERE blob < 0"
        )
    found = rpm_files((tmp_path / "db").read_bytes())
    assert isinstance(found, str)
    assert "cannot be read" in found


def test_gnu_long_names_count_too(tmp_path: Path) -> None:
    long = tarfile.TarInfo("x" * 20_000)
    data = long.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    with pytest.raises(EngineError, match="name"):
        squash([span(tmp_path / "l.tar", data)])
