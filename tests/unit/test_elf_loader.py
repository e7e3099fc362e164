"""The order in which libraries are looked for, as ld.so(8) and musl's ldso/dynlink.c have it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from minify.elf.loader import World, closure, facts_of
from minify.runs.kit import host_tree
from tests.elf_kit import INTERP, MUSL, Shape, elf, ld_cache, loader
from tests.kit import Content, Exec, Link, tree

LIB = "/lib/x86_64-linux-gnu"
LIBC = elf(soname="libc.so.6")


def world(files: Mapping[str, Content], **options: str) -> World:
    """See a fixture tree with a glibc loader as its loader does."""
    return World(tree({INTERP: loader(), **files}), **options)


def paths(view: World, start: str = "/app/run", *, secure: bool = False) -> list[str]:
    """List what the closure of a program opens, its interpreter and directories left out."""
    wanted = closure(view, start, secure=secure).wanted
    return [w.path for w in wanted if w.detail not in ("interpreter", "on the way")]


PLACES = {
    "rpath": "/r/libx.so",
    "env": "/env/libx.so",
    "runpath": "/run/libx.so",
    "cache": "/cached/libx.so",
    "multiarch": f"{LIB}/libx.so",
    "default": "/usr/lib/libx.so",
}


def _everywhere(program: bytes, places: list[str]) -> World:
    files: dict[str, Content] = {PLACES[p]: elf(soname="libx.so") for p in places}
    files["/app/run"] = Exec(program)
    files["/etc/ld.so.cache"] = ld_cache([("libx.so", "/cached/libx.so", 0)])
    return world(files, library_path="/env")


@pytest.mark.parametrize("kept", range(len(PLACES)))
def test_order_with_rpath(kept: int) -> None:
    """DT_RPATH, LD_LIBRARY_PATH, cache, default directories; RPATH counts without RUNPATH only."""
    names = [n for n in PLACES if n != "runpath"]
    program = elf(("libx.so",), interp=INTERP, rpath="/r")
    for first in range(len(names)):
        view = _everywhere(program, names[first:])
        assert paths(view) == [PLACES[names[first]]]


def test_order_with_runpath() -> None:
    """LD_LIBRARY_PATH, DT_RUNPATH, cache, defaults; DT_RPATH does not count beside it."""
    names = [n for n in PLACES if n != "rpath"]
    program = elf(("libx.so",), interp=INTERP, rpath="/r", runpath="/run")
    for first in range(len(names)):
        assert paths(_everywhere(program, ["rpath", *names[first:]])) == [PLACES[names[first]]]


def test_rpath_is_inherited_and_runpath_is_not() -> None:
    files: dict[str, Content] = {
        "/one/liba.so": elf(("libb.so",), soname="liba.so"),
        "/one/libb.so": elf(soname="libb.so"),
    }
    by_rpath = world({"/app/run": Exec(elf(("liba.so",), interp=INTERP, rpath="/one")), **files})
    assert paths(by_rpath) == ["/one/liba.so", "/one/libb.so"]
    program = elf(("liba.so",), interp=INTERP, runpath="/one")
    by_runpath = world({"/app/run": Exec(program), **files})
    assert paths(by_runpath) == ["/one/liba.so"]
    assert closure(by_runpath, "/app/run").missing == (("libb.so", "/one/liba.so"),)


def test_a_library_already_loaded_is_not_looked_for() -> None:
    view = world(
        {
            "/app/run": Exec(elf(("libdir/liba.so", "libb.so"), interp=INTERP, runpath="/x")),
            "/app/libdir/liba.so": elf(("libc.so.6",), soname="libc.so.6"),
            "/x/libb.so": elf(("libc.so.6",)),
        },
        cwd="/app",
    )
    assert paths(view) == ["/app/libdir/liba.so", "/x/libb.so"]


def test_a_file_of_another_machine_is_passed_over() -> None:
    view = world(
        {
            "/app/run": Exec(elf(("libx.so",), interp=INTERP, runpath="/32:/arm:/text:/fit")),
            "/32/libx.so": elf(shape=Shape("EM_386", 32)),
            "/arm/libx.so": elf(shape=Shape("EM_AARCH64")),
            "/text/libx.so": "GROUP ( libx.so.1 )",
            "/fit/libx.so": elf(),
        }
    )
    assert paths(view) == ["/fit/libx.so"]


@pytest.mark.parametrize(
    ("runpath", "where"),
    [
        ("$ORIGIN/../lib", "/app/bin/../lib"),
        ("${ORIGIN}/x", "/app/bin/x"),
        ("/opt/$LIB", "/opt/lib/x86_64-linux-gnu"),
        ("/opt/$PLATFORM", "/opt/haswell"),
        ("$ORIGINAL:/fine", "/fine"),
        ("", "/work"),
    ],
)
def test_tokens(runpath: str, where: str) -> None:
    program = elf(("libx.so",), interp=INTERP, runpath=runpath or ":/none")
    view = world(
        {
            "/app/bin/run": Exec(program),
            f"{where}/libx.so": elf(),
            "/usr/bin/run": Link("/app/bin/run"),
        },
        cwd="/work",
    )
    assert paths(view, "/usr/bin/run") == [f"{where}/libx.so"]


def test_directories_left_by_dots_are_wanted_too() -> None:
    view = world(
        {
            "/app/run": Exec(elf(("libx.so",), interp=INTERP, runpath="/app/empty/../lib")),
            "/app/empty": None,
            "/app/lib/libx.so": elf(),
        }
    )
    assert "/app/empty" in [w.path for w in closure(view, "/app/run").wanted]


def test_every_cpu_variant_is_wanted() -> None:
    hwcaps = f"{LIB}/glibc-hwcaps"
    view = world(
        {
            "/app/run": Exec(elf(("libx.so",), interp=INTERP)),
            f"{hwcaps}/x86-64-v3/libx.so": elf(("libonly3.so",)),
            f"{hwcaps}/x86-64-v2/libx.so": elf(),
            f"{LIB}/haswell/libx.so": elf(),
            f"{LIB}/libx.so": elf(),
            f"{LIB}/libonly3.so": elf(),
            "/usr/lib/libx.so": elf(),
        }
    )
    assert set(paths(view)) == {
        f"{hwcaps}/x86-64-v3/libx.so",
        f"{hwcaps}/x86-64-v2/libx.so",
        f"{LIB}/haswell/libx.so",
        f"{LIB}/libx.so",
        f"{LIB}/libonly3.so",
    }


def test_cache_rows_for_cpus_and_a_stale_row() -> None:
    rows = [("libx.so", "/v3/libx.so", 1 << 62), ("libx.so", "/gone/libx.so", 0)]
    view = world(
        {
            "/app/run": Exec(elf(("libx.so",), interp=INTERP)),
            "/etc/ld.so.cache": ld_cache(rows),
            "/v3/libx.so": elf(),
            "/usr/lib/libx.so": elf(),
        }
    )
    assert paths(view) == ["/v3/libx.so", "/usr/lib/libx.so"]


def test_conf_counts_only_without_a_cache() -> None:
    files: dict[str, Content] = {
        "/app/run": Exec(elf(("libx.so",), interp=INTERP)),
        "/etc/ld.so.conf": "/conf\n",
        "/conf/libx.so": elf(),
    }
    assert paths(world(files)) == ["/conf/libx.so"]
    assert paths(world({**files, "/etc/ld.so.cache": ld_cache([])})) == []


def test_default_directories_come_from_the_loader_itself() -> None:
    view = world(
        {
            INTERP: loader(("/opt/glibc/lib/",)),
            "/app/run": Exec(elf(("libx.so",), interp=INTERP)),
            "/opt/glibc/lib/libx.so": elf(),
            "/usr/lib/libx.so": elf(),
        }
    )
    assert paths(view) == ["/opt/glibc/lib/libx.so"]


def test_privileged_programs_ignore_the_environment_and_foreign_origins() -> None:
    files: dict[str, Content] = {
        "/app/run": Exec(elf(("libx.so",), interp=INTERP, runpath="$ORIGIN")),
        "/env/libx.so": elf(),
        "/app/libx.so": elf(),
        "/usr/lib/libx.so": elf(),
        "/pre.so": elf(),
    }
    view = world(files, library_path="/env", preload="/pre.so")
    assert paths(view) == ["/pre.so", "/env/libx.so"]
    assert paths(view, secure=True) == ["/usr/lib/libx.so"]


def test_preloads() -> None:
    view = world(
        {
            "/app/run": Exec(elf(interp=INTERP, runpath="/nothing")),
            "/etc/ld.so.preload": "# note\nlibpre.so\n",
            "/usr/lib/libpre.so": elf(("libneed.so",)),
            "/usr/lib/libneed.so": elf(),
            "/j/libjemalloc.so": elf(),
        },
        preload="/j/$LIB/none.so:/j/libjemalloc.so",
    )
    got = closure(view, "/app/run")
    assert paths(view) == ["/j/libjemalloc.so", "/usr/lib/libpre.so", "/usr/lib/libneed.so"]
    assert got.missing == (("/j/$LIB/none.so", "/app/run"),)


def test_cycles_and_self_need_end() -> None:
    view = world(
        {
            "/app/run": Exec(elf(("liba.so",), interp=INTERP)),
            "/usr/lib/liba.so": elf(("libb.so", "liba.so"), soname="liba.so"),
            "/usr/lib/libb.so": elf(("liba.so",), soname="libb.so"),
        }
    )
    assert paths(view) == ["/usr/lib/liba.so", "/usr/lib/libb.so"]


def test_a_missing_interpreter_is_said() -> None:
    view = World(tree({"/app/run": Exec(elf(interp=INTERP))}))
    assert closure(view, "/app/run").missing == ((INTERP, "/app/run"),)


def test_a_library_alone_finds_a_fitting_loader() -> None:
    view = world(
        {INTERP: loader(("/own/",)), "/p/plugin.so": elf(("libc.so.6",)), "/own/libc.so.6": LIBC}
    )
    assert closure(view, "/p/plugin.so").missing == (("libc.so.6", "/p/plugin.so"),)
    again = world(
        {
            INTERP: loader(("/own/lib/",)),
            "/p/plugin.so": elf(("libc.so.6",)),
            "/own/lib/libc.so.6": LIBC,
        }
    )
    assert paths(again, "/p/plugin.so") == ["/own/lib/libc.so.6"]


class TestMusl:
    def see(self, files: Mapping[str, Content], program: bytes, **options: str) -> World:
        made = tree({MUSL: elf(soname="libc.so"), "/app/run": Exec(program), **files})
        return World(made, **options)

    def test_the_loader_is_the_libc(self) -> None:
        view = self.see({}, elf(("libc.musl-x86_64.so.1", "libpthread.so.0"), interp=MUSL))
        assert closure(view, "/app/run").missing == ()
        assert paths(view) == []

    def test_order(self) -> None:
        """LD_LIBRARY_PATH before RPATH, RPATH and RUNPATH alike and both inherited."""
        program = elf(("liba.so",), interp=MUSL, runpath="/run")
        files: dict[str, Content] = {
            "/run/liba.so": elf(("libb.so",)),
            "/run/libb.so": elf(),
            "/usr/local/lib/libb.so": elf(),
        }
        assert paths(self.see(files, program)) == ["/run/liba.so", "/run/libb.so"]
        more: dict[str, Content] = {**files, "/env/libb.so": elf()}
        view = self.see(more, program, library_path="/env")
        assert paths(view) == ["/run/liba.so", "/env/libb.so"]

    def test_path_file_replaces_the_defaults(self) -> None:
        files: dict[str, Content] = {
            "/etc/ld-musl-x86_64.path": "/one\n/two:/three",
            "/three/liba.so": elf(),
            "/usr/lib/liba.so": elf(),
        }
        assert paths(self.see(files, elf(("liba.so",), interp=MUSL))) == ["/three/liba.so"]


def _host_objects() -> list[str]:
    found = [*Path("/usr/bin").glob("*"), *Path("/usr/lib/x86_64-linux-gnu").glob("*.so.*")]
    return sorted(str(p) for p in found if p.is_file() and os.access(p, os.R_OK))[::7]


@pytest.mark.skipif(not Path(INTERP).exists(), reason="the host has no x86-64 glibc loader")
def test_equals_the_real_loader_on_host_objects() -> None:
    """LD_TRACE_LOADED_OBJECTS (ld.so(8)) prints what the real loader would load."""
    view, compared = World(host_tree()), 0
    for path in _host_objects():
        facts = facts_of(view, path)
        if facts is None or facts.is_static or facts.libc == "other":
            continue
        mode = os.stat(path).st_mode
        direct = facts.interp and mode & 0o111 and not mode & 0o6000
        argv = [path] if direct else [INTERP, path]
        text = subprocess.run(
            argv, env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, text=True
        ).stdout
        real = set(re.findall(r"^\s(?:\S+ => )?(/\S+) \(0x", text, re.MULTILINE))
        absent = set(re.findall(r"^\s(\S+) => not found", text, re.MULTILINE))
        got = closure(view, path)
        ours = {w.path for w in got.wanted if w.detail not in ("interpreter", "on the way")}
        assert {p for p in ours if "/ld-linux" not in p} == {
            p for p in real if "/ld-linux" not in p
        }, path
        assert {name for name, _ in got.missing} == absent, path
        compared += 1
    assert compared > 10
