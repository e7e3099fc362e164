"""Name services of glibc, and directories made to be written to."""

from __future__ import annotations

from dataclasses import replace

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Scene
from minify.resolvers.system import System, services
from minify.tree import Tree
from tests.kit import Content, tree

LIB = "/usr/lib/x86_64-linux-gnu"


def kept(files: Tree, path: str, level: KeepLevel = KeepLevel.EXACT) -> set[str]:
    none = frozenset[str]()
    scene = Scene(files, ImageConfig(), {}, frozenset(), none, none, level)
    return {n.path for n in System().needs(scene, files.entries[path])}


def test_services_without_actions_and_comments() -> None:
    text = "passwd: files [NOTFOUND=return] sss\nhosts:  files mdns4_minimal dns # ldap\nodd\n"
    assert services(text) == {"files", "sss", "mdns4_minimal", "dns"}


def glibc(version: str, settings: str) -> Tree:
    names = ("files", "dns", "compat", "sss")
    files: dict[str, Content] = {f"{LIB}/libnss_{n}.so.2": "x" for n in names}
    banner = f"\0GNU C Library (Debian GLIBC {version}-9) stable release version {version}.\0"
    return tree({**files, f"{LIB}/libc.so.6": banner, "/etc/nsswitch.conf": settings})


def test_new_glibc_has_files_and_dns_inside() -> None:
    found = kept(glibc("2.36", "passwd: files sss\nhosts: files dns\n"), f"{LIB}/libc.so.6")
    assert found == {f"{LIB}/libnss_sss.so.2"}


def test_old_glibc_loads_them_even_without_being_told() -> None:
    found = kept(glibc("2.31", "passwd: compat\n"), f"{LIB}/libc.so.6")
    assert found == {f"{LIB}/libnss_{n}.so.2" for n in ("files", "dns", "compat")}


def test_musl_and_other_libraries_load_nothing() -> None:
    files = tree({"/lib/libc.musl-x86_64.so.1": "x", "/lib/libnss_files.so.2": "x"})
    assert kept(files, "/lib/libc.musl-x86_64.so.1") == set()


def test_directories_of_other_users_are_kept_empty_at_reach() -> None:
    files = tree({"/var/cache/app/deep": None, "/var/spool/all": None, "/usr/bin": None})
    entries = dict(files.entries)
    entries["/var/cache/app"] = replace(entries["/var/cache/app"], uid=33)
    entries["/var/cache/app/deep"] = replace(entries["/var/cache/app/deep"], uid=33)
    entries["/var/spool/all"] = replace(entries["/var/spool/all"], mode=0o1777)
    entries["/var/spool"] = replace(entries["/var/spool"], mode=0o775)  # for any user: group 0
    owned = Tree(entries, files.opener)
    assert kept(owned, "/usr/bin") == set()
    expected = {"/var/cache/app", "/var/spool", "/var/spool/all"}
    assert kept(owned, "/usr/bin", KeepLevel.REACH) == expected
