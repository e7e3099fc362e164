"""Walking and removing what an image or a container left: any depth, any width, nothing beyond."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from minify import below
from minify.below import Bounds, Walk, remove, size_of
from minify.engines.written import changes, leaves
from minify.folders import Bounds as FolderBounds
from minify.folders import whole
from minify.model import Entry, Kind
from minify.tree import Tree
from minify.workspace import Home, running

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def nest(top: Path, depth: int, name: str = "a") -> None:
    """Nest folders as a program in a container does, beyond every limit of a path."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.mark.parametrize(("depth", "name"), [(1500, "a"), (20_000, "a"), (600, "n" * 255)])
def test_any_depth_is_removed(tmp_path: Path, depth: int, name: str) -> None:
    # In memory where there is such a place: a disk takes half a minute for 20,000 folders.
    shared = Path("/dev/shm")
    top = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else tmp_path))
    nest(top, depth, name)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        walk = Walk(top)
        seen = [path for path, _ in walk]
        assert max(map(len, seen)) <= below.MAX_PATH
        assert walk.cut == (depth > 1900 or len(name) > 1)
        assert size_of(top) >= 0
        assert remove(top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not top.exists()


def test_a_run_with_nested_folders_leaves_nothing(tmp_path: Path) -> None:
    with running(Home(tmp_path)) as run:
        nest(run.folder, 1100)
    assert not run.folder.exists()


def test_what_a_run_wrote_is_told_at_any_depth(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, 1100)
    found = changes(top)
    told = dict(found)
    assert remove(top)  # what tidies up after tests could not
    assert not found.cut
    assert list(leaves(told, ())) == ["/a" * 1100 + "/file"]


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "in" / "up").symlink_to("../..")
    os.mkfifo(top / "fifo")
    assert {path for path, _ in Walk(top)} == {"/fifo", "/in", "/in/up", "/link"}
    assert remove(top)
    link = tmp_path / "link"
    link.symlink_to(outside)
    assert remove(link)
    assert (outside / "precious").read_text() == "x"
    assert list(Walk(tmp_path / "none")) == []
    assert remove(tmp_path / "none")
    assert remove(outside / "precious")


def test_a_large_folder_goes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(below, "BATCH", 7)
    top = tmp_path / "top"
    for n in range(100):
        (top / f"d{n}" / "in").mkdir(parents=True)
        (top / f"f{n}").write_text("x")
    walk = Walk(top, Bounds(entries=50))
    assert len(list(walk)) == 50
    assert walk.cut
    assert remove(top)


def test_what_will_not_go_stays_and_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(below, "BATCH", 2)
    top = tmp_path / "top"
    for n in range(9):
        (top / f"d{n}").mkdir(parents=True)
        (top / f"d{n}" / "file").write_text("x")
        (top / f"f{n}").write_text("x")
    real = os.unlink

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        if (
            name == "file"
            and os.stat("..", dir_fd=dir_fd)
            and "d4" in os.readlink(f"/proc/self/fd/{dir_fd}")
        ):
            raise OSError(16, "busy")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    assert not remove(top)
    monkeypatch.undo()
    assert sorted(path for path, _ in Walk(top)) == ["/d4", "/d4/file"]


MOUNTED = """
import os, subprocess, sys
from minify.below import Walk, remove
top, other = sys.argv[1:]
for kind in (["-t", "tmpfs", "none"], ["--bind", other]):
    subprocess.run(["mount", *kind, top + "/in/mounted"], check=True)
    open(top + "/in/mounted/precious", "w").close()
    print(sorted(p for p, _ in Walk(top)), remove(top), os.listdir(top + "/in/mounted"))
    subprocess.run(["umount", top + "/in/mounted"], check=True)
"""


@ROOT
def test_what_is_mounted_below_is_left_alone(tmp_path: Path) -> None:
    top, other = tmp_path / "top", tmp_path / "other"
    (top / "in" / "mounted").mkdir(parents=True)
    other.mkdir()
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", MOUNTED, str(top), str(other)],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    line = "['/in', '/in/mounted'] False ['precious']\n"
    assert done.stdout == line * 2, done.stderr
    assert (other / "precious").exists()


@ROOT
def test_flags_that_keep_a_file_are_taken_away(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    (top / "in" / "file").write_text("x")
    kept = subprocess.run(["chattr", "+i", str(top / "in" / "file"), str(top / "in")], check=False)
    if kept.returncode:
        pytest.skip("the file system has no such flags")
    assert remove(top)


@ROOT
def test_an_owner_without_rights_of_its_own(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "shut" / "in").mkdir(parents=True)
    (top / "shut" / "in" / "file").write_text("x")
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/"):
            path.chmod(path.stat().st_mode | 0o011)
    for path in (top / "shut" / "in" / "file", top / "shut" / "in", top / "shut", top):
        os.chown(path, 12345, 12345)
        path.chmod(0)
    os.chown(tmp_path, 12345, 12345)
    script = (
        "import os, sys; from minify.below import remove; os.setuid(12345); remove(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(top)], check=True, cwd=Path(__file__).parents[2]
    )
    assert not top.exists()


def test_a_folder_moved_away_ends_the_walk(tmp_path: Path) -> None:
    (tmp_path / "top" / "a" / "b").mkdir(parents=True)
    (tmp_path / "top" / "z").mkdir()
    walk, seen = Walk(tmp_path / "top"), []
    for path, _ in walk:
        seen.append(path)
        if path == "/a/b":
            (tmp_path / "top" / "a").rename(tmp_path / "elsewhere")
            (tmp_path / "elsewhere" / "b").rename(tmp_path / "b")
    assert walk.cut
    assert "/z" not in seen


@pytest.mark.parametrize("seed", range(6))
def test_any_tree_is_walked_as_the_library_does_and_removed(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    top = tmp_path / "top"
    top.mkdir()
    folders = [top]
    for n in range(120):
        path = draw.choice(folders) / draw.choice((f"{n}", f"\udcff{n}", f"n\n{n}", f"{n} \x1b"))
        kind = draw.random()
        if kind < 0.5:
            path.mkdir()
            folders.append(path)
        elif kind < 0.7:
            path.symlink_to(draw.choice(("/", "..", str(tmp_path), "none")))
        else:
            path.write_text("x")
    expected = sorted(str(p)[len(str(top)) :] for p in top.rglob("*"))
    assert sorted(path for path, _ in Walk(top)) == expected
    assert remove(top)
    assert list(tmp_path.iterdir()) == []


def test_a_deep_tree_of_an_image_is_listed_whole() -> None:
    paths = ["/" + "/".join(["d"] * n) for n in range(1, 1900)]
    entries = {p: Entry(p, Kind.DIR, 0o755) for p in ("/", *paths)}
    tree = Tree(entries, lambda _: (_ for _ in ()).throw(OSError))  # type: ignore[arg-type]
    assert whole(tree, "/", FolderBounds()) == tuple(paths)
