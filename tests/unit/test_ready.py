"""Processes of a container as the host sees them, and what they use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from minify import ready


@pytest.fixture
def family() -> subprocess.Popen[bytes]:
    """A process with a child and a grandchild started by a thread."""
    code = (
        "import subprocess, sys, threading\n"
        'inner = \'import subprocess; subprocess.run(["sleep", "30"])\'\n'
        "t = threading.Thread(target=subprocess.run, args=([sys.executable, '-c', inner],))\n"
        "t.start(); print('up', flush=True); t.join()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()
    assert ready.wait_until(
        lambda: len(psutil.Process(child.pid).children(recursive=True)) == 2, 10
    )
    yield child  # type: ignore[misc]
    for one in psutil.Process(child.pid).children(recursive=True):
        one.kill()
    child.wait(10)


def test_finds_children_of_every_thread(family: subprocess.Popen[bytes]) -> None:
    below = psutil.Process(family.pid).children(recursive=True)
    assert sorted(ready.processes(family.pid)) == sorted([family.pid, *(p.pid for p in below)])


def test_asks_psutil_where_the_kernel_keeps_no_lists(
    family: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> bytes:
        raise FileNotFoundError(path)

    expected = sorted(ready.processes(family.pid))
    monkeypatch.setattr(ready, "_read", refuse)
    assert sorted(ready.processes(family.pid)) == expected and len(expected) == 3


def test_a_process_that_is_gone_has_nobody() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert ready.processes(child.pid) == []
    assert ready.cpu_seconds(child.pid) == 0.0


def test_counts_processor_time() -> None:
    before = ready.cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert ready.cpu_seconds(os.getpid()) >= before + 0.05


def test_written_paths_are_leaves(tmp_path: Path) -> None:
    from minify.engines.written import changes, leaves

    for folder in ("var/log", "etc", "mnt/in"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/log/a").write_text("x")
    (tmp_path / "mnt/in/b").write_text("x")
    found = [path for path, _ in changes(tmp_path)]
    assert set(found) == {"/var", "/var/log", "/var/log/a", "/etc", "/mnt", "/mnt/in", "/mnt/in/b"}
    assert list(leaves(found, ["/mnt"])) == ["/etc", "/var/log/a"]


def test_listeners_come_and_go() -> None:
    here = ready.Listeners(os.getpid())
    before = here.ports()
    with socket.socket() as one, socket.socket(socket.AF_INET6) as six:
        one.bind(("127.0.0.1", 0))
        six.bind(("::1", 0, 0, 0))
        assert here.ports() == before  # bound is not listening
        for sock in (one, six):
            sock.listen()
            assert sock.getsockname()[1] in here.ports()
    assert here.ports() == before


def test_a_change_that_the_count_hides_is_seen_a_little_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = ready.Listeners(os.getpid())
    monkeypatch.setattr(here, "_count", lambda: b"TCP: inuse 1")
    before = here.ports()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert here.ports() == before
        assert ready.wait_until(lambda: port in here.ports(), 5 * ready.STALE)


def test_without_a_count_every_look_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ready.Listeners(os.getpid())
    monkeypatch.setattr(here, "_count", lambda: None)
    here.ports()
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        assert one.getsockname()[1] in here.ports()


def test_a_signal_that_is_waited_for_is_handled() -> None:
    # as tini does with sigwait(3) and catatonit with signalfd(2), for a signal that is blocked
    code = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
        "print('up', flush=True); sys.stdin.readline(); signal.sigwait([signal.SIGTERM])"
    )
    argv = [sys.executable, "-c", code]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None and child.stdout.readline()
    assert ready.handles_signal(child.pid, signal.SIGTERM)
    assert ready.handles_signal(child.pid, signal.SIGINT)  # Python's own handler
    assert not ready.handles_signal(child.pid, signal.SIGHUP)
    child.stdin.close()
    assert ready.wait_until(lambda: ready._waits_for_signals(child.pid), 10)
    assert ready.handles_signal(child.pid, signal.SIGTERM)
    child.terminate()
    assert child.wait(10) == 0


@pytest.mark.parametrize(
    ("said", "stays", "up"),
    [(b"", True, True), (b"220 hello\r\n", False, True), (b"", False, False)],
)
def test_a_connection_that_ends_without_a_word_is_an_engines_proxy(
    said: bytes, stays: bool, up: bool
) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        near, _ = server.accept()
        near.sendall(said)
        if stays:
            held.append(near)
        else:
            near.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.connects(server.getsockname()) is up
    finally:
        thread.join()
        server.close()
        for one in held:
            one.close()
    assert not ready.connects(server_address_of_nobody())


def server_address_of_nobody() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: tuple[str, int] = server.getsockname()
        return address


def test_command_lines_of_what_runs() -> None:
    argv = ["sh", "-c", "sleep 30 & wait", "a name with blanks"]
    with subprocess.Popen(argv, start_new_session=True) as shell:
        try:
            assert ready.wait_until(lambda: len(ready.command_lines(shell.pid)) == 2, 5)
            assert ready.command_lines(shell.pid) == {tuple(argv), ("sleep", "30")}
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    assert ready.command_lines(shell.pid) == frozenset()
