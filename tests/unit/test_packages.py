"""Package ownership from each database's own files, and whole packages at the widest level."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

from minify.model import ImageConfig, KeepLevel
from minify.packages.owners import above, owners, package_dir, wheel_owners
from minify.packages.rpmdb import header_files, rpm_files
from minify.packages.wheels import targets
from minify.resolvers import Need, Scene
from minify.resolvers.package import Package
from minify.tree import Tree
from tests.kit import Link, tree

DPKG = {
    "/usr/bin/dash": "x",
    "/bin": Link("usr/bin"),
    "/usr/share/doc/dash/copyright": "x",
    "/etc/own.conf": "x",
    "/var/lib/dpkg/info/dash.list": "/.\n/bin\n/bin/dash\n/usr\n/usr/share/doc/dash/copyright\n",
    "/var/lib/dpkg/info/libc6:amd64.list": "/usr/lib/libc.so.6\n/gone\n",
    "/usr/lib/libc.so.6": "x",
}


def test_dpkg_lists_are_read_through_the_links_of_merged_usr() -> None:
    found = owners(tree(DPKG))
    assert found.known
    assert found.package_of("/usr/bin/dash") == "dpkg:dash"
    assert found.package_of("/usr/lib/libc.so.6") == "dpkg:libc6"
    assert found.package_of("/etc/own.conf") is None
    assert found.packages == ("dpkg:dash", "dpkg:libc6")
    assert set(found.files_of("dpkg:dash")) == {
        "/usr/bin/dash",
        "/usr/share/doc/dash/copyright",
        "/bin",
    }


def test_distroless_images_list_files_in_md5sums() -> None:
    found = owners(
        tree(
            {
                "/etc/ssl/openssl.cnf": "x",
                "/var/lib/dpkg/status.d/openssl": "Package: openssl\n",
                "/var/lib/dpkg/status.d/openssl.md5sums": "0123  etc/ssl/openssl.cnf\n",
            }
        )
    )
    assert found.package_of("/etc/ssl/openssl.cnf") == "dpkg:openssl"
    assert {"/etc", "/etc/ssl"} <= found.directories


def test_apk_records() -> None:
    database = "P:musl\nV:1\nF:lib\nR:ld-musl.so.1\na:0:0:755\nF:usr/bin\nR:ldd\n\nP:b\nF:\nR:top\n"
    found = owners(
        tree(
            {
                "/lib/apk/db/installed": database,
                "/lib/ld-musl.so.1": "x",
                "/usr/bin/ldd": "x",
                "/top": "x",
            }
        )
    )
    assert found.files_of("apk:musl") == ("/lib/ld-musl.so.1", "/usr/bin/ldd")
    assert found.package_of("/top") == "apk:b"


def header(name: str, folders: list[str], files: list[tuple[int, str]]) -> bytes:
    """Write an rpm header (rpm's package format, "Header") with the four tags that are read."""
    blobs = [
        (1000, 6, 1, name.encode() + b"\0"),
        (1116, 4, len(files), b"".join(struct.pack(">I", n) for n, _ in files)),
        (1117, 8, len(files), b"".join(f.encode() + b"\0" for _, f in files)),
        (1118, 8, len(folders), b"".join(f.encode() + b"\0" for f in folders)),
    ]
    index, data = b"", b""
    for tag, kind, count, blob in blobs:
        data += b"\0" * (-len(data) % 4)
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += blob
    return struct.pack(">II", len(blobs), len(data)) + index + data


def rpmdb(path: Path, *blobs: bytes) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(b,) for b in blobs])
    connection.commit()
    connection.close()
    return path.read_bytes()


