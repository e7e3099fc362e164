"""A signal that ends the run is never lost, whatever the program is doing when it comes."""

from __future__ import annotations

import os
import signal
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
