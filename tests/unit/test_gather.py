"""How many originals run beside the traced one, and what is taken from earlier builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minify import gather
from minify.building import Building
from minify.documents import Shelf
from minify.engines import Loaded
from minify.model import Behaviour, Image, ImageConfig, Plan, Platform
from minify.options import Options
from minify.runs.trial import Stage
from minify.verify import Originals
from tests.kit import tree

QUIET = Behaviour(ready=True, exit_code=0, ports=(80,), log=("up",))


def building(folder: Path, **options: Any) -> Building:
    image = Image("i", "sha256:i", Platform(), ImageConfig())
    loaded = Loaded(image, tree({"/a": b""}))
    chosen = Options(image="i", **options)
    stage = Stage(None, None, folder)  # type: ignore[arg-type]
    return Building(None, chosen, loaded, Plan("sha256:i"), stage, Shelf(folder))  # type: ignore[arg-type]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def run_original(_stage: Any, _image: Any, _plan: Any, name: str) -> Behaviour:
        names.append(name)
        return QUIET

    monkeypatch.setattr(gather, "run_original", run_original)
    return names


def test_the_traced_run_is_an_original_where_it_shows_no_noise(
    tmp_path: Path, runs: list[str]
) -> None:
    it = building(tmp_path)
    waiting = gather.originals(it)
    assert not runs  # the traced run has the machine for itself until it says so
    it.traced.set()
    it.watched.set_result(QUIET)
    assert waiting.result(10) == Originals(QUIET, QUIET)
    assert runs == ["original-1"]


@pytest.mark.parametrize(
    "noisy",
    [
        Behaviour(ready=True, exit_code=0, ports=(80,), log=("up", "a line more")),
        Behaviour(ready=True, exit_code=0, ports=(80,), log=("up",), written=("/run/x",)),
        Behaviour(ready=True, exit_code=143, ports=(80,), log=("up",)),
        None,
    ],
)
def test_noise_takes_a_second_original(
    tmp_path: Path, runs: list[str], noisy: Behaviour | None
) -> None:
    it = building(tmp_path)
    it.traced.set()
    it.watched.set_result(noisy)
    assert gather.originals(it).result(10) == Originals(QUIET, QUIET)
    assert runs == ["original-1", "original-2"]


def test_stored_originals_are_taken_unless_all_is_to_be_fresh(
    tmp_path: Path, runs: list[str]
) -> None:
    it = building(tmp_path)
    stored = Originals(QUIET, Behaviour(exit_code=1))
    it.shelf.put("originals", stored, key=it.key)
    assert gather.originals(it).result(10) == stored and not runs
    fresh = building(tmp_path, fresh=True)
    fresh.none_watched()
    assert gather.originals(fresh).result(10) != stored
    assert runs == ["original-1", "original-2"]


def test_a_failed_trace_lets_nobody_wait(
    tmp_path: Path, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("not ready")

    monkeypatch.setattr(gather, "observe", fail)
    monkeypatch.setattr(gather, "warm_up", lambda *_: None)
    it = building(tmp_path, fresh=True)
    waiting = gather.originals(it)
    with pytest.raises(RuntimeError, match="not ready"):
        gather.evidence(it)
    assert waiting.result(10) == Originals(QUIET, QUIET)
