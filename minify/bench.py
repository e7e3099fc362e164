"""Where a build works."""

from __future__ import annotations

from dataclasses import dataclass

from minify.engines import Engine
from minify.workspace import Home, Run


@dataclass(frozen=True)
class Bench:
    """Where a build works: the engine, minify's home, and this run's scratch folder."""

    engine: Engine
    home: Home
    run: Run
