"""A signal that ends the run is never lost, whatever the program is doing when it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minify.cli.interrupts import Ended, ends


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = ends(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def tell() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def wait() -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.01)


def test_it_is_raised_at_once() -> None:
    with pytest.raises(Ended):
        tell()


def test_it_waits_for_an_import_to_be_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\nLOADED = True\n"
    (tmp_path / "told_while_loading.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import told_while_loading  # type: ignore[import-not-found]

    assert told_while_loading.LOADED
    with pytest.raises(Ended):
        wait()
    del sys.modules["told_while_loading"]


class Closing:
    def __del__(self) -> None:
        tell()
        sum(range(10))  # the handler runs here, where an exception would be printed and forgotten


def test_it_waits_for_a_finalizer() -> None:
    it = Closing()
    del it
    with pytest.raises(Ended):
        wait()


def test_one_is_raised_after_the_other() -> None:
    for _ in range(3):
        with pytest.raises(Ended):
            tell()


STUCK = """
import signal, sys, threading, time
from minify.cli import interrupts
from minify.cli.interrupts import Ended, ends_run
ends_run(signal.SIGINT)
threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(int, 1)]).start()
try:
    print("ready", flush=True)
    time.sleep(60)
except Ended:
    print("cleaning", flush=True)
    time.sleep(60)
"""


def ended(argv: list[str], number: int, *, times: int = 1) -> tuple[int, float, str, str]:
    """Send a signal once a program said something; its status, seconds until its end, and words."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=env)  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    began = time.monotonic()
    for _ in range(times):
        child.send_signal(number)
        time.sleep(0.05)
    out, err = child.communicate(timeout=30)
    return child.returncode, time.monotonic() - began, out, err


@pytest.mark.parametrize("times", [1, 5])
def test_cleaning_up_that_hangs_and_threads_that_never_end_are_left(times: int) -> None:
    status, seconds, out, err = ended([sys.executable, "-c", STUCK], signal.SIGINT, times=times)
    assert (status, out) == (130, "cleaning\n")
    assert "next run" in err
    assert seconds < 2.5  # the machine is slow, the limit is 1.7


EARLY = """
import sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "minify.cli":
            print("importing", flush=True)
            import time
            time.sleep(20)
sys.meta_path.insert(0, Slow())
from minify.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_program_is_still_loading(number: int) -> None:
    status, seconds, _, err = ended([sys.executable, "-c", EARLY], number)
    assert (status, err) == (130, "interrupted: nothing was begun\n")
    assert seconds < 2


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import sys;"
        "sys.argv = ['minify', '--version']; from minify.__main__ import main\n"
        "try: main()\nfinally: assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
