"""ld.so.cache in its three formats, and ld.so.conf."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minify.elf.cache import read_cache, read_conf
from tests.elf_kit import ld_cache
from tests.kit import Link, tree

ROWS = [("libz.so.1", "/lib/libz.so.1", 0), ("libz.so.1", "/lib/v3/libz.so.1", 1 << 62)]


@pytest.mark.parametrize(
    "kind", [{}, {"combined": True}, {"big": True}, {"combined": True, "big": True}]
)
def test_new_and_combined_formats(kind: dict[str, bool]) -> None:
    rows = read_cache(ld_cache(ROWS, **kind))
    assert [(r.soname, r.path, r.hwcap) for r in rows] == ROWS


def test_old_format() -> None:
    rows = read_cache(ld_cache(ROWS, old=True))
    assert [(r.soname, r.path) for r in rows] == [(s, p) for s, p, _ in ROWS]


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_damage_never_raises(noise: bytes, old: bool) -> None:
    head = b"ld.so-1.7.0\0" if old else b"glibc-ld.so.cache1.1"
    assert all(row.path.startswith("/") for row in read_cache(head + noise))


def test_cut_off_cache_gives_what_is_whole() -> None:
    data = ld_cache(ROWS)
    assert all(len(read_cache(data[:cut])) <= len(ROWS) for cut in range(len(data)))


@pytest.mark.skipif(not Path("/etc/ld.so.cache").is_file(), reason="no /etc/ld.so.cache here")
@pytest.mark.skipif(not Path("/sbin/ldconfig").is_file(), reason="no ldconfig here")
def test_agrees_with_ldconfig_on_the_host() -> None:
    text = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    said = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", text, re.MULTILINE)
    ours = [(r.soname, r.path) for r in read_cache(Path("/etc/ld.so.cache").read_bytes())]
    assert ours == said


def test_conf_with_includes_comments_and_types() -> None:
    made = tree(
        {
            "/etc/ld.so.conf": "include ld.so.conf.d/*.conf\n/opt/lib # mine\nhwcap 0 nosegneg\n",
            "/etc/ld.so.conf.d/a.conf": "/a/lib=libc6, /b/lib:/c/lib\ninclude /etc/ld.so.conf\n",
            "/etc/ld.so.conf.d/b.conf": Link("nowhere"),
            "/etc/ld.so.conf.d/c.txt": "/never\n",
        }
    )
    dirs, files = read_conf(made)
    assert dirs == ("/a/lib", "/b/lib", "/c/lib", "/opt/lib")
    assert sorted(files) == ["/etc/ld.so.conf", "/etc/ld.so.conf.d/a.conf"]
