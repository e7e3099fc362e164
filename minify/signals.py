"""Signals by the names that engines take: STOPSIGNAL of an image, `docker kill --signal`."""

from __future__ import annotations

import re
import signal

# Numbers the engines were built with (glibc's on Linux); a Python linked to musl says 35.
RTMIN, RTMAX = 34, 64
HALF = 15  # RTMIN+15 is the last one counted from below, RTMAX-14 the first from above
NUMBER = re.compile(r"\+?0*([1-9][0-9]{0,1})", re.ASCII)


def _names() -> dict[str, int]:
    """Docker's table (moby/sys/signal): the kernel's names, and the real-time signals."""
    plain = {
        name.removeprefix("SIG"): int(number)
        for name, number in signal.Signals.__members__.items()
        if not name.startswith(("SIGRT", "SIG_"))
    }
    below = {f"RTMIN+{n}": RTMIN + n for n in range(1, HALF + 1)}
    above = {f"RTMAX-{n}": RTMAX - n for n in range(1, HALF)}
    return {**plain, "RTMIN": RTMIN, **below, **above, "RTMAX": RTMAX}


NAMES = _names()


def signal_number(name: str) -> int | None:
    """Read a signal as Docker does: "SIGTERM", "TERM", "term", "15", "SIGRTMIN+3".

    Returns its number, None where there is no such signal.
    """
    if found := NUMBER.fullmatch(name):
        number = int(found[1])
        return number if number <= RTMAX else None
    return NAMES.get(name.upper().removeprefix("SIG"))
