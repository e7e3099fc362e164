from __future__ import annotations

import signal
import threading

import pytest

from minify.cli.deadline import deadline
from minify.errors import Exit, TraceError


def test_it_ends_what_takes_too_long() -> None:
    words = r"time budget of 0\.05 s is used up"
    with pytest.raises(TraceError, match=words) as caught, deadline(0.05):
        signal.pause()
    assert caught.value.exit_code == Exit.TRACE


def test_what_tolerates_errors_does_not_tolerate_the_end() -> None:
    tolerated = []
    with pytest.raises(TraceError), deadline(0.05):
        try:
            signal.pause()
        except Exception as error:
            tolerated.append(error)
    assert tolerated == []


def test_it_ends_a_wait_for_a_thread() -> None:
    done = threading.Event()
    worker = threading.Thread(target=done.wait)
    worker.start()
    try:
        with pytest.raises(TraceError), deadline(0.05):
            worker.join()
    finally:
        done.set()
        worker.join()


@pytest.mark.parametrize("seconds", [0.0, 100.0])
def test_in_time_nothing_happens(seconds: float) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(seconds):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_other_errors_and_interrupts_pass() -> None:
    with pytest.raises(ValueError, match="mine"), deadline(100):
        raise ValueError("mine")
    with pytest.raises(KeyboardInterrupt) as caught, deadline(100):
        raise KeyboardInterrupt
    assert type(caught.value) is KeyboardInterrupt
