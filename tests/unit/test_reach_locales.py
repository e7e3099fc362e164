"""Locales that texts of the application name."""

from __future__ import annotations

import pytest

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.locales import make
from tests.kit import Content, Exec, tree

LOCALES: dict[str, Content] = {
    "/usr/lib/locale/de_DE.utf8/LC_TIME": "x",
    "/usr/lib/locale/de_DE.utf8/LC_MESSAGES/SYS": "x",
    "/usr/lib/locale/ca_ES.utf8@valencia/LC_TIME": "x",
    "/usr/lib/locale/ja_JP.utf8/LC_TIME": "x",
}


def named(path: str, content: Content, files: dict[str, Content] = LOCALES) -> set[str]:
    made = tree({**files, path: content})
    none = frozenset[str]()
    scene = Scene(made, ImageConfig(), {}, frozenset(), none, none, KeepLevel.REACH)
    found = make().needs(scene, made.entries[path])
    return {n.path.removeprefix("/usr/lib/locale/") for n in found if isinstance(n, Need)}


@pytest.mark.parametrize(
    ("path", "content", "wanted"),
    [
        ("/usr/local/bin/x", Exec("#!/bin/sh\nLC_ALL=de_DE.UTF-8 sort"), "de_DE.utf8/LC_TIME"),
        ("/app/a.py", "setlocale(LC_ALL, 'ca_ES.UTF-8@valencia')", "ca_ES.utf8@valencia/LC_TIME"),
        ("/app/a.yaml", "lang: ja_JP.utf8", "ja_JP.utf8/LC_TIME"),
    ],
)
def test_a_locale_is_found_by_its_name(path: str, content: Content, wanted: str) -> None:
    found = named(path, content)
    assert wanted in found
    assert {p.partition("/")[0] for p in found} == {wanted.partition("/")[0]}


def test_a_language_alone_and_programs_name_none() -> None:
    assert named("/app/a.py", "x = 'de_DE'") == set()
    assert named("/usr/bin/x", Exec(b"\x7fELF\0de_DE.UTF-8\0")) == set()
    assert named("/usr/lib/python3/dist-packages/a.py", "'de_DE.UTF-8'") == set()


def test_the_archive_where_there_are_no_folders() -> None:
    files: dict[str, Content] = {"/usr/lib/locale/locale-archive": "x"}
    assert named("/app/a.sh", "LANG=fr_FR.ISO-8859-1", files) == {"locale-archive"}
