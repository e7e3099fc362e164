"""A build under way: what it was given, what it has so far, and what goes on beside it."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from minify import __version__
from minify.bench import Bench
from minify.codec import dumps
from minify.documents import Shelf
from minify.engines import Loaded
from minify.errors import MinifyError
from minify.fleet import Fleet, load_fleet
from minify.foreign import check_runs
from minify.masking import masked, plan_to_keep, words_of
from minify.model import Behaviour, KeepSet, OutputImage, Plan, Reason
from minify.options import Options
from minify.outputs import Product
from minify.plan import machine_memory, make_plan
from minify.runs.kit import prepare_kit
from minify.runs.trial import Stage
from minify.workspace import remember_image

T = TypeVar("T")
THREADS = 6
WAIT = 1.0  # seconds for threads to end when a build is given up


@dataclass(frozen=True)
class Made:
    """An output image and the keep set it was packed from."""

    keep: KeepSet
    product: Product

    @property
    def output(self) -> OutputImage:
        """The image."""
        return self.product.output


@dataclass
class Building:
    """A build under way.

    `compressed`: the output will be wanted with compressed layers. `fleet`: what it shares with
    other images. `traced` is set when the traced run needs the machine no longer for itself;
    `watched` is how it behaved, None without one.
    """

    bench: Bench
    options: Options
    loaded: Loaded
    plan: Plan
    stage: Stage
    shelf: Shelf
    compressed: bool = False
    fleet: Fleet | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    saved: list[str] = field(default_factory=list)
    extra: list[tuple[str, Reason]] = field(default_factory=list)
    traced: threading.Event = field(default_factory=threading.Event)
    watched: Future[Behaviour | None] = field(default_factory=Future)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS))
    _spawned: list[Future[Any]] = field(default_factory=list)
    _writes: list[Future[Path]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What documents of runs depend on: the plan, and the version that made them."""
        return dumps(self.plan) + __version__

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts of the plan that are not written down."""
        return words_of(self.plan)

    @property
    def reusing(self) -> bool:
        """Whether documents of earlier runs may be taken."""
        return self.plan.repeatable and not self.options.fresh

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds that something takes to those of a stage."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Leave with nothing left: neither threads that wait, nor images without a name."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, MinifyError):
                error.message = masked(error.message, self.secrets)
            # Threads wait on containers: without them they end. One that reads a log of hundreds
            # of megabytes is not waited for.
            self.none_watched()
            self.bench.engine.abort()
            self.pool.shutdown(wait=False, cancel_futures=True)
            wait(self._spawned, timeout=WAIT)
            raise
        finally:
            for image_id in self.saved:  # those that got a name stay
                self.bench.engine.remove_image(image_id)
        self.pool.shutdown()

    def note_saved(self, image_id: str) -> None:
        """Note an image that has no name yet: it does not outlive us, whatever ends us."""
        remember_image(self.bench.run, image_id)
        self.saved.append(image_id)

    def none_watched(self) -> None:
        """Say that no run is traced (any more): nobody has to wait for it."""
        self.traced.set()
        if not self.watched.done():
            self.watched.set_result(None)

    def spawn(self, work: Callable[[], T]) -> Future[T]:
        """Do something beside us, with our progress listener."""
        begun = self.pool.submit(contextvars.copy_context().run, work)
        self._spawned.append(begun)
        return begun

    def put(self, name: str, noun: object, key: str = "") -> None:
        """Write a document while work goes on; `written` waits for it."""
        self.written()  # one of the same name must not come after this one
        self._writes.append(self.pool.submit(self.shelf.put, name, noun, key))

    def written(self) -> None:
        """Wait for the documents under way; raises what went wrong with one."""
        while self._writes:
            self._writes.pop().result()

    def check_runs(self) -> None:
        """Raise Unsupported for an image of an architecture that cannot be run here."""
        if self.bench.engine.local:
            check_runs(
                self.loaded.image.reference, self.loaded.image.platform, self.bench.run.folder
            )


def prepare(bench: Bench, options: Options) -> Building:
    """Load the image and plan; nothing runs yet."""
    began = time.monotonic()
    fleet = load_fleet(options.shared_with)
    loaded = bench.engine.load(options.image, options.platform)
    plan = make_plan(loaded, options, memory=machine_memory() if bench.engine.local else 0)
    shelf = Shelf(bench.home.work(loaded.image.digest))
    shelf.put("image", loaded.image)
    shelf.put("plan", plan_to_keep(plan))
    kit = None if options.lock else prepare_kit(bench.home.folder("kit"))
    stage = Stage(bench.engine, kit, bench.run.folder)
    it = Building(bench, options, loaded, plan, stage, shelf, fleet=fleet)
    it.seconds["load"] = time.monotonic() - began
    return it
