"""What a trial will do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from minify.model.drives import Case, Drive, RunDrive
from minify.model.image import Healthcheck, ImageConfig

HEALTHCHECK = "healthcheck"  # the id of the drive that is the image's own health check


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
class Companion:
    """A container the traced one depends on. `condition` is compose's: service_started, ..."""

    name: str
    image: str
    argv: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    user: str = ""
    workdir: str = ""
    healthcheck: Healthcheck | None = None
    condition: str = "service_started"


@dataclass(frozen=True)
class Surroundings:
    """What a container is given around it. 0 and empty: no limit, the engine's default.

    `hosts`: NAME:ADDRESS lines for /etc/hosts; `memory` in bytes; `cpus` may be a fraction;
    `network`: an existing network of the engine. `companions` are brought up for each trial in a
    network of their own, in which the container is known as `alias`.
    """

    hosts: tuple[str, ...] = ()
    memory: int = 0
    cpus: float = 0.0
    pids: int = 0
    network: str = ""
    companions: tuple[Companion, ...] = ()
    alias: str = ""


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

    `argv` and `entrypoint` empty: as the image says. `env` overrides the image's. `cases` are
    runs of their own; `ends`: this is one of them, which is over when the program has ended.
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
    surroundings: Surroundings = Surroundings()
    cases: tuple[Case, ...] = ()
    stdin: bytes = b""
    ends: bool = False

    def command(self, config: ImageConfig) -> tuple[str, ...]:
        """What the container executes: an entrypoint of the plan's own drops the image's CMD."""
        entrypoint = self.entrypoint or config.entrypoint
        return (*entrypoint, *(self.argv or (() if self.entrypoint else config.cmd)))

    @property
    def repeatable(self) -> bool:
        """Whether nothing outside decides what a run does, so that a former run's result holds."""
        around = self.surroundings
        outside = any(isinstance(d, RunDrive) for d in self.drives) or around.companions
        return not (outside or around.network or any(m.source for m in self.mounts))
