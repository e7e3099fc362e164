"""Libraries that source code opens by name."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.libraries import make, named
from tests.elf_kit import ld_cache
from tests.kit import Content, Exec, tree

LIB = "/usr/lib/x86_64-linux-gnu"
ROWS = {n: f"{LIB}/{n}" for n in ("libz.so.1", "libzbar.so.0", "libmagic.so.1", "libzip.so.4")}
INSTALLED: Mapping[str, Content] = {
    **dict.fromkeys(ROWS.values(), b"\x7fELF"),
    "/etc/ld.so.cache": ld_cache([(name, path, 0) for name, path in ROWS.items()]),
    "/sbin/ldconfig": Exec(b"\x7fELF"),
    "/opt/own/libown.so": b"\x7fELF",
}


def opened(path: str, text: str, files: Mapping[str, Content] = INSTALLED) -> set[str]:
    made = tree({**files, path: text})
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(), KeepLevel.REACH)
    found = make().needs(scene, made.entries[path])
    return {n.path.rpartition("/")[2] for n in found if isinstance(n, Need)}


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("/app/a.py", "import ctypes\nctypes.CDLL('libmagic.so.1')", {"libmagic.so.1"}),
        ("/app/a.py", "lib = find_library('z')", {"libz.so.1", "ldconfig"}),
        ("/app/a.py", "ffi.dlopen(n)\nn = 'libzip.so.4'", {"libzip.so.4"}),
        ("/app/a.py", "ctypes.CDLL('/opt/own/libown.so')", {"libown.so"}),
        ("/app/a.py", "NAMES = ['libmagic.so.1']", set()),
        ("/app/a.py", "CDLL('libgone.so.1')", set()),
        ("/app/a.rb", "extend FFI::Library\nffi_lib 'zbar'", {"libzbar.so.0"}),
        ("/app/a.rb", "ffi_lib ['zbar', x]", {"libzbar.so.0"}),
        ("/app/a.php", "<?php FFI::cdef('int f();', \"libz.so.1\");", {"libz.so.1"}),
        ("/usr/lib/python3/dist-packages/a.py", "CDLL('libz.so.1')", {"libz.so.1"}),
        ("/usr/lib/python3.11/a.py", "CDLL('libz.so.1'); find_library('z')", set()),
        ("/app/a.txt", "CDLL('libz.so.1')", set()),
    ],
)
def test_libraries_named_where_libraries_are_opened(path: str, text: str, wanted: set[str]) -> None:
    assert opened(path, text) == wanted


def test_without_a_cache_the_usual_folders_are_searched() -> None:
    files = {"/usr/lib/libz.so.1.2": b"\x7fELF", "/usr/lib/libzip.so": b"\x7fELF"}
    assert opened("/app/a.py", "find_library('z')", files) == {"libz.so.1.2"}


def test_what_is_no_text_costs_nothing() -> None:
    assert named(b"\xff\x00CDLL('\xffz.so') find_library('\xe9')") == ((), True)
    assert named(b"") == ((), False)
