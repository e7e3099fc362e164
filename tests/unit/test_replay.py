"""Benchmarks' replay: a difference counts when it is there twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import replay
from benchmarks.scenario import Scenario, Step

SCENARIO = Scenario("web", 80, (Step("page", "http", "GET /"), Step("other", "http", "GET /o")))


def _answers(monkeypatch: pytest.MonkeyPatch, copy: Iterator[str]) -> list[bool]:
    """Which steps are the same when the copy answers `copy` to its page, play after play."""

    def play(image: str, _scenario: Scenario) -> list[tuple[str, dict[str, str]]]:
        page = "one" if image == "original" else next(copy)
        return [("page", {"body": page}), ("other", {"body": "x"}), ("stop", {"exit": "0"})]

    monkeypatch.setattr(replay, "play", play)
    return [result.same for result in replay.replay("original", "copy", [SCENARIO])]


def test_same_answers_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _answers(monkeypatch, iter(["one"])) == [True, True, True]


def test_a_difference_that_stays_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _answers(monkeypatch, iter(["two", "two"])) == [False, True, True]


def test_a_difference_that_does_not_come_again_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _answers(monkeypatch, iter(["two", "one"])) == [True, True, True]
    assert "web / page" in capsys.readouterr().err
