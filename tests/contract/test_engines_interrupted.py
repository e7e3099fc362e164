"""An interrupt while an engine makes a container leaves none, whatever the moment."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from minify.cli.interrupts import Ended, ends
from minify.engines import Engine, Launch
from minify.errors import EngineError, MinifyError
from minify.model import Plan
from tests.contract.test_engines import ENGINES, open_engine
from tests.host_image import output_image

MOMENTS = [0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.25]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    try:
        made = open_engine(request.param, tmp_path)
    except MinifyError as error:
        pytest.skip(error.message)
    yield made
    made.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    before = ends(signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.suppress(Ended):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def left_here(folder: Path) -> list[object]:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = [line for line in mounts if f" {folder}/" in line]
    return [*(folder / "home" / "containers").glob("*"), *ours]


@pytest.mark.parametrize("seconds", MOMENTS)
def test_nothing_is_left(engine: Engine, tmp_path: Path, seconds: float) -> None:
    digest = engine.save(output_image(tmp_path))
    image = engine.load(digest).image
    with alarm(seconds):
        while True:
            with engine.create(Plan("test", argv=("sleep", "60")), image, Launch()) as container:
                container.start()
    engine.abort()
    with pytest.raises(EngineError), engine.create(Plan("test"), image, Launch()):
        pass
    engine.remove_image(digest)
    engine.close()
    assert left_here(tmp_path) == []
    if engine.name == "docker":
        again = open_engine("docker", tmp_path)
        assert not again.leftovers().get("contract-test")
        again.close()
