"""Time zones are kept for whoever can tell local time."""

from __future__ import annotations

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.zones import make
from tests.elf_kit import INTERP, elf
from tests.kit import Content, Exec, tree

ROOT = "/usr/share/zoneinfo"
ZONES: dict[str, Content] = {
    f"{ROOT}/Asia/Tokyo": b"TZif2",
    f"{ROOT}/right/Asia/Tokyo": b"TZif2",
    f"{ROOT}/zone.tab": "JP",
    f"{ROOT}/tzdata.zi": "# version",
}


def ask(path: str, content: Content, *, used: bool = True) -> set[str]:
    files = tree({**ZONES, path: content})
    touched = frozenset({path} if used else ())
    scene = Scene(files, ImageConfig(), {}, frozenset(), touched, frozenset(), KeepLevel.REACH)
    return {n.path for n in make().needs(scene, files.entries[path]) if isinstance(n, Need)}


def test_a_program_that_tells_local_time_has_all_zones_but_no_tables() -> None:
    zones = {f"{ROOT}/Asia", f"{ROOT}/Asia/Tokyo"}
    for name in ("localtime_r", "mktime", "tzset", "my_localtime"):  # the last: a merged ending
        assert ask("/usr/bin/app", elf(("libc.so.6",), interp=INTERP, imports=(name,))) == zones
    assert ask("/usr/lib/x.so", elf(("libc.so.6",), imports=("ctime",))) == zones


def test_a_program_that_is_kept_has_them_before_it_was_used() -> None:
    able = Exec(elf(("libc.so.6",), interp=INTERP, imports=("localtime",)))
    assert f"{ROOT}/Asia/Tokyo" in ask("/usr/bin/date", able, used=False)


def test_others_have_none() -> None:
    plain = elf(("libc.so.6",), interp=INTERP, imports=("gmtime_r", "strftime", "st_ctime"))
    assert ask("/usr/bin/app", plain) == set()
    able = elf(("libc.so.6",), interp=INTERP, imports=("localtime",))
    assert ask("/usr/lib/a.so", able, used=False) == set()
    assert ask("/usr/lib/x86_64-linux-gnu/libc.so.6", able) == set()
    assert ask("/usr/bin/script", b"localtime\0" * 9) == set()


def test_a_program_that_reads_the_whole_database_has_its_tables_too() -> None:
    names = ("_ZNSt6chrono11reload_tzdbEv",)
    found = ask("/usr/bin/app", elf(("libstdc++.so.6",), interp=INTERP, imports=names))
    assert found >= {f"{ROOT}/tzdata.zi", f"{ROOT}/zone.tab", f"{ROOT}/Asia/Tokyo"}
    assert f"{ROOT}/right/Asia/Tokyo" not in found
