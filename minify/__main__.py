"""Run the command line, as `minify` or as `python -m minify`.

From the first instruction on a signal ends it quietly: importing the rest takes a while, and there
is nothing to clean up yet.
"""

import os
import signal
from types import FrameType


def _gone(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted: nothing was begun\n")
    os._exit(130)


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGTERM, _gone)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _gone)
    from minify.cli import main as run

    run()


if __name__ == "__main__":
    main()