def test_rpm_headers_in_sqlite_in_write_ahead_mode(tmp_path: Path) -> None:
    blob = header("bash", ["/bin/", "/etc/skel/"], [(0, "bash"), (1, ".bashrc")])
    data = rpmdb(tmp_path / "db", blob, b"damaged", struct.pack(">II", 1 << 30, 1))
    found = owners(
        tree(
            {
                "/var/lib/rpm": Link("../../usr/lib/sysimage/rpm"),
                "/usr/lib/sysimage/rpm/rpmdb.sqlite": data,
                "/bin": Link("usr/bin"),
                "/usr/bin/bash": "x",
                "/etc/skel/.bashrc": "x",
            }
        )
    )
    assert not found.findings
    assert set(found.files_of("rpm:bash")) == {"/usr/bin/bash", "/etc/skel/.bashrc"}


def test_databases_that_cannot_be_read_are_findings() -> None:
    assert list(header_files(b"\0")) == []
    assert isinstance(rpm_files(b"nothing"), str)
    assert isinstance(rpm_files(b"SQLite format 3\0" + b"\1" * 200), str)
    found = owners(tree({"/var/lib/rpm/Packages": b"\0\0"}))
    assert not found.known
    assert found.findings[0].path == "/var/lib/rpm/Packages"


def test_wheels_own_their_scripts_too() -> None:
    site = "/usr/lib/python3/site-packages"
    record = 'flask/__init__.py,sha256=x,1\n../../../bin/flask,,\n"odd,name.py",,\n'
    found = wheel_owners(
        tree(
            {
                f"{site}/flask-3.0.dist-info/RECORD": record,
                f"{site}/flask/__init__.py": "",
                f"{site}/odd,name.py": "",
                "/usr/bin/flask": "",
            }
        )
    )
    assert set(found.files_of("wheel:flask-3.0")) == {
        f"{site}/flask/__init__.py",
        f"{site}/odd,name.py",
        "/usr/bin/flask",
    }


def test_packages_that_are_directories() -> None:
    assert package_dir("/a/node_modules/x/lib/y.js") == (
        "npm:/a/node_modules/x",
        "/a/node_modules/x",
    )
    assert package_dir("/a/node_modules/@s/x/y.js") == (
        "npm:/a/node_modules/@s/x",
        "/a/node_modules/@s/x",
    )
    assert package_dir("/g/gems/rack-3.0/lib/rack.rb") == ("gem:rack-3.0", "/g/gems/rack-3.0")
    assert package_dir("/a/node_modules/.bin/x") is None
    assert package_dir("/usr/bin/x") is None


def test_above() -> None:
    assert list(above(["/a/b/c", "/a/d"])) == ["/a/b", "/a", "/"]


def needs_of(files: Tree, touched: str) -> set[str]:
    scene = Scene(
        files, ImageConfig(), {}, frozenset(), frozenset({touched}), frozenset(), KeepLevel.PACKAGE
    )
    found = Package().needs(scene, files.entries[touched])
    return {n.path for n in found if isinstance(n, Need)}


def test_a_touched_file_brings_its_whole_package() -> None:
    assert needs_of(tree(DPKG), "/usr/bin/dash") == {
        "/usr/bin/dash",
        "/usr/share/doc/dash/copyright",
        "/bin",
    }
    npm = tree({"/a/node_modules/x/i.js": "", "/a/node_modules/x/r.js": "", "/a/b.js": ""})
    assert needs_of(npm, "/a/node_modules/x/i.js") == {
        "/a/node_modules/x/i.js",
        "/a/node_modules/x/r.js",
    }


def test_a_folder_of_a_frozen_program_is_no_target_of_pip() -> None:
    record = "crypt/__init__.py,,\ncrypt/_rust.abi3.so,,\ncrypt-1.dist-info/RECORD,,\n"
    frozen = {"/opt/svc/_internal/crypt-1.dist-info/RECORD": record,
              "/opt/svc/_internal/crypt/_rust.abi3.so": "x"}  # fmt: skip
    assert not any(targets(tree(frozen)).values())
    compiled = {**frozen, "/opt/svc/_internal/crypt/__init__.pyc": "x"}
    assert targets(tree(compiled)) == {
        "/opt/svc/_internal": frozenset({"crypt", "crypt-1.dist-info"})
    }
