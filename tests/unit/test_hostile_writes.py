"""What a container writes where minify reads: links, devices, endless lines, made-up calls."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from probes import watch_strace as probe

SCRIPT = Path(__file__).parents[2] / "probes" / "watch_strace.py"


def watch(source: Path, **more: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Run the probe as minify does."""
    request = json.dumps({"source": str(source), "root_pid": 0, **more}) + "\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT)],
        input=request, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("kind", ["link", "device", "folder", "socket", "none"])
def test_only_a_file_or_a_fifo_is_read(tmp_path: Path, kind: str) -> None:
    secret, place = tmp_path / "secret", tmp_path / "exec-1"
    secret.write_text("TOKEN-hunter2")
    if kind == "link":
        place.symlink_to(secret)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    status, answers, words = watch(place)
    assert status == 1
    assert answers == []
    assert "hunter2" not in words


def test_it_says_that_it_has_opened(tmp_path: Path) -> None:
    trace = tmp_path / "exec-1"
    trace.write_text('7 open("/etc/x", O_RDONLY) = 3\n')
    status, answers, _ = watch(trace, announce=True)
    assert status == 0
    assert answers[0] == {"opened": True}
    assert answers[1]["path"] == "/etc/x"


def lines_of(data: bytes) -> tuple[probe.Watcher, list[probe.Touch]]:
    found: list[probe.Touch] = []
    watcher = probe.Watcher(found.append)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        with open(writer, "wb") as out:
            out.write(data)
        os._exit(0)
    os.close(writer)
    probe.read_lines(reader, watcher, lambda: None)
    os.close(reader)
    os.wait()
    return watcher, found


def test_an_endless_line_is_a_loss_and_no_memory() -> None:
    good = b'7 open("/a", O_RDONLY) = 3\n', b'7 open("/b", O_RDONLY) = 3\n'
    watcher, found = lines_of(good[0] + b"a" * (40 << 20) + b"\n" + good[1])
    assert {t[0] for t in found} == {b"/a", b"/b"}
    assert watcher.lost >= 1


def test_an_endless_line_without_an_end(capsys: pytest.CaptureFixture[str]) -> None:
    watcher, _ = lines_of(b"7 open(" + b'"' * (3 << 20))
    assert watcher.lost == 1
    assert capsys.readouterr().err.count("events lost") == 1


def test_made_up_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TOUCHES", 1000)
    found: list[probe.Touch] = []
    watcher = probe.Watcher(found.append)
    watcher.feed(b'7 open("/x/%d", O_RDONLY) = 3' % n for n in range(5000))
    assert len(found) == 1000
    assert watcher.lost == 1
    large = probe.Watcher(found.append)
    monkeypatch.setattr(probe, "TOUCHED", 10_000)
    large = probe.Watcher(found.append)
    large.feed(b'7 open("/%s/%d", O_RDONLY) = 3' % (b"p" * 990, n) for n in range(50))
    assert len(found) == 1010
    assert large.lost == 1


def test_made_up_processes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROCESSES", 100)
    watcher = probe.Watcher(lambda _: None)
    watcher.feed(b'%d open("x", O_RDONLY) = 3' % n for n in range(1000))
    watcher.feed(b'%d open("y", <unfinished ...>' % n for n in range(1000))
    watcher.feed(b"%d clone(x <unfinished ...>" % n for n in range(1000))
    assert max(len(watcher._processes), len(watcher._unfinished), len(watcher._pending)) <= 100
    assert watcher.lost > 0


@pytest.mark.parametrize(
    "piece", [b'\\"', b"/*", b"9<", b"9<\\", b")", b") =", b" ", b"(", b'"', b'sun_path=\\"', b"a"]
)
def test_a_line_costs_time_by_its_length(piece: bytes) -> None:
    """Time for four times the length is far below sixteen times the time."""

    def seconds(size: int) -> float:
        best = 9.0
        for start in (b'1 open("', b"1 open(", b"1 connect(3, "):
            line = start + piece * (size // len(piece))
            began = time.process_time()
            probe.Watcher(lambda _: None).feed([line, line + b") = 3"])
            best = min(best, time.process_time() - began)
        return best

    assert seconds(64_000) <= 8 * seconds(16_000) + 0.05


@pytest.mark.parametrize("seed", range(8))
def test_any_bytes_end_in_an_answer(seed: int) -> None:
    draw = random.Random(seed)
    pieces = [b"1 ", b"openat(", b"AT_FDCWD<", b'"', b"\\", b"\0", b"\x1b[2J", b") = 3", b"\n",
              b"-1 E", b"<unfinished ...>", b"<... open resumed>", b"+++ exited", b"execve(",
              b"+++ superseded by execve in pid ", b"clone(", b"/proc/self/root", b"9" * 30, b"?",
              b"x" * 300]  # fmt: skip
    data = b"".join(draw.choice(pieces) for _ in range(3000))
    out = io.BytesIO()
    watcher = probe.Watcher(lambda t: out.write(probe.answer(t).encode("utf-8", "surrogateescape")))
    lines = data.split(b"\n")
    watcher.feed(lines[:-1])
    watcher.end(lines[-1])
    for line in out.getvalue().splitlines():
        json.loads(line)
