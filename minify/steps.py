"""Progress as events: the pipeline says what it does, a listener chooses how to show it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One thing that happened: a step began, counted, noted something, ended or failed."""

    kind: str  # begin | count | note | warn | end | fail
    step: str
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]
_listener: ContextVar[Listener] = ContextVar("listener", default=lambda _event: None)


class Step:
    """A step under way; `count` and `note` report from inside it."""

    def __init__(self, name: str, listener: Listener) -> None:
        self.name = name
        self._listener = listener

    def count(self, what: str, number: int) -> None:
        """Report how many of something there are so far."""
        self._listener(Event("count", self.name, details={"what": what, "number": number}))

    def note(self, text: str) -> None:
        """Report something worth a line to a curious reader."""
        self._listener(Event("note", self.name, details={"text": text}))

    def warn(self, text: str) -> None:
        """Report something every reader should see."""
        self._listener(Event("warn", self.name, details={"text": text}))


@contextlib.contextmanager
def step(name: str, **details: Any) -> Iterator[Step]:
    """Announce a step, time it in seconds on a monotonic clock, and announce its end."""
    listener = _listener.get()
    listener(Event("begin", name, details=details))
    began = time.monotonic()
    try:
        yield Step(name, listener)
    except BaseException:
        listener(Event("fail", name, time.monotonic() - began))
        raise
    listener(Event("end", name, time.monotonic() - began))


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the events of the enclosed work (and of `contextvars`-aware threads) to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
