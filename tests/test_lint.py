"""Lint, format and types are tests: skipped where the tool is missing, fatal in CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tool(*argv: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *argv], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "No module named" in done.stderr and not os.environ.get("CI"):
        pytest.skip(f"{argv[0]} is not installed")
    assert done.returncode == 0, done.stdout + done.stderr


def test_lint() -> None:
    tool("ruff", "check", ".")


def test_format() -> None:
    tool("ruff", "format", "--check", ".")


def test_types() -> None:
    tool("mypy")
