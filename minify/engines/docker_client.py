"""The SDK's client, which leaves what it streams to the garbage collector: here it is closed.

A response that is collected with its socket gone before it complains on standard error, since
Python 3.13 for everybody to see ("Exception ignored in ... HTTPResponse"), in no order to rely on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import docker


class Client(docker.APIClient):
    """A client that knows the streams it has opened: each is closed at its end, or by `close`."""

    def __init__(self, **settings: Any) -> None:
        self._streams: list[Any] = []
        self._streams_lock = threading.Lock()
        self._mine = threading.local()
        super().__init__(**settings)

    def send(self, request: Any, **how: Any) -> Any:
        """Send a request, as the SDK does all of them; a stream is remembered."""
        answer = super().send(request, **how)
        if how.get("stream"):
            with self._streams_lock:
                # What was read to its end has gone back to the pool of connections by itself.
                self._streams = [s for s in self._streams if not s.raw.closed]
                self._streams.append(answer)
            getattr(self._mine, "opened", []).append(answer)
        return answer

    def attach(self, *args: Any, **how: Any) -> Any:
        """As the SDK's; the stream is closed at its end."""
        return self._ending(super().attach, *args, **how)

    def exec_start(self, *args: Any, **how: Any) -> Any:
        """As the SDK's; the stream is closed at its end."""
        return self._ending(super().exec_start, *args, **how)

    def _ending(self, call: Callable[..., Any], *args: Any, **how: Any) -> Any:
        opened: list[Any] = []
        self._mine.opened = opened
        try:
            found = call(*args, **how)
        finally:
            self._mine.opened = []
        if not how.get("stream"):
            self._end(*opened)
            return found
        return self._until_the_end(found, opened)

    def _until_the_end(self, chunks: Iterator[Any], opened: list[Any]) -> Iterator[Any]:
        try:
            yield from chunks
        finally:
            self._end(*opened)

    def let_go(self, handed_out: Any) -> None:
        """Close the stream a socket of `attach_socket` belongs to."""
        with self._streams_lock:
            found = [s for s in self._streams if handed_out in _ends(s)]
        self._end(*found)

    def _end(self, *answers: Any) -> None:
        with self._streams_lock:
            self._streams = [s for s in self._streams if all(s is not a for a in answers)]
        for answer in answers:
            # A socket that is gone already has nothing left to flush.
            with contextlib.suppress(OSError, ValueError):
                answer.close()

    def close(self) -> None:
        """Close every stream and the connections."""
        with self._streams_lock:
            left = list(self._streams)
        for answer in left:
            _hang_up(answer)
        self._end(*left)
        super().close()


def _ends(answer: Any) -> tuple[Any, ...]:
    """The file over the socket that a response is read from, and the socket; empty when closed."""
    raw = getattr(getattr(getattr(answer.raw, "_fp", None), "fp", None), "raw", None)
    return tuple(x for x in (raw, getattr(raw, "_sock", None)) if x is not None)


def _hang_up(answer: Any) -> None:
    """Wake a thread that still reads a response: closing it would wait for that thread."""
    for end in _ends(answer):
        if isinstance(end, socket.socket):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
