from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from minify.errors import BuildError
from minify.workspace import (
    Home,
    Run,
    alive,
    dead_runs,
    forget_staging,
    remember_staging,
    remembered_staging,
    remove_run,
    running,
    this_boot,
    write_document,
)


def test_a_run_lives_as_long_as_its_process(tmp_path: Path) -> None:
    with running(Home(tmp_path)) as run:
        assert alive(run.token)
        assert this_boot(run.token)
        assert dead_runs(Home(tmp_path)) == ()
    assert not run.folder.exists()


@pytest.fixture
def token(tmp_path: Path) -> list[str]:
    with running(Home(tmp_path)) as run:
        return run.token.split("-")


def test_another_start_of_the_same_pid_is_another_process(token: list[str]) -> None:
    assert not alive("-".join([*token[:2], "1", *token[3:]]))


def test_a_pid_that_is_gone_is_dead(token: list[str]) -> None:
    assert not alive("-".join([token[0], "4194305", *token[2:]]))


def test_a_run_of_another_boot_is_over(token: list[str]) -> None:
    other = "-".join(["00000000", *token[1:]])
    assert not alive(other)
    assert not this_boot(other)


def test_a_run_in_another_pid_namespace_is_left_alone(token: list[str]) -> None:
    """Jobs of a CI system share an engine, and see nothing of each other's processes."""
    assert alive("-".join([token[0], "4194305", token[2], "4026530000", token[4]]))


@pytest.mark.parametrize("text", ["", "x", "a-b-c-d", "-".join("abcdef")])
def test_what_is_no_token_is_dead(text: str) -> None:
    assert not alive(text)


def test_folders_of_dead_runs_are_found(tmp_path: Path) -> None:
    gone = tmp_path / "runs" / f"00000000-{os.getpid()}-1-1-abc"
    gone.mkdir(parents=True)
    assert [run.folder for run in dead_runs(Home(tmp_path))] == [gone]


def test_a_document_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    before = path.stat().st_ino
    write_document(path, "new \udcff")
    assert path.read_bytes() == b"new \xff"
    assert path.stat().st_ino != before  # whoever reads the old one reads it to its end
    with pytest.raises(BuildError, match="Is a directory"):
        write_document(tmp_path, "x")
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_devices_pipes_and_links_are_written_to_and_stay(tmp_path: Path) -> None:
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    link.symlink_to("file")
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    for path in (pipe, link):  # not a device, which a defect would cost this machine
        before = path.lstat()
        write_document(path, "said")
        assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    reader.join(10)
    assert (heard, file.read_text()) == (["said"], "said")


def test_what_a_dead_run_was_making_elsewhere_goes(tmp_path: Path, token: list[str]) -> None:
    """Only what has the name of something half made, and only of a run that is gone."""
    home, out = Home(tmp_path / "home"), tmp_path / "out"
    out.mkdir()
    names = (".image.tar.0123456789ab", "image.tar", ".image.0123456789a", "..0123456789ab")
    dead = Run("-".join([token[0], "4194305", *token[2:]]), tmp_path)
    dead = replace(dead, folder=home.folder("runs", dead.token))
    for name in names:
        (out / name).mkdir()
        (out / name / "blob").write_text("x")
        remember_staging(dead, out / name)
    with running(home) as alive_run:
        remember_staging(alive_run, out / ".mine.0123456789ab")
        (out / ".mine.0123456789ab").write_text("x")
        assert [run.token for run in dead_runs(home)] == [dead.token]
        for run in dead_runs(home):
            remove_run(run)
        assert not dead.folder.exists()
        left = sorted(path.name for path in out.iterdir())
        assert left == [".image.0123456789a", ".mine.0123456789ab", "image.tar"]
        forget_staging(alive_run)
        assert list(remembered_staging(alive_run)) == []


def test_a_home_is_closed_to_others(tmp_path: Path) -> None:
    home = Home(tmp_path / "new" / "home")
    os.umask(os.umask(0o022))
    shelf = home.work("sha256:" + "0" * 64)
    write_document(shelf / "plan.json", "{}", private=True)
    with running(home) as run:
        for path in (home.path, shelf, shelf.parent, run.folder, run.folder.parent):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((shelf / "plan.json").stat().st_mode) == 0o600
    older = tmp_path / "older"
    (older / "work").mkdir(parents=True, mode=0o755)
    Home(older).folder("work")
    assert stat.S_IMODE((older / "work").stat().st_mode) == 0o700
    assert stat.S_IMODE(older.stat().st_mode) == 0o755, "what was there is somebody's choice"
