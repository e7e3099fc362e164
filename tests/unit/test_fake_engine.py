"""The fake engine keeps the contract, and fails where it is told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify.engines import Container, Engine, Launch
from minify.errors import EngineError, TraceError
from minify.model import Plan
from tests.fake_engine import FakeEngine, Script
from tests.host_image import output_image
from tests.kit import tree


def test_it_is_an_engine() -> None:
    fake = FakeEngine([Script(log=("up",), on_signal=3, written=("/x",))])
    engine: Engine = fake
    image = fake.add("app", tree({"/bin/app": "x"}))
    assert engine.load("app").tree.read("/bin/app") == b"x"
    assert engine.find(image.digest) == image
    with engine.create(Plan("app"), image, Launch()) as container:
        it: Container = container
        assert not it.running() and it.log() == ()
        it.start()
        assert it.running() and not it.wait(0) and it.log() == ("up",)
        it.signal("SIGTERM")
        assert (it.wait(0), it.exit_code(), it.running()) == (True, 3, False)
    assert fake.containers[0].closed
    assert fake.calls == ["log", "start", "wait", "log", "signal", "wait", "close"]


def test_faults_and_scripts_in_turn() -> None:
    fake = FakeEngine(
        [Script(faults={"create": EngineError("full")}),
         Script(faults={"start": TraceError("bad")}), Script(ends=1)]
    )  # fmt: skip
    image = fake.add("app", tree({}))
    with pytest.raises(EngineError, match="full"), fake.create(Plan(""), image, Launch()):
        pass
    with pytest.raises(TraceError, match="bad"), fake.create(Plan(""), image, Launch()) as it:
        it.start()
    assert fake.containers[0].closed
    with fake.create(Plan(""), image, Launch()) as it:
        it.start()
        assert it.exit_code() == 1


def test_images_are_saved_named_and_removed(tmp_path: Path) -> None:
    fake = FakeEngine()
    digest = fake.save(output_image(tmp_path))
    fake.tag(digest, "app:1")
    fake.remove_image(digest)
    assert fake.load("app:1").image.digest == digest
    fake.names.clear()
    fake.remove_image(digest)
    assert fake.find(digest) is None
    with pytest.raises(EngineError):
        fake.load("app:1")
