"""Signals that end a run: an exception in the main thread, at a moment when it is not lost.

An exception out of a signal handler appears wherever the program happens to be. In a finalizer, or
in one of the import system's callbacks, Python prints and forgets it (sys.unraisablehook), and what
a library does to one in the middle of its own import is its affair. Those moments are waited out.
"""

from __future__ import annotations

import _thread  # takes no lock that the interrupted code could hold, as threading does
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

AGAIN = 0.02  # seconds until a signal that came at a bad moment is sent again
PATIENCE = 40  # times; then it is raised whatever goes on
LAST = 1.7  # seconds from the first signal until the process is gone, whatever it does
IMPORTING = "<frozen importlib._bootstrap>"
FINALIZER = "__del__"
INTERRUPTED = 130  # errors.Exit; nothing of ours is imported yet where this is needed first

Handler = Callable[[int, FrameType | None], Any]


class Ended(KeyboardInterrupt):
    """Told to end by a signal.

    Where KeyboardInterrupt itself passes through exec(), as in the making of a dataclass, Python
    ends with SIGINT at last, although it was caught and another exit status was asked for.
    """


def ends(number: int, error: type[BaseException] = Ended) -> Any:
    """Let a signal raise `error` in the main thread; returns the former handler (signal(2))."""
    return signal.signal(number, _handler(error))


def ends_run(number: int) -> Any:
    """Let a signal end the run: raised once, for cleaning up; then there is a limit to that.

    Threads that count or hash cannot be told to stop, and a lock may be held by a dead machine.
    What is not cleaned up by then, the next run clears (`minify gc` does, too).
    """
    before = signal.getsignal(number)
    raising = _handler(Ended)
    told = False

    def handle(signal_number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            _thread.start_new_thread(_at_last, ())
        if not _ENDING:
            try:
                raising(signal_number, frame)
            except Ended:
                _ENDING.append(signal_number)
                raise

    signal.signal(number, handle)
    return before


_ENDING: list[int] = []  # a second signal does not interrupt the cleaning up


def _at_last() -> None:
    time.sleep(LAST)
    leave(INTERRUPTED, "interrupted: what was not cleaned up in time, the next run clears")


def leave(status: int, last_words: str = "") -> None:
    """End the process at once, threads and all; without words where nobody reads them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if last_words:
        with contextlib.suppress(OSError):
            os.write(2, f"{last_words}\n".encode())
    os._exit(status)


def _handler(error: type[BaseException]) -> Handler:
    tries = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal tries
        tries += 1
        if tries <= PATIENCE and _bad_moment(frame):
            _thread.start_new_thread(_again, (number,))
            return
        tries = 0
        raise error

    return handle


def _bad_moment(frame: FrameType | None) -> bool:
    while frame is not None:
        code = frame.f_code
        if code.co_filename == IMPORTING or code.co_name == FINALIZER:
            return True
        frame = frame.f_back
    return False


def _again(number: int) -> None:
    time.sleep(AGAIN)
    os.kill(os.getpid(), number)
