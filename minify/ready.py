"""When is a service up, and when is it quiet. Only this file sleeps; it waits for conditions.

Processes are looked at with psutil, sockets in /proc, from the host; where that is impossible (a
remote engine, no root) a TCP connect is the condition.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

TICK = 0.01  # seconds between two looks
TICKS = os.sysconf("SC_CLK_TCK")  # of processor time, in a second
QUIET = 0.15  # seconds without processor time that count as idle
_LISTEN = b"0A"  # TCP_LISTEN as /proc/net/tcp writes it
MOST_COMMANDS = 100
STALE = 0.2  # seconds for which a list of ports is believed while their number is the same
HELD = 0.1  # seconds for which a connection is looked at: one that a service took stays open
SETTLED = 1.0  # seconds of idleness after which a container that never listens is taken as up


class Watched(Protocol):
    """The part of a container that readiness looks at."""

    @property
    def pid(self) -> int | None:
        """PID 1 as the host sees it."""
        ...

    def running(self) -> bool:
        """Whether PID 1 is alive."""
        ...

    def log(self) -> tuple[str, ...]:
        """Lines it wrote."""
        ...

    def address(self, port: int) -> tuple[str, int]:
        """Where a port is reached."""
        ...


@dataclass(frozen=True)
class Wanted:
    """What makes the service ready: every port in `required`, or one of `expected` and quiet."""

    required: tuple[int, ...] = ()
    expected: tuple[int, ...] = ()
    log: str = ""
    timeout: float = 60.0


@dataclass(frozen=True)
class Ready:
    """How it went: `up` with the ports that listen, `ended` by itself, or neither (timed out)."""

    up: bool
    ended: bool
    ports: tuple[int, ...]
    seconds: float
    missing: tuple[int, ...] = ()


def pause(seconds: float) -> None:
    """Let time pass; for bounded polling loops elsewhere."""
    time.sleep(seconds)


def wait_until(condition: Callable[[], bool], timeout: float, tick: float = TICK) -> bool:
    """Poll a condition up to `timeout` seconds; returns whether it came true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(tick)
    return True


def processes(pid: int) -> list[int]:
    """PID 1 of a container and everything below it, as the host sees them (proc(5): children).

    psutil finds children by reading every process of the machine, which is too slow to be asked a
    hundred times a second; it is asked where the kernel keeps no list of them.
    """
    found, todo = list[int](), [pid]
    while todo:
        at = todo.pop()
        try:
            lists = [
                f"/proc/{at}/task/{thread}/children" for thread in os.listdir(f"/proc/{at}/task")
            ]
            todo += [int(child) for one in lists for child in _read(one).split()]
        except (FileNotFoundError, ProcessLookupError):
            if os.path.exists(f"/proc/{at}/stat"):
                return _by_psutil(pid)
            continue
        found.append(at)
    return found


def _by_psutil(pid: int) -> list[int]:
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        return [pid, *(child.pid for child in first.children(recursive=True))]
    return []


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 16)
    finally:
        os.close(fd)


def listening(pid: int) -> tuple[int, ...]:
    """The TCP ports something listens on in a process's network namespace (proc(5), net/tcp).

    psutil reads the caller's namespace whatever the process, so it cannot tell a container's ports.
    """
    return Listeners(pid).ports()


