"""Signals by the names Docker takes, and what a trial does with one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.engines.embedded_container import EmbeddedContainer, Place
from minify.errors import EngineError
from minify.model import ImageConfig, Plan, Watch
from minify.runs.trial import Stage, run_trial
from minify.signals import signal_number
from tests.fake_engine import FakeContainer, FakeEngine, Script
from tests.kit import tree


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("term", 15),
        ("sigQuit", 3),
        ("15", 15),
        ("+15", 15),
        ("015", 15),
        ("64", 64),
        ("IOT", 6),
        ("SIGCLD", 17),
        ("STKFLT", 16),
        ("SIGRTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMIN+3", 37),
        ("rtmin+15", 49),
        ("RTMAX-14", 50),
        ("SIGRTMAX-1", 63),
        ("RTMAX", 64),
    ],
)
def test_signals_by_dockers_names(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name",
    [
        *("", "SIG", "SIGFOO", "SIGSIGTERM", "SIG_IGN", " TERM", "TERM+1", "KILL+0"),
        *("0", "-15", "65", "999", "²", "٣", "1_5", "15 ", "15\n", "0x0f"),
        *("RTMIN+x", "RTMIN+", "RTMIN+0", "RTMIN+16", "RTMIN-1", "RTMAX-15", "RTMIN+²"),
    ],
)
def test_signals_there_are_none_of(name: str) -> None:
    assert signal_number(name) is None


def test_the_embedded_engine_tells_of_a_signal_there_is_none_of(tmp_path: Path) -> None:
    container = EmbeddedContainer("x", Place(tmp_path, (), ()), None)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="no such signal: '²'"):
        container.signal("²")


@pytest.mark.parametrize(
    ("said", "sent"), [("SIGFOO", "SIGTERM"), ("²", "SIGTERM"), ("quit", "quit"), ("3", "3")]
)
def test_a_trial_stops_with_the_images_signal_and_tells_of_a_bad_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, sent: str
) -> None:
    signals: list[str] = []
    record = FakeContainer.signal

    def signal(container: FakeContainer, name: str) -> None:
        signals.append(name)
        record(container, name)

    monkeypatch.setattr(FakeContainer, "signal", signal)
    engine = FakeEngine([Script(log=("up",))])
    image = engine.add("app", tree({"/app": b""}), ImageConfig(stop_signal=said))
    plan = Plan(image.digest, watch=Watch.NONE, ready_log="up")
    trial = run_trial(Stage(engine, None, tmp_path), image, plan, "run")
    assert signals == [sent]
    told = [note for note in trial.evidence.notes if "STOPSIGNAL" in note]
    assert bool(told) == (said != sent)
    assert all(repr(said) in note for note in told)
