"""scripts/with-engine and its library, with a stand-in for mmdebstrap; and what the README says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.named_engines import DAEMONS, ROOT, WITH_ENGINE, table

LIB = ROOT / "scripts" / "lib"
FAKE = """#!/bin/bash
echo "$*" >>"$CALLS"
[ -z "${SAYS:-}" ] || case "$*" in *trusted=yes*) ;; *) echo "$SAYS" >&2 && exit 100 ;; esac
source=${@: -1} folder=${@: -2:1}
mkdir -p "$folder/usr/sbin" && echo half >"$folder/content"
sleep "${TAKES:-0}"
echo whole >"$folder/content"
"""


def told(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([WITH_ENGINE, *argv], capture_output=True, text=True, timeout=30)


def test_the_readme_says_what_is_tested() -> None:
    text = (ROOT / "README.md").read_text()
    found = text.partition("<!-- engines:begin -->\n")[2].partition("<!-- engines:end -->")[0]
    assert found == table(), "python -m tests.named_engines prints the table"


def test_names_and_help() -> None:
    names = [line.split()[0] for line in told("--list").stdout.splitlines()]
    assert set(DAEMONS) <= set(names)
    helped = told("--help")
    assert helped.returncode == 0
    assert all(name in helped.stdout for name in ("--engine NAME", *names))


@pytest.mark.parametrize(
    "argv", [("--engine", "docker-0.1", "true"), ("--engine",), ("--engine", ""), ("--other", "x"),
             ("--engine", "docker-20.10")]
)  # fmt: skip
def test_a_command_line_that_is_wrong(argv: tuple[str, ...]) -> None:
    done = told(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize("path", [WITH_ENGINE, *map(str, sorted(LIB.iterdir()))])
def test_shellcheck_has_nothing_to_say(path: str) -> None:
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("no shellcheck")
    # SC2329: it does not see functions that traps call, or that are called by a name in a variable.
    argv = [checker, "--external-sources", "--exclude=SC2329", path]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def unpacking(folder: Path, **env: str) -> subprocess.Popen[str]:
    """Ask for a suite's files, with the stand-in; prints where they are."""
    program = folder / "bin" / "mmdebstrap"
    program.parent.mkdir(exist_ok=True)
    program.write_text(FAKE)
    program.chmod(0o755)
    script = f'set -euo pipefail; . "{LIB}/common.sh"; . "{LIB}/suite.sh"; suite_root docker forky'
    return subprocess.Popen(
        ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        env={
            **os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder), "CALLS": str(folder / "calls"), **env,
        },
    )  # fmt: skip


def calls(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_starts_at_once_share_one_unpacking(tmp_path: Path) -> None:
    children = [unpacking(tmp_path, TAKES="0.5") for _ in range(3)]
    places = {child.communicate(timeout=30)[0].strip() for child in children}
    (place,) = places
    assert Path(place, "content").read_text() == "whole\n"
    assert calls(tmp_path) == 1


def test_half_an_unpacking_is_never_taken(tmp_path: Path) -> None:
    killed = unpacking(tmp_path, TAKES="60")
    half = tmp_path / "minify-engines" / "new-forky-docker" / "content"
    deadline = time.monotonic() + 20
    while not half.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(killed.pid, 9)
    killed.communicate()
    assert half.exists()
    place = unpacking(tmp_path).communicate(timeout=30)[0].strip()
    assert Path(place, "content").read_text() == "whole\n"
    assert not half.exists() and calls(tmp_path) == 2


def test_what_no_key_vouches_for_is_taken_and_told(tmp_path: Path) -> None:
    child = unpacking(tmp_path, SAYS="W: GPG error: forky InRelease: NO_PUBKEY 0123456789ABCDEF")
    out, err = child.communicate(timeout=30)
    assert Path(out.strip(), "content").exists()
    assert "UNVERIFIED" in err
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert "trusted=yes" not in first and "trusted=yes" in second


def test_without_an_archive_nothing_is_taken(tmp_path: Path) -> None:
    child = unpacking(tmp_path, SAYS="E: Failed to fetch http://mirror: Connection refused")
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (1, "")
    assert "Connection refused" in err and "UNVERIFIED" not in err
    assert calls(tmp_path) == 1
