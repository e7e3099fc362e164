"""The interpreter that runs the tests, cut down to what the resolver keeps, still does its work."""

from __future__ import annotations

import io
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from minify.model import Entry, ImageConfig, KeepLevel, Kind
from minify.resolvers import Need, Scene
from minify.resolvers.python import make
from minify.run import run
from minify.tree import Tree

LAZY = """
def view():
    import asyncio, bz2, concurrent.futures, csv, ctypes, decimal, difflib, doctest, ftplib, pdb
    import imaplib, lzma, multiprocessing, smtplib, sqlite3, statistics, tarfile, tomllib, wave
    import unittest.mock, wsgiref.simple_server, xml.dom.minidom, xml.etree.ElementTree, zoneinfo
    from datetime import datetime
    assert str(decimal.Decimal(1) / 3).startswith("0.333")
    assert datetime.strptime("2024-02-01", "%Y-%m-%d").month == 2
    assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
    assert xml.etree.ElementTree.fromstring("<a/>").tag == "a"
    assert "\\u0161".encode("cp1250") == b"\\x9a" and "b\\xfc".encode("idna") == b"xn--b-eha"
    import codecs, encodings.aliases
    for codec in sorted(set(encodings.aliases.aliases.values()) - {"mbcs", "oem"}):
        codecs.lookup(codec)
    async def one():
        return 1
    return asyncio.run(one()) and concurrent.futures.ThreadPoolExecutor().submit(len, "ab").result()
"""
SKIPPED = {"site-packages", "dist-packages"}


def host_tree(folders: list[Path], extra: dict[str, bytes]) -> Tree:
    """The files of some folders of this machine, at their own paths, and some made-up ones."""
    entries = {"/": Entry("/", Kind.DIR, 0o755)}
    for path in (path for folder in folders for path in walk(folder)):
        kind = Kind.DIR if path.is_dir() else Kind.FILE
        entries[str(path)] = Entry(str(path), kind, size=path.stat().st_size)
    for name, data in extra.items():
        entries[name] = Entry(name, Kind.FILE, size=len(data))
    for name in list(entries):
        for parent in Path(name).parents:
            entries.setdefault(str(parent), Entry(str(parent), Kind.DIR, 0o755))

    def opener(entry: Entry) -> BinaryIO:
        return io.BytesIO(extra.get(entry.path) or Path(entry.path).read_bytes())

    return Tree(entries, opener)


def walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name not in SKIPPED:
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)


def keep(tree: Tree, touched: set[str]) -> set[str]:
    scene = Scene(tree, ImageConfig(workdir="/app"), {}, frozenset(), frozenset(touched),
                  frozenset(), KeepLevel.REACH)  # fmt: skip
    kept, queue, resolver = set(touched), sorted(touched), make()
    while queue:
        for item in resolver.needs(scene, tree.entries[queue.pop()]):
            if isinstance(item, Need) and item.path in tree.entries and item.path not in kept:
                kept.add(item.path)
                queue.append(item.path)
    return {path for path in kept if tree.entries[path].kind is Kind.FILE}


@pytest.fixture(scope="module")
def cut_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home, library = Path(sys.base_prefix).resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    if not library.is_relative_to(home) or not (library / "lib-dynload").is_dir():
        pytest.skip("this interpreter's library is laid out in another way")
    tree = host_tree([library], {"/app/lazy.py": LAZY.encode()})
    root = tmp_path_factory.mktemp("python")
    kept = keep(tree, {"/app/lazy.py", str(library / "os.py")})
    for path in kept - {"/app/lazy.py"}:
        target = root / Path(path).relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (root / "lazy.py").write_text(LAZY, encoding="utf-8")
    return root


def test_every_lazy_import_still_works(cut_down: Path) -> None:
    interpreter = getattr(sys, "_base_executable", sys.executable)
    script = "import os, lazy; print(os.__file__, lazy.view())"
    done = run(
        [interpreter, "-s", "-c", script],
        timeout=60,
        env={"PYTHONHOME": str(cut_down), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=str(cut_down),
    )
    assert done.stdout.startswith(str(cut_down))
    assert done.stdout.endswith(" 2\n")


def test_what_only_developers_need_is_left_out(cut_down: Path) -> None:
    names = {path.name for path in cut_down.rglob("*") if path.is_dir()}
    assert not names & {"idlelib", "turtledemo", "lib2to3", "ensurepip", "test", "tkinter"}
