"""An embedded engine for tests, with a home of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minify.engines.embedded import EmbeddedEngine, make
from minify.errors import MinifyError


@contextmanager
def embedded(
    tmp_path_factory: pytest.TempPathFactory, runtime: str = ""
) -> Iterator[EmbeddedEngine]:
    """Open one over a runtime (any, when empty), and remove it; skips where none works."""
    home = tmp_path_factory.mktemp("embedded")
    try:
        made = make(home, runtime)
    except MinifyError as error:
        pytest.skip(error.message)
    yield made
    made.close()
    shutil.rmtree(home, ignore_errors=True)
