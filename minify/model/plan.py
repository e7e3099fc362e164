"""What a trial will do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

HEALTHCHECK = "healthcheck"  # the id of the drive that is the image's own health check


@dataclass(frozen=True)
class HttpDrive:
    """Send an HTTP request and look at the answer. `port` 0 means every exposed TCP port.

    `expect_status` empty: anything below 500 is good.
    """

    KIND: ClassVar[str] = "http"
    id: str
    method: str = "GET"
    path: str = "/"
    port: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    expect_status: tuple[int, ...] = ()
    expect_body: str = ""
    tls: bool = False
    timeout: float = 30.0


@dataclass(frozen=True)
class TcpDrive:
    """Connect, send some bytes, look at what comes back until it is quiet or closed."""

    KIND: ClassVar[str] = "tcp"
    id: str
    port: int
    send: bytes = b""
    expect: str = ""
    timeout: float = 10.0


@dataclass(frozen=True)
class ExecDrive:
    """Run a command inside the container."""

    KIND: ClassVar[str] = "exec"
    id: str
    argv: tuple[str, ...]
    expect_exit: int = 0
    timeout: float = 60.0


@dataclass(frozen=True)
class SignalDrive:
    """Send a signal to PID 1 and wait until the service is ready again."""

    KIND: ClassVar[str] = "signal"
    id: str
    signal: str


Drive = HttpDrive | TcpDrive | ExecDrive | SignalDrive


class Watch(StrEnum):
    """How closely the original is watched.

    FULL: strace on every path system call, and fanotify. LIGHT: no strace stop on hot paths (open,
    stat); fanotify sees opens. ATTACHED: strace attaches from the host, so that set-uid programs
    keep their privileges. NONE: not watched, as when verifying.
    """

    FULL = "full"
    LIGHT = "light"
    ATTACHED = "attached"
    NONE = "none"


@dataclass(frozen=True)
class Mount:
    """A bind mount or a tmpfs (`source` empty) the user asked for."""

    target: str
    source: str = ""
    read_only: bool = True


@dataclass(frozen=True)
class Limits:
    """Bounds on one trial, all in seconds."""

    ready: float = 60.0
    stop: float = 10.0
    run: float = 600.0
    observe: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Everything a trial will do; printed by `--dry-run`.

    `argv` and `entrypoint` empty: as the image says. `env` overrides the image's.
    """

    image: str
    argv: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    hostname: str = "minify"
    mounts: tuple[Mount, ...] = ()
    drives: tuple[Drive, ...] = ()
    ready_log: str = ""
    ports: tuple[int, ...] = ()
    healthcheck: bool = True
    watch: Watch = Watch.FULL
    limits: Limits = field(default_factory=Limits)
    platform: str = ""
