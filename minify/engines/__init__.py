"""Where containers run. An engine loads images, creates containers and saves the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from minify.model import Image, Mount, OutputImage, Plan
from minify.tree import Tree

OUTPUT_LIMIT = 16 << 20  # bytes of a container's output that are kept


@dataclass(frozen=True)
class Loaded:
    """An image and its squashed tree. The tree's bytes stay readable while the engine is open.

    `base` gives the squashed tree of the bottom N layers alone; `manifest` is the digest of the
    image's manifest where its name or place tells it.
    """

    image: Image
    tree: Tree
    base: Callable[[int], Tree] | None = None
    manifest: str = ""


@dataclass(frozen=True)
class Launch:
    """How a trial changes a container's start: a prefix before its argv, environment, mounts.

    `prefix` empty: the container starts exactly as the image says.
    """

    prefix: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()


class Container(Protocol):
    """One container, from created to removed."""

    id: str

    def start(self) -> None:
        """Start it; returns when PID 1 exists (behind the gate, when the launch has one)."""
        ...

    @property
    def pid(self) -> int | None:
        """PID 1 as the host sees it, or None where the engine is remote or it has ended."""
        ...

    @property
    def root(self) -> Path | None:
        """The container's root directory as the host sees it, or None."""
        ...

    @property
    def beside(self) -> tuple[str, ...]:
        """An argv prefix that runs a host program in the container's network, or nothing."""
        ...

    def address(self, port: int) -> tuple[str, int]:
        """Where a port of the container is reached (from `beside`)."""
        ...

    def put(self, archive: bytes) -> None:
        """Unpack a tar archive at the container's root (it need not have started)."""
        ...

    def fetch(self, path: str, sink: Path) -> bool:
        """Copy a regular file out of the container; returns whether it was there."""
        ...

    def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, bytes]:
        """Run a command inside; returns exit status and output (stdout and stderr)."""
        ...

    def signal(self, name: str) -> None:
        """Send a signal to PID 1."""
        ...

    def running(self) -> bool:
        """Whether PID 1 is alive."""
        ...

    def exit_code(self) -> int | None:
        """The exit status once it has ended, else None."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end; returns whether it ended."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    def log(self) -> tuple[str, ...]:
        """Lines it wrote to standard output and error so far."""
        ...

    def health(self) -> str:
        """The engine's view of the healthcheck: healthy, unhealthy, starting, or empty."""
        ...

    def cut(self) -> tuple[str, ...]:
        """What of this run was refused or not kept so far, in words: limits, output, paths."""
        ...

    def written(self) -> tuple[str, ...]:
        """Paths the run created or changed, mount points left out, sorted."""
        ...

    def close(self) -> None:
        """Remove it with all it owns (anonymous volumes too). May be called twice."""
        ...


class Engine(Protocol):
    """The contract of an engine; one suite in tests/contract runs against every one.

    `local`: its containers are processes of this host, and host paths can be mounted into them.
    """

    name: str
    local: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be observed through it, in words."""
        ...

    def load(self, reference: str, platform: str = "") -> Loaded:
        """Find an image; raises EngineError when it is unknown or of another platform."""
        ...

    def find(self, reference: str) -> Image | None:
        """Look an image up without reading its tree; None when the engine has none of that name."""
        ...

    def layer_commands(self, image: Image) -> tuple[str, ...]:
        """What made each layer, bottom first; empty where that is not known."""
        ...

    def create(self, plan: Plan, image: Image, launch: Launch) -> AbstractContextManager[Container]:
        """Create a container for a plan, removed when the context is left."""
        ...

    def save(self, output: OutputImage, *, tag: str = "") -> str:
        """Make an output image known to the engine; returns its ID. Without a tag: by ID only."""
        ...

    def tag(self, image_id: str, reference: str) -> None:
        """Give a saved image a name."""
        ...

    def remove_image(self, image_id: str) -> None:
        """Remove an image that was saved and not tagged; silent when it is gone."""
        ...

    def abort(self) -> None:
        """Remove every container still there, so that threads waiting on one of them end."""
        ...

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        """Container IDs by the token of the run that made them."""
        ...

    def remove_container(self, container_id: str) -> None:
        """Remove a container a dead run left behind."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...
