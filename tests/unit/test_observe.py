"""What is told of a run that could not be observed whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from minify import observe
from minify.engines import Loaded
from minify.model import (
    Access,
    Behaviour,
    Evidence,
    Image,
    ImageConfig,
    Outcome,
    Plan,
    Platform,
    Touch,
)
from minify.runs.trial import Stage, Trial
from tests.fake_engine import FakeEngine
from tests.kit import Exec, tree

REMOTE = "fanotify: the engine is remote"


def test_a_note_on_privileges_leaves_the_other_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tree({"/bin/su": Exec(b"", 0o4755)})
    touch = Touch("/bin/su", Access.EXEC, Outcome.OK)
    seen = Evidence("sha256:i", frozenset({touch}), notes=frozenset({REMOTE}))
    monkeypatch.setattr(observe, "run_trial", lambda *_: Trial(seen, Behaviour(ready=True)))
    image = Image("i", "sha256:i", Platform(), ImageConfig())
    stage = Stage(FakeEngine(local=False), None, tmp_path)
    found = observe.observe(stage, Loaded(image, files), Plan("sha256:i"))
    assert REMOTE in found.evidence.notes
    assert any("/bin/su ran without the privileges" in note for note in found.evidence.notes)
