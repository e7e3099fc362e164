"""An engine without containers, for faults no real one makes on demand.

A `Script` says how every container behaves; `faults` maps a method's name to what it raises. Every
call is written down in `calls`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from minify.engines import Launch, Loaded
from minify.errors import EngineError
from minify.images.config import image_of_config, parse_config
from minify.model import Image, ImageConfig, Layer, OutputImage, Plan, Platform
from minify.tree import Tree
from tests.kit import tree as make_tree


@dataclass(frozen=True)
class Script:
    """How a container behaves: its log, how it ends by itself (None: it does not), and so on."""

    log: tuple[str, ...] = ()
    ends: int | None = None
    on_signal: int | None = 0
    executes: tuple[int, bytes] = (0, b"")
    written: tuple[str, ...] = ()
    health: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, BaseException] = field(default_factory=dict)


@dataclass
class FakeContainer:
    """Container that follows a script."""

    id: str
    script: Script
    calls: list[str]
    _exit: int | None = None
    _started: bool = False
    closed: bool = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.script.faults:
            raise self.script.faults[name]

    def start(self) -> None:
        self._call("start")
        self._started, self._exit = True, self.script.ends

    @property
    def pid(self) -> int | None:
        return None

    @property
    def root(self) -> Path | None:
        return None

    @property
    def beside(self) -> tuple[str, ...]:
        return ()

    def address(self, port: int) -> tuple[str, int]:
        return "127.0.0.1", port

    def put(self, archive: bytes) -> None:
        self._call("put")

    def fetch(self, path: str, sink: Path) -> bool:
        self._call("fetch")
        if path in self.script.files:
            sink.write_bytes(self.script.files[path])
        return path in self.script.files

    def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, bytes]:
        self._call("execute")
        return self.script.executes

    def signal(self, name: str) -> None:
        self._call("signal")
        if self._exit is None and self._started:
            self._exit = 137 if name == "SIGKILL" else self.script.on_signal

    def running(self) -> bool:
        return self._started and self._exit is None

    def exit_code(self) -> int | None:
        return self._exit

    def wait(self, timeout: float) -> bool:
        self._call("wait")
        return self._exit is not None

    def kill(self) -> None:
        self.signal("SIGKILL")

    def log(self) -> tuple[str, ...]:
        self._call("log")
        return self.script.log if self._started else ()

    def health(self) -> str:
        return self.script.health

    def cut(self) -> tuple[str, ...]:
        self._call("cut")
        return ()

    def written(self) -> tuple[str, ...]:
        self._call("written")
        return self.script.written

    def close(self) -> None:
        self.calls.append("close")
        self.closed = True
        self._exit = 137 if self._exit is None else self._exit


@dataclass
class FakeEngine:
    """Engine of images in memory; `scripts` are followed in turn, the last one for ever."""

    scripts: list[Script] = field(default_factory=lambda: [Script()])
    images: dict[str, Loaded] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    containers: list[FakeContainer] = field(default_factory=list)
    name: str = "fake"
    local: bool = False
    notes: tuple[str, ...] = ()

    def add(self, reference: str, files: Tree, config: ImageConfig | None = None) -> Image:
        """Put an image into the engine under a name."""
        digest = "sha256:" + hashlib.sha256(reference.encode()).hexdigest()
        image = Image(reference, digest, Platform(), config or ImageConfig())
        self.images[digest], self.names[reference] = Loaded(image, files), digest
        return image

    def load(self, reference: str, platform: str = "") -> Loaded:
        found = self.images.get(self.names.get(reference, reference))
        if found is None:
            raise EngineError(f"image not found: {reference}")
        if platform and platform != str(found.image.platform):
            raise EngineError(f"{reference} is for {found.image.platform}, not {platform}")
        return found

    def find(self, reference: str) -> Image | None:
        found = self.images.get(self.names.get(reference, reference))
        return found.image if found else None

    @contextmanager
    def create(self, plan: Plan, image: Image, launch: Launch) -> Iterator[FakeContainer]:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if "create" in script.faults:
            raise script.faults["create"]
        container = FakeContainer(f"fake-{len(self.containers)}", script, self.calls)
        self.containers.append(container)
        try:
            yield container
        finally:
            container.close()

    def save(self, output: OutputImage, *, tag: str = "") -> str:
        self.calls.append("save")
        config = output.config.encode()
        layers = [Layer(d) for d in parse_config(config)["rootfs"]["diff_ids"]]
        image = image_of_config(tag or output.digest, config, layers)
        self.images[image.digest] = Loaded(image, make_tree({}))
        if tag:
            self.names[tag] = image.digest
        return image.digest

    def tag(self, image_id: str, reference: str) -> None:
        self.calls.append("tag")
        self.names[reference] = image_id

    def layer_commands(self, image: Image) -> tuple[str, ...]:
        return ()

    def remove_image(self, image_id: str) -> None:
        if image_id not in self.names.values():
            self.images.pop(image_id, None)

    def abort(self) -> None:
        for container in self.containers:
            container.close()

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        return {}

    def remove_container(self, container_id: str) -> None:
        self.calls.append("remove_container")

    def close(self) -> None:
        self.abort()
