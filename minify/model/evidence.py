"""What was seen: by the watchers from within, by the drives from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Access(StrEnum):
    """What a program did with a path."""

    OPEN = "open"
    EXEC = "exec"
    STAT = "stat"
    LIST = "list"
    LINK = "link"
    WRITE = "write"


class Outcome(StrEnum):
    """How it went. Absent is evidence too: for analysis and repair, never for keeping."""

    OK = "ok"
    ABSENT = "absent"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, order=True)
class Touch:
    """A path was used. `watcher` is the probe that saw it ("strace", "fanotify")."""

    path: str
    access: Access
    outcome: Outcome = Outcome.OK
    watcher: str = "strace"


@dataclass(frozen=True)
class Observation:
    """What a drive saw from outside.

    `port` is the port really used. `status`: HTTP status or exit status. `headers` are the chosen
    ones, lower-case. `body` holds at most the first 64 KiB; `body_sha256` covers all of it.
    """

    drive: str
    port: int = 0
    ok: bool = False
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body_sha256: str = ""
    body_size: int = 0
    body: bytes = b""
    error: str = ""
    protocol: str = ""


@dataclass(frozen=True)
class Behaviour:
    """All that the outside can see of one run; what verification compares.

    `exit_code` is None when the container was killed at the end because it ignores its stop signal.
    `log` holds lines of standard output and error. `written` are paths the run created or changed.
    """

    observations: tuple[Observation, ...] = ()
    ready: bool = False
    exit_code: int | None = None
    exited_alone: bool = False
    ports: tuple[int, ...] = ()
    health: str = ""
    log: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    seconds_ready: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """What one or more trials saw. Merging is a union, in any order.

    `lost` > 0 makes it incomplete. `notes` say in words what could not be observed here.
    """

    image: str
    touches: frozenset[Touch] = frozenset()
    lost: int = 0
    watchers: frozenset[str] = frozenset()
    argvs: frozenset[tuple[str, ...]] = frozenset()
    env: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    failed_drives: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether no event was lost."""
        return self.lost == 0

    def merge(self, other: Evidence) -> Evidence:
        """Unite with evidence of the same image."""
        return Evidence(
            self.image,
            self.touches | other.touches,
            self.lost + other.lost,
            self.watchers | other.watchers,
            self.argvs | other.argvs,
            self.env | other.env,
            self.notes | other.notes,
            self.failed_drives | other.failed_drives,
        )
