"""Commands that are run inside a container while its service may still be starting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from minify.model import HEALTHCHECK, ExecDrive, Observation
from minify.runs import drive as played
from minify.runs.drive import Tools, play
from tests.fake_engine import FakeContainer, Script


@dataclass
class Slow(FakeContainer):
    """Answers with each status in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=list)
    argvs: list[tuple[str, ...]] = field(default_factory=list)

    def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, bytes]:
        self.argvs.append(tuple(argv))
        return (self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]), b""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(played, "PATIENCE", 0.3)
    monkeypatch.setattr(played, "CHECKED", 0.0)
    monkeypatch.setattr(played, "AGAIN", 0.01)


def run(drive: ExecDrive, *statuses: int) -> tuple[Observation, Slow]:
    container = Slow("c", Script(), [], statuses=list(statuses))
    number = iter(range(1000))
    tools = Tools({}, lambda: ("trace", str(next(number))))
    return next(play(container, [drive], tools)), container


def test_a_command_that_succeeds_at_last_succeeds() -> None:
    seen, container = run(ExecDrive("up?", ("check",)), 2, 1, 0)
    assert (seen.ok, seen.status) == (True, 0)
    # each run has a trace of its own
    assert container.argvs == [("trace", str(n), "check") for n in range(3)]


def test_a_command_that_never_succeeds_fails() -> None:
    seen, container = run(ExecDrive("up?", ("check",)), 2)
    assert (seen.ok, seen.error) == (False, "exit status 2")
    assert len(container.argvs) > 1


@pytest.mark.parametrize("status", [126, 127])
def test_a_command_that_is_not_there_is_asked_once(status: int) -> None:
    seen, container = run(ExecDrive("up?", ("check",)), status, 0)
    assert (seen.ok, len(container.argvs)) == (False, 1)


def test_what_is_expected_to_fail_may() -> None:
    seen, container = run(ExecDrive("down?", ("check",), expect_exit=3), 3, 0)
    assert (seen.ok, len(container.argvs)) == (True, 1)


def test_the_images_own_check_has_less_time() -> None:
    seen, container = run(ExecDrive(HEALTHCHECK, ("check",)), 1, 0)
    assert (seen.ok, len(container.argvs)) == (False, 1)
