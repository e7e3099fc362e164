"""The nouns. Frozen, without behaviour beyond answering questions about themselves.

Paths are absolute POSIX paths inside the container ("/usr/bin/env"), normalised, without a trailing
slash; names that are not UTF-8 are kept by surrogate escapes (PEP 383).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

# ---------------------------------------------------------------- the image


class Kind(StrEnum):
    """What an entry of a root file system is."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    CHAR = "char"
    BLOCK = "block"
    FIFO = "fifo"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the squashed tree of an image.

    `mode` holds the 12 permission bits; `mtime` is in whole seconds; `link` is the target text of a
    symlink. Names of one hard-linked file share the same `inode` (0: no other name).
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""
    xattrs: tuple[tuple[str, bytes], ...] = ()
    layer: int = 0
    inode: int = 0
    device: tuple[int, int] = (0, 0)

    @property
    def privileged(self) -> bool:
        """Whether executing it changes privileges: set-uid, set-gid or file capabilities."""
        special = bool(self.mode & (stat.S_ISUID | stat.S_ISGID))
        caps = any(name == "security.capability" for name, _ in self.xattrs)
        return self.kind is Kind.FILE and ((special and bool(self.mode & 0o111)) or caps)

    @property
    def executable(self) -> bool:
        """Whether it is a regular file that somebody may execute."""
        return self.kind is Kind.FILE and bool(self.mode & 0o111)


@dataclass(frozen=True)
class Platform:
    """What an image runs on, in OCI image-spec terms."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(p for p in (self.os, self.architecture, self.variant) if p)


@dataclass(frozen=True)
class Healthcheck:
    """The image's HEALTHCHECK: `test` as in Docker ("CMD", "CMD-SHELL" first); times in seconds."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    retries: int = 3


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about how it runs (OCI image-spec, config.md).

    `raw` is the whole configuration as canonical JSON text, so that nothing unknown is lost.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    healthcheck: Healthcheck | None = None
    raw: str = "{}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment as a mapping."""
        return dict(item.partition("=")[::2] for item in self.env)

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """The exposed TCP ports, ascending."""
        pairs = (port.partition("/")[::2] for port in self.ports)
        return tuple(sorted({int(n) for n, proto in pairs if proto in ("", "tcp") and n.isdigit()}))


@dataclass(frozen=True)
class Layer:
    """One layer: `digest` of the bytes as stored, `diff_id` of the uncompressed tar."""

    diff_id: str
    digest: str = ""
    size: int = 0
    created_by: str = ""


@dataclass(frozen=True)
class Image:
    """An image as it was found. `digest` (the image ID: digest of its config) is its identity."""

    reference: str
    digest: str
    platform: Platform
    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    size: int = 0


# ---------------------------------------------------------------- the plan


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


# ---------------------------------------------------------------- what was seen


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


# ---------------------------------------------------------------- what is kept


class KeepLevel(StrEnum):
    """How far beyond the touched files to keep."""

    EXACT = "exact"
    REACH = "reach"
    PACKAGE = "package"

    @property
    def rank(self) -> int:
        """The order of levels, narrowest first."""
        return list(KeepLevel).index(self)


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """Why a path is kept: the rule, and the path (or touch) because of which it fired."""

    rule: str
    because: str
    detail: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something a resolver or a policy could not analyse, or that a reader should know."""

    rule: str
    path: str
    message: str


@dataclass(frozen=True)
class KeepSet:
    """The paths to keep, each with at least one reason; `dropped` names policy drops."""

    image: str
    level: KeepLevel
    paths: Mapping[str, tuple[Reason, ...]]
    dropped: Mapping[str, Reason] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class OutputImage:
    """A packed image: the file that holds its layer, its identity, and its sizes in bytes."""

    digest: str
    diff_id: str
    config: str
    layer_file: str
    size: int
    files: int


# ---------------------------------------------------------------- the verdict


@dataclass(frozen=True, order=True)
class Difference:
    """Where the minified image behaves otherwise: which drive, which field, both values."""

    subject: str
    field: str
    original: str
    minified: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of A/A/B. `noise` lists what already differed between the two originals."""

    passed: bool
    differences: tuple[Difference, ...] = ()
    noise: tuple[str, ...] = ()
    compared: int = 0
    repaired: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    skipped: str = ""
