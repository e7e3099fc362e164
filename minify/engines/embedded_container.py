"""One container of the embedded engine, seen through its supervisor (probes/run_container.py)."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from minify.engines import OUTPUT_LIMIT
from minify.engines.limits import refused
from minify.engines.written import TOO_MANY, changes, leaves
from minify.errors import EngineError, TraceError, Unsupported
from minify.images.span import Span
from minify.probe import NOT_PERMITTED, Probe
from minify.run import TooSlow, program, start
from minify.signals import signal_number
from minify.steps import step
from minify.store.confined import Confined
from minify.store.extract import unpack

CREATE = 60.0  # seconds; a copy of a big root file system may be part of it
ANSWER = 30.0
FETCHED = 256 << 20  # bytes; a larger file is not copied out of a container
TOO_SLOW, NOT_EXECUTABLE, NOT_FOUND = 124, 126, 127  # as timeout(1) and sh(1) have them


@dataclass(frozen=True)
class Place:
    """Where a container's things are: its run folder, its runtime command, its mounts."""

    folder: Path
    runtime: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.folder / "output"


@dataclass
class EmbeddedContainer:
    """Container over one supervisor; create it with `created`."""

    id: str
    place: Place
    probe: Probe
    way: str = ""
    copied: int = 0
    _pid: int = 0
    _supervisor: int = 0
    _exit: int | None = None
    _gone: bool = False
    _started: bool = False
    _cut: bool = False
    _refused: tuple[str, ...] = ()
    _before: dict[str, int] = field(default_factory=dict)

    def create(self, request: dict[str, Any]) -> None:
        """Let the supervisor create it; raises TraceError, or Unsupported where it may not."""
        self.probe.request(request)
        answer = self.probe.answer(CREATE)
        if answer is None or "created" not in answer:
            self._refuse(answer)
            return
        self.way, self.copied = str(answer["way"]), int(answer["copied"])
        self._pid, self._supervisor = int(answer["created"]), int(answer["supervisor"])
        self._before = self._changes()
        if self.way != "overlay":
            self._say_the_cost()

    def _say_the_cost(self) -> None:
        with step("Starting a container") as under_way:
            if self.way == "copy":
                megabytes = self.copied / 1e6
                under_way.warn(f"overlayfs is refused here: copied {megabytes:.0f} MB for this run")
            else:
                under_way.note("the cache is on an overlay: what the run writes is kept in memory")

    def _refuse(self, answer: dict[str, Any] | None) -> None:
        why = str((answer or {}).get("error") or self.probe.complaint or "it ended early")
        if self.probe.status() == NOT_PERMITTED:
            raise Unsupported(
                f"cannot make a container here: {why}", hint="run as root; see: minify doctor"
            )
        raise TraceError(f"the container cannot be created: {why}")

    def start(self) -> None:
        """Start it; raises TraceError when its command can't be executed."""
        self._started = True
        self.probe.request({"do": "start"})
        answer = self.probe.answer(ANSWER)
        while answer is not None and "exit" in answer:  # it was as quick as that
            self._exit = int(answer["exit"])
            answer = self.probe.answer(ANSWER)
        if answer is None or not answer.get("started"):
            why = (answer or {}).get("error") or self.probe.complaint or "the supervisor ended"
            raise TraceError(f"the container does not start: {why}")

    @property
    def pid(self) -> int | None:
        """PID 1 as the host sees it."""
        return self._pid if self._pid and self.running() else None

    @property
    def root(self) -> Path | None:
        """The container's root directory as the host sees it."""
        return Path(f"/proc/{self.pid}/root") if self.pid else None

    @property
    def beside(self) -> tuple[str, ...]:
        """A prefix that enters its network; it stays there when PID 1 has ended."""
        return (program("nsenter"), f"--net=/proc/{self._supervisor}/ns/net", "--")

    def address(self, port: int) -> tuple[str, int]:
        """The loopback address of its own network."""
        return "127.0.0.1", port

    def put(self, archive: bytes) -> None:
        """Unpack a tar archive at the container's root (it need not have started)."""
        tar = self.place.folder / "put.tar"
        tar.write_bytes(archive)
        unpack(Span(tar, 0, len(archive)), f"/proc/{self._pid}/root/.")
        if not self._started:
            self._before = self._changes()

    def fetch(self, path: str, sink: Path) -> bool:
        """Copy a regular file out of the container; returns whether it was there."""
        rootfs = f"/proc/{self._supervisor}/root{self.place.folder}/rootfs"
        root = f"{self.root}/." if self.root else rootfs
        *parents, name = [p.encode("utf-8", "surrogateescape") for p in path.split("/") if p]
        try:
            with Confined(os.fsencode(root), make=False) as tree:
                folder, _ = tree.folder(tuple(parents))
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with open(os.open(name, flags, dir_fd=folder), "rb") as source:
                    found = os.fstat(source.fileno())
                    if not stat.S_ISREG(found.st_mode) or found.st_size > FETCHED:
                        return False
                    with sink.open("wb") as copy:
                        shutil.copyfileobj(source, copy)
            return True
        except (OSError, EngineError):
            return False

    def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, bytes]:
        """Run a command inside; exit status 124 says it was too slow (as timeout(1))."""
        name = f"exec-{secrets.token_hex(4)}"
        words, process = self.place.folder / f"{name}.log", self.place.folder / f"{name}.json"
        # Named whole: left to themselves, not all runtimes take the container's user and folder.
        config = json.loads((self.place.folder / "config.json").read_text(encoding="utf-8"))
        process.touch(mode=0o600)
        process.write_text(json.dumps({**config["process"], "args": list(argv)}), encoding="utf-8")
        # The specification names no network (embedded_spec): of itself runc would stay in ours.
        enter = (program("nsenter"), "-t", str(self._supervisor), "-m", "-p", "-n", "--")
        runtime = (*self.place.runtime, "--log", str(words), "exec", "--process", str(process))
        with start([*enter, *runtime, self.id]) as child:
            try:
                out, err = child.communicate(timeout=timeout)
            except TooSlow:
                return TOO_SLOW, b""
        complaint = words.read_text(errors="replace") if words.exists() else ""
        if child.returncode and complaint:
            return self._not_executed(argv, complaint)
        return child.returncode, out + err

    def _not_executed(self, argv: Sequence[str], complaint: str) -> tuple[int, bytes]:
        if not self.running():
            raise TraceError(f"cannot run in the container, it has ended: {shlex.join(argv)}")
        # The shell's two statuses, as Docker gives them.
        missing = "not found" in complaint or "no such file" in complaint.lower()
        return (NOT_FOUND if missing else NOT_EXECUTABLE), complaint.encode()

    def signal(self, name: str) -> None:
        """Send a signal to PID 1; raises EngineError for a name there is none of."""
        number = signal_number(name)
        if number is None:
            raise EngineError(f"no such signal: {name!r}")
        self.probe.request({"do": "signal", "number": number})

    def running(self) -> bool:
        """Whether PID 1 is alive."""
        self._listen(0)
        return bool(self._pid) and self._exit is None and not self._gone

    def exit_code(self) -> int | None:
        """The exit status once it has ended; 128 + N after signal N."""
        self._listen(0)
        return self._exit

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end."""
        self._listen(timeout)
        return self._exit is not None or self._gone

    def _listen(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while self._exit is None and not self._gone:
            if not self._take(end - time.monotonic()):
                return

    def _take(self, timeout: float) -> bool:
        """Take one answer of the supervisor; returns whether there was one (0: do not wait)."""
        try:
            answer = self.probe.answers.get(block=timeout > 0, timeout=max(timeout, 0.0) or None)
        except Empty:
            return False
        if answer is None:
            self._gone = True
        elif "exit" in answer:
            self._exit = int(answer["exit"])
        return True

    def kill(self) -> None:
        """End it at once."""
        self.signal("SIGKILL")

    def log(self) -> tuple[str, ...]:
        """Lines it wrote so far."""
        try:
            return tuple(self.place.log.read_text(errors="replace").splitlines())
        except OSError:
            return ()

    def health(self) -> str:
        """Always empty: the trial runs the health check as a drive."""
        return ""

    def cut(self) -> tuple[str, ...]:
        """What of this run was refused or not kept so far."""
        if (pid := self.pid) is not None:
            self._refused = refused(pid) or self._refused
        words = list(self._refused)
        try:
            if self.place.log.stat().st_size >= OUTPUT_LIMIT:
                words.append(f"it wrote more than {OUTPUT_LIMIT >> 20} MiB, the rest was not kept")
        except OSError:
            pass
        return (*words, *([TOO_MANY] if self._cut else ()))

    def written(self) -> tuple[str, ...]:
        """Paths the run created, changed or removed, without directories on the way."""
        now = self._changes()
        gone = self._before.keys() - now.keys()
        changed = {*gone, *(p for p, when in now.items() if self._before.get(p) != when)}
        return tuple(leaves(changed, self.place.ignored))

    def _changes(self) -> dict[str, int]:
        """Paths in the overlay's upper directory, or in the whole copy, with their ctime."""
        if not self._supervisor:
            return {}
        # Through the supervisor: what it has mounted is nowhere else.
        name = "rootfs" if self.way == "copy" else "writable/upper"
        found = changes(Path(f"/proc/{self._supervisor}/root{self.place.folder}/{name}"))
        told = dict(found)
        self._cut = self._cut or found.cut
        return told

    def close(self) -> None:
        """End it with everything it has; may be called twice."""
        self.probe.finish()
        end = time.monotonic() + ANSWER
        while not self._gone and time.monotonic() < end:
            self._take(end - time.monotonic())
