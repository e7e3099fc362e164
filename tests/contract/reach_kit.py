"""Minify a small program that was watched doing one thing, and have it do the others."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BASE = "debian:bookworm-slim"


def have_docker() -> bool:
    """Whether an engine answers and has the base image."""
    try:
        done = subprocess.run(["docker", "image", "inspect", BASE], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def minified(folder: Path, packages: Sequence[str], setup: str, command: str) -> Iterator[str]:
    """Build an image of a folder in /srv/app, minify it by one run, and yield its name."""
    # Slim images lack the folder, and openjdk's packages fail without it.
    install = "mkdir -p /usr/share/man/man1 && apt-get update && apt-get install -y "
    install += f"--no-install-recommends {' '.join(packages)}"
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nRUN {install if packages else 'true'}\nCOPY . /srv/app\nWORKDIR /srv/app\n"
        f'RUN {setup or "true"}\nENTRYPOINT {command}\nCMD ["first"]\n'
    )
    name = f"minify-reach-test-{uuid.uuid4().hex[:8]}"
    try:
        _run("docker", "build", "-q", "--network", "host", "-t", name, str(folder))
        _run(sys.executable, "-m", "minify", "build", f"{name}:latest")
        yield name
    finally:
        for tag in ("latest", "latest-min"):
            subprocess.run(["docker", "rmi", "-f", f"{name}:{tag}"], capture_output=True)


def answers(image: str, words: Sequence[str]) -> dict[str, tuple[int, str]]:
    """What an image's program says to each word: exit status and output."""
    found = {}
    for word in words:
        done = subprocess.run(
            ["docker", "run", "--rm", "--hostname", "h", image, word],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        found[word] = (done.returncode, done.stdout)
    return found


def compare(name: str, words: Sequence[str]) -> None:
    """Assert that the original answers each word well, and the minified image as it does."""
    expected = answers(f"{name}:latest", words)
    assert {word: status for word, (status, _) in expected.items()} == dict.fromkeys(words, 0)
    assert answers(f"{name}:latest-min", words) == expected


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
