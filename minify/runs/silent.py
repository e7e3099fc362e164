"""A port that is open and silent: is the service still at work, or does it speak no HTTP?

A server's first process often listens at once while its workers are still being loaded. Silence
proves nothing as long as the container uses the processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from minify.engines import Container
from minify.model import Observation
from minify.ready import cpu_seconds

SLOW = 60.0  # seconds for which a silent service that is at work is asked again
AT_WORK = 0.05  # share of one processor; a service that only waits uses next to nothing


def is_silent(seen: Observation) -> bool:
    """Whether a port took a request in HTTP and said nothing at all until time was over."""
    silent = seen.protocol == "tcp" and seen.error.endswith("timed out")
    return silent and not seen.body_size


def patiently(
    container: Container,
    answers: Iterable[Observation],
    ask: Callable[[Observation], Observation],
) -> Iterator[Observation]:
    """Hand answers on; who was silent while it was at work is asked again, after all the others."""
    work, speaking, late = _Work(container), set[int](), list[Observation]()
    for seen in answers:
        if is_silent(seen):
            late.append(seen)
            continue
        speaking.add(seen.port)
        yield seen
    until = time.monotonic() + SLOW
    for seen in late:
        while (
            is_silent(seen)
            and seen.port not in speaking  # one request of many that hangs is an answer
            and work.went_on()
            and time.monotonic() < until
        ):
            seen = ask(seen)
        if not is_silent(seen):
            speaking.add(seen.port)
        yield seen


def silent_ports(observations: Iterable[Observation]) -> tuple[int, ...]:
    """The ports that were asked, where nobody said anything on any of them."""
    asked = [o for o in observations if o.port]
    silent = asked and all(o.protocol == "tcp" and not o.body_size for o in asked)
    return tuple(sorted({o.port for o in asked})) if silent else ()


class _Work:
    """Tells whether a container was at work since it was asked last."""

    def __init__(self, container: Container) -> None:
        self._pid = container.pid
        self._last = self._look()

    def went_on(self) -> bool:
        """Whether it used the processor; False where that cannot be seen (a remote engine)."""
        before, self._last = self._last, self._look()
        used, passed = (now - then for now, then in zip(self._last, before, strict=True))
        return used > AT_WORK * passed

    def _look(self) -> tuple[float, float]:
        return (cpu_seconds(self._pid) if self._pid else 0.0), time.monotonic()
