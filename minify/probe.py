"""Start a program of `probes/` and talk to it: one JSON request, answers line by line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from minify.errors import TraceError
from minify.run import start

NOT_PERMITTED = 3


@dataclass
class Probe:
    """A probe under way; its answers are collected by a thread so that its pipe never fills."""

    name: str
    child: subprocess.Popen[bytes]
    answers: Queue[dict[str, Any] | None] = field(default_factory=Queue)
    words: list[str] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def request(self, request: Mapping[str, Any]) -> None:
        """Send the request line; a probe that already failed says so when it is read."""
        line = json.dumps(request) + "\n"
        with contextlib.suppress(BrokenPipeError, ValueError):
            assert self.child.stdin is not None
            self.child.stdin.write(line.encode("utf-8", "surrogateescape"))
            self.child.stdin.flush()

    def finish(self) -> None:
        """Tell it that there is nothing more to come."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            assert self.child.stdin is not None
            self.child.stdin.close()

    def answer(self, timeout: float) -> dict[str, Any] | None:
        """Take the next answer; None when it has ended. Raises TraceError when it is too slow."""
        try:
            return self.answers.get(timeout=timeout)
        except Empty as error:
            raise TraceError(f"probe {self.name} did not answer within {timeout:g} s") from error

    def rest(self, timeout: float) -> Iterator[dict[str, Any]]:
        """Take answers until it ends."""
        while (answer := self.answer(timeout)) is not None:
            yield answer

    @property
    def complaint(self) -> str:
        """The last line it wrote for people."""
        return self.words[-1] if self.words else ""

    def last_words(self) -> str:
        """Wait for its end (its answers have ended); returns the last line it wrote for people."""
        status = self.status()
        self.join()
        return self.complaint or f"it ended with exit status {status}"

    def join(self) -> None:
        """Wait until all it wrote was taken; it has ended."""
        for thread in self.threads:
            thread.join(timeout=2)

    def status(self) -> int:
        """Its exit status, once its answers have ended."""
        try:
            return self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return -1


@contextlib.contextmanager
def probing(name: str, beside: Sequence[str] = (), *, packages: bool = False) -> Iterator[Probe]:
    """Start a probe by name ("watch_strace"); it is ended when the context is left.

    `packages`: it may use installed packages, as some drives do.
    """
    path = probes_folder() / f"{name}.py"
    # -S skips site-packages, which cost a third of the start-up.
    argv = [*beside, sys.executable, "-I", *([] if packages else ["-S"]), str(path)]
    with start(argv) as child:
        probe = Probe(name, child)
        for take in (_collect, _listen):
            thread = threading.Thread(target=take, args=(probe,), daemon=True)
            probe.threads.append(thread)
            thread.start()
        try:
            yield probe
        finally:
            if child.poll() is None:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=2)
            if child.poll() is None:
                child.kill()
            probe.join()


def probes_folder() -> Path:
    """Where the programs are: installed as minify.probes, or beside the package in a checkout."""
    found = importlib.util.find_spec("minify.probes")
    if found is not None and found.submodule_search_locations:
        return Path(next(iter(found.submodule_search_locations)))
    return Path(__file__).resolve().parent.parent / "probes"


def _collect(probe: Probe) -> None:
    assert probe.child.stdout is not None
    with contextlib.suppress(ValueError, OSError):
        for line in probe.child.stdout:
            with contextlib.suppress(ValueError):
                probe.answers.put(json.loads(line))
    probe.answers.put(None)


def _listen(probe: Probe) -> None:
    assert probe.child.stderr is not None
    with contextlib.suppress(ValueError, OSError):
        for line in probe.child.stderr:
            probe.words.append(line.decode(errors="replace").rstrip())
