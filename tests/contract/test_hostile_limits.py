"""Images that want all of the machine: they get their share, and what they were refused is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minify.engines import OUTPUT_LIMIT, Launch, Loaded
from minify.engines.embedded import EmbeddedEngine
from minify.model import Plan, Surroundings, Watch
from minify.ready import wait_until
from minify.runs.trial import Stage, run_trial
from tests.embedded_kit import embedded
from tests.host_image import output_image

pytestmark = [
    pytest.mark.root,
    pytest.mark.runc,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
BOMB = "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done"
SMALL = Surroundings(pids=64, memory=256 << 20)


@pytest.fixture(scope="module", params=[n for n in ("runc", "crun") if shutil.which(n)])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedEngine]:
    with embedded(tmp_path_factory, request.param) as made:
        yield made


@pytest.fixture(scope="module")
def loaded(engine: EmbeddedEngine, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return engine.load(engine.save(output_image(tmp_path_factory.mktemp("image"))))


def script(text: str) -> Plan:
    return Plan("", argv=("/usr/bin/sh", "-c", text), surroundings=SMALL)


def test_a_fork_bomb_ends_at_its_limit(engine: EmbeddedEngine, loaded: Loaded) -> None:
    # The shell gives up at the first fork that is refused; a subshell does it, PID 1 stays.
    plan = script(f"({BOMB}) 2>/dev/null; sleep 60")
    with engine.create(plan, loaded.image, Launch()) as container:
        container.start()
        assert wait_until(lambda: bool(container.cut()), 20)
        assert "--pids" in container.cut()[0]
        container.kill()
        assert container.wait(20)
        assert "--pids" in container.cut()[0], "also when it has ended"


def test_memory_ends_at_its_limit(engine: EmbeddedEngine, loaded: Loaded) -> None:
    plan = script("(x=0123456789; while :; do x=$x$x; done); sleep 60")
    with engine.create(plan, loaded.image, Launch()) as container:
        container.start()
        assert wait_until(lambda: bool(container.cut()), 30)
        assert "--memory" in container.cut()[0]
        container.kill()
        assert container.wait(20)


def test_output_without_end_is_cut_and_told(
    engine: EmbeddedEngine, loaded: Loaded, tmp_path: Path
) -> None:
    line = "L" * 1000
    plan = script(f"i=0; while [ $i -lt 18000 ]; do echo {line}; i=$((i+1)); done")
    trial = run_trial(
        Stage(engine, None, tmp_path), loaded.image, replace(plan, watch=Watch.NONE), "noisy"
    )
    assert sum(len(one) + 1 for one in trial.behaviour.log) <= OUTPUT_LIMIT + 1
    assert not trial.evidence.complete
    assert any("was not kept" in note for note in trial.evidence.notes)


def test_an_ordinary_run_is_whole(engine: EmbeddedEngine, loaded: Loaded, tmp_path: Path) -> None:
    plan = replace(script("echo fine"), watch=Watch.NONE)
    trial = run_trial(Stage(engine, None, tmp_path), loaded.image, plan, "quiet")
    assert trial.evidence.complete
    assert trial.behaviour.log == ("fine",)