class Listeners:
    """The ports that are listened on, asked again and again.

    To list them the kernel walks the sockets of the whole machine, which takes milliseconds. How
    many there are in the namespace (proc(5), net/sockstat) costs nothing and tells when to look.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looked = -STALE
        self._counts: bytes | None = None
        self._ports: tuple[int, ...] = ()

    def ports(self) -> tuple[int, ...]:
        """The ports now; of a change that the count does not show they are STALE seconds old."""
        counts, now = self._count(), time.monotonic()
        if counts is None or counts != self._counts or now - self._looked > STALE:
            self._counts, self._looked = counts, now
            self._ports = tuple(sorted(self._look()))
        return self._ports

    def _count(self) -> bytes | None:
        """The lines that count TCP sockets, or None where the kernel does not tell."""
        texts = b"".join(self._text(f"net/{name}") for name in ("sockstat", "sockstat6"))
        lines = [line for line in texts.splitlines() if line.startswith(b"TCP")]
        return b" ".join(b" ".join(line.split()[:3]) for line in lines) or None

    def _look(self) -> Iterator[int]:
        for table in ("tcp", "tcp6"):
            for row in self._text(f"net/{table}").splitlines()[1:]:
                local, state = row.split()[1], row.split()[3]
                if state == _LISTEN:
                    yield int(local.rpartition(b":")[2], 16)

    def _text(self, name: str) -> bytes:
        with contextlib.suppress(OSError), open(f"/proc/{self._pid}/{name}", "rb") as stream:
            return stream.read()
        return b""


def cpu_seconds(pid: int) -> float:
    """Processor time of the container's processes, in seconds."""
    ticks = 0
    for one in processes(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _read(f"/proc/{one}/stat").rpartition(b")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / TICKS


def command_lines(pid: int) -> frozenset[tuple[str, ...]]:
    """The command lines of the container's processes (proc(5), cmdline), the first MOST_COMMANDS.

    What an entrypoint script starts at last is told by nothing else.
    """
    found: set[tuple[str, ...]] = set()
    for one in processes(pid)[:MOST_COMMANDS]:
        with contextlib.suppress(OSError):
            text = _read(f"/proc/{one}/cmdline").rstrip(b"\0").decode("utf-8", "surrogateescape")
            found.add(tuple(text.split("\0")))
    return frozenset(found - {("",)})


def handles_signal(pid: int, number: int) -> bool:
    """Whether a process does anything about a signal (proc(5): SigCgt, SigBlk, wchan).

    PID 1 of a namespace never gets a signal it has no handler for (pid_namespaces(7)), except for
    a blocked one: inits as tini block signals and take them with signalfd(2) or sigwait(3). While
    it waits in sigwait the kernel does not show them as blocked, so any signal counts as awaited.
    """
    with contextlib.suppress(OSError, ValueError):
        lines = _read(f"/proc/{pid}/status").splitlines()
        masks = (int(x.split()[1], 16) for x in lines if x.startswith((b"SigCgt:", b"SigBlk:")))
        return any(mask >> (number - 1) & 1 for mask in masks) or _waits_for_signals(pid)
    return True


def _waits_for_signals(pid: int) -> bool:
    tasks = f"/proc/{pid}/task"
    return any(b"sigtimedwait" in _read(f"{tasks}/{one}/wchan") for one in os.listdir(tasks))


def connects(address: tuple[str, int], timeout: float = 0.5) -> bool:
    """Whether a TCP connection is accepted, and not closed at once without a word.

    An engine's proxy accepts on a published port from the start, and hangs up while nothing
    listens behind it (docker-proxy).
    """
    began = time.monotonic()
    try:
        connection = socket.create_connection(address, timeout=timeout)
    except OSError:
        return False
    with connection:
        # The end takes as long to reach us as the beginning took.
        connection.settimeout(HELD + 2 * (time.monotonic() - began))
        try:
            return bool(connection.recv(65536))  # a greeting left unread would be a reset
        except TimeoutError:
            return True
        except OSError:
            return False


class _Quiet:
    """Tells whether the container has used no processor time for a while."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._last = (-1.0, time.monotonic())

    def seconds(self) -> float:
        """For how long it has been idle, in seconds."""
        now = time.monotonic()
        used = cpu_seconds(self._pid) if self._pid else 0.0
        if used != self._last[0]:
            self._last = (used, now)
        return now - self._last[1]


def wait_ready(container: Watched, wanted: Wanted) -> Ready:
    """Wait until the service is up, has ended, or time is over."""
    began = time.monotonic()
    pid = container.pid
    quiet = _Quiet(pid)
    listeners = Listeners(pid) if pid is not None else None
    while True:
        # Look at the ports before asking whether it lives: a short-lived one is no service.
        ports = listeners.ports() if listeners else _accepting(container, wanted)
        if not container.running():
            return Ready(False, True, ports, time.monotonic() - began)
        if _is_up(container, wanted, ports, quiet):
            return Ready(True, False, ports, time.monotonic() - began)
        if time.monotonic() - began > wanted.timeout:
            missing = tuple(p for p in wanted.required if p not in ports)
            return Ready(False, False, ports, time.monotonic() - began, missing)
        time.sleep(TICK)


def _accepting(container: Watched, wanted: Wanted) -> tuple[int, ...]:
    """Of the ports that are wanted, those that accept a connection."""
    candidates: Sequence[int] = sorted({*wanted.required, *wanted.expected})
    return tuple(p for p in candidates if connects(container.address(p)))


def _is_up(container: Watched, wanted: Wanted, ports: tuple[int, ...], quiet: _Quiet) -> bool:
    if wanted.log:
        return any(wanted.log in line for line in container.log())
    if any(p not in ports for p in wanted.required):
        return False
    idle = quiet.seconds()
    if wanted.expected:
        if all(p in ports for p in wanted.expected):
            return True
        # A wrong EXPOSE line is common: another port that listens will do once all is quiet.
        return idle > (QUIET if set(ports) & set(wanted.expected) else 2 * SETTLED) and bool(ports)
    if wanted.required:
        return True
    # Nothing is known of its ports: take the first listener once start-up work is over.
    return idle > (QUIET if ports else SETTLED)
