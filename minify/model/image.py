"""The image and what is in it."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass
from enum import StrEnum

# Where engines and shells look for commands when PATH says nothing.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORT = re.compile(r"[0-9]{1,5}")
PORT_MAX = 65535
SHELL = ("/bin/sh", "-c")  # runs shell-form commands where an image names no SHELL


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

    @property
    def lent(self) -> bool:
        """Whether it is a directory that somebody but root may write to.

        A group-writable one of group root too: made so for any user, who is in that group.
        """
        return self.kind is Kind.DIR and bool(self.uid or self.mode & 0o022)


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

    def command(self, shell: tuple[str, ...] = SHELL) -> tuple[str, ...]:
        """The argument vector that runs it; empty when the image says there is none."""
        kind, *words = self.test
        if kind == "CMD-SHELL":
            return (*shell, *words)
        return tuple(words) if kind == "CMD" else ()


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
    def shell(self) -> tuple[str, ...]:
        """What runs shell-form commands: the image's SHELL, else /bin/sh -c."""
        found = (json.loads(self.raw).get("config") or {}).get("Shell") or SHELL
        return (found,) if isinstance(found, str) else tuple(found)

    @property
    def health_command(self) -> tuple[str, ...]:
        """The argument vector of the health check; empty when there is none."""
        return self.healthcheck.command(self.shell) if self.healthcheck else ()

    @property
    def environment(self) -> dict[str, str]:
        """The environment as a mapping."""
        return dict(item.partition("=")[::2] for item in self.env)

    @property
    def tcp_ports(self) -> tuple[int, ...]:
        """The exposed TCP ports, ascending."""
        pairs = (port.partition("/")[::2] for port in self.ports)
        numbers = {int(n) for n, proto in pairs if proto in ("", "tcp") and PORT.fullmatch(n)}
        return tuple(sorted(n for n in numbers if 0 < n <= PORT_MAX))


@dataclass(frozen=True)
class Layer:
    """One layer: `digest` of the bytes as stored, `diff_id` of the uncompressed tar."""

    diff_id: str
    digest: str = ""
    size: int = 0
    created_by: str = ""


@dataclass(frozen=True)
class Image:
    """An image as it was found. `digest`, that of its configuration, is its identity everywhere.

    `engine_id` is what its engine calls it: the same, or the digest of its manifest or index.
    `size` is that of its opened layers in bytes.
    """

    reference: str
    digest: str
    platform: Platform
    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    size: int = 0
    engine_id: str = ""

    @property
    def handle(self) -> str:
        """What to call it when talking to its engine, or to people who will."""
        return self.engine_id or self.digest
