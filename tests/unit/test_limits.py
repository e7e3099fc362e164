"""Limits that containers get where none were asked for, and what was refused because of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.engines.limits import refused
from minify.model import Surroundings
from minify.plan import LEAST_MEMORY, PIDS, bounded, machine_memory


def test_limits_where_none_were_asked_for() -> None:
    found = bounded(Surroundings(), 10 << 30)
    assert found.pids == PIDS
    assert found.memory == 4 << 30
    assert bounded(Surroundings(), 100 << 20).memory == LEAST_MEMORY
    assert bounded(Surroundings(), 0) == Surroundings(pids=PIDS), "somebody else's machine"
    asked = Surroundings(memory=1 << 20, pids=7, cpus=0.5)
    assert bounded(asked, 10 << 30) == asked
    assert machine_memory() > 1 << 20


def groups(tmp_path: Path, text: str) -> tuple[Path, Path]:
    proc = tmp_path / "proc" / "7"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(text)
    return tmp_path / "cgroup", tmp_path / "proc"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_version_2_counts(tmp_path: Path) -> None:
    root, proc = groups(tmp_path, "0::/minify-1\n")
    put(root / "minify-1/pids.events", "max 12\n")
    put(root / "minify-1/memory.events", "low 0\nhigh 0\nmax 99\noom 1\noom_kill 2\n")
    words = refused(7, root, proc)
    assert len(words) == 2
    assert "12 times" in words[0] and "--pids" in words[0]
    assert words[1].startswith("2 of its processes") and "--memory" in words[1]


def test_what_version_1_counts(tmp_path: Path) -> None:
    text = "9:pids:/minify-1\n4:memory:/minify-1\n2:cpu,cpuacct:/other\n1:name=systemd:/\n"
    root, proc = groups(tmp_path, text)
    put(root / "pids/minify-1/pids.events", "max 3\n")
    put(
        root / "memory/minify-1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    )
    assert len(refused(7, root, proc)) == 2


@pytest.mark.parametrize("text", ["", "junk", "0::/../../etc\n", "9:pids:/none\n", "0::\n"])
def test_where_nothing_can_be_told(tmp_path: Path, text: str) -> None:
    root, proc = groups(tmp_path, text)
    put(root / "memory.events", "max 4\noom_kill 0\n")
    assert refused(7, root, proc) == ()
    assert refused(8, root, proc) == ()
