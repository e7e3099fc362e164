"""When is a service up, and when is it quiet. Only this file sleeps; it waits for conditions.

Processes are looked at with psutil, sockets in /proc, from the host; where that is impossible (a
remote engine, no root) a TCP connect is the condition.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

TICK = 0.01  # seconds between two looks
TICKS = os.sysconf("SC_CLK_TCK")  # of processor time, in a second
QUIET = 0.15  # seconds without processor time that count as idle
_LISTEN = "0A"  # TCP_LISTEN as /proc/net/tcp writes it
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
    ports: set[int] = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{table}") as rows:
            for row in list(rows)[1:]:
                local, state = row.split()[1], row.split()[3]
                if state == _LISTEN:
                    ports.add(int(local.rpartition(":")[2], 16))
    return tuple(sorted(ports))


def cpu_seconds(pid: int) -> float:
    """Processor time of the container's processes, in seconds."""
    ticks = 0
    for one in processes(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _read(f"/proc/{one}/stat").rpartition(b")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / TICKS


def handles_signal(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5): SigCgt).

    PID 1 of a namespace never gets a signal it has no handler for (pid_namespaces(7)).
    """
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return True


def connects(address: tuple[str, int], timeout: float = 0.5) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection(address, timeout=timeout):
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
    ports: tuple[int, ...] = ()
    while True:
        # Look at the ports before asking whether it lives: a short-lived one is no service.
        ports = _ports(container, pid, wanted)
        if not container.running():
            return Ready(False, True, ports, time.monotonic() - began)
        if _is_up(container, wanted, ports, quiet):
            return Ready(True, False, ports, time.monotonic() - began)
        if time.monotonic() - began > wanted.timeout:
            missing = tuple(p for p in wanted.required if p not in ports)
            return Ready(False, False, ports, time.monotonic() - began, missing)
        time.sleep(TICK)


def _ports(container: Watched, pid: int | None, wanted: Wanted) -> tuple[int, ...]:
    if pid is not None:
        return listening(pid)
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
