"""One deadline for a whole run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from minify.cli.interrupts import ends
from minify.errors import TraceError


class _OutOfTime(KeyboardInterrupt):
    """Not an Exception, so that nothing that tolerates errors on the way swallows it."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TraceError when the enclosed work takes longer than `seconds`; 0 means no limit.

    The work is ended as by an interrupt, and cleans up as it does then.
    """
    if not seconds:
        yield
        return
    before = ends(signal.SIGALRM, _OutOfTime)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _OutOfTime as error:
        raise TraceError(
            f"the time budget of {seconds:g} s is used up: nothing was tagged, "
            "everything was cleaned up",
            hint="raise --time-budget, or look at what takes long without --quiet",
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
