"""Ports that are open and silent: a server that is still being loaded is asked again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from minify.model import Observation
from minify.runs import silent
from minify.runs.silent import patiently, silent_ports
from tests.fake_engine import FakeContainer, Script

SILENT = Observation("GET /", 80, ok=True, protocol="tcp", error="not HTTP: timed out")
HTTP = Observation("GET /", 80, ok=True, status=200, protocol="http")


class Working(FakeContainer):
    """A container of which the processor time can be seen."""

    @property
    def pid(self) -> int | None:
        return 1


def play(
    monkeypatch: pytest.MonkeyPatch, first: list[Observation], later: list[Observation], used: float
) -> list[Observation]:
    """What comes of some answers and of asking again, with `used` seconds of work each time."""
    now = iter(range(1000))
    monkeypatch.setattr(silent.time, "monotonic", lambda: float(next(now)))
    work = iter(n * used for n in range(1000))
    monkeypatch.setattr(silent, "cpu_seconds", lambda pid: next(work))
    more: Iterator[Observation] = iter(later)
    return list(patiently(Working("c", Script(), []), first, lambda seen: next(more)))


def test_a_server_that_is_at_work_is_asked_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert play(monkeypatch, [SILENT], [SILENT, SILENT, HTTP], used=0.5) == [HTTP]


def test_a_server_that_only_waits_speaks_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(monkeypatch, [SILENT], [], used=0.001) == [SILENT]


def test_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(monkeypatch, [SILENT], [SILENT] * 100, used=0.5) == [SILENT]


def test_one_request_that_hangs_among_others_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = replace(SILENT, drive="GET /poll")
    assert play(monkeypatch, [hangs, HTTP], [], used=0.5) == [HTTP, hangs]


def test_without_a_pid_it_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    container = FakeContainer("c", Script(), [])
    assert list(patiently(container, [SILENT], lambda seen: HTTP)) == [SILENT]


def test_ports_that_never_said_anything() -> None:
    command = Observation("health", ok=True, protocol="exec")
    greets = replace(SILENT, port=25, body=b"220", body_size=3)
    assert silent_ports([SILENT, replace(SILENT, port=81), command]) == (80, 81)
    assert silent_ports([SILENT, HTTP]) == silent_ports([greets]) == silent_ports([command]) == ()
