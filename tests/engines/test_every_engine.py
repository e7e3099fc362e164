"""The same everywhere: the contract suite and three samples on every engine the README names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import samples
from tests.engine_kit import docker, needs_docker
from tests.named_engines import DAEMONS, EMBEDDED, ROOT, SAMPLES, Place, outcome, place

pytestmark = [needs_docker, pytest.mark.engines, pytest.mark.docker, pytest.mark.root]
OUTCOMES: dict[str, tuple[str, frozenset[str], tuple[str, ...]]] = {}  # of the first engine


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples' images, built in the engine that answers anyway."""
    path = tmp_path_factory.mktemp("samples") / "samples.tar"
    names = [samples.build(name) for name in SAMPLES]
    done = subprocess.run(["docker", "save", "-o", path, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module", params=[*EMBEDDED, *DAEMONS])
def here(
    request: pytest.FixtureRequest, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """One engine after the other: each is stopped before the next one starts."""
    with place(request.param, archive, tmp_path_factory.mktemp("engine")) as found:
        yield found


def main_version() -> str:
    """The version of the engine that answers anyway, as in 20.10."""
    whole = docker("version", "--format", "{{.Server.Version}}")
    return ".".join(whole.split(".")[:2])


def test_the_contract(here: Place) -> None:
    if here.embedded or here.name == f"docker-{main_version()}":
        pytest.skip("it runs on this one anyway, in tests/contract")
    own = "docker" if here.name.startswith("docker") else "docker and not dockers"
    suite = str(ROOT / "tests" / "contract" / "test_engines.py")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-m", own, suite]
    done = here.run(*argv, timeout=400)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout.splitlines()[-1], done.stdout[-2000:]
    assert here.left() == []


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample(here: Place, sample: str, tmp_path: Path) -> None:
    """Built and proved; another question is answered alike; the output is that of every engine."""
    home, original, made = tmp_path / "home", here.original(sample), f"minify-sample-{sample}:made"
    settings = str(samples.SAMPLES / sample / "minify.yaml")
    output = [f"--output=oci:{tmp_path}/out", *([] if here.embedded else ["--tag", made])]
    done = here.minify(home, "build", original, "--config", settings, *output)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
    assert here.left() == []
    kept, digests = outcome(tmp_path)
    first, theirs, wanted = OUTCOMES.setdefault(sample, (here.name, kept, digests))
    assert kept == theirs, f"{here.name} against {first}: {sorted(kept ^ theirs)}"
    assert digests == wanted, f"{here.name} against {first}: manifest, configuration, layers"
    candidate = f"oci:{tmp_path}/out" if here.embedded else made
    done = here.minify(home, "verify", original, candidate, *SAMPLES[sample])
    assert done.returncode == 0, done.stdout + done.stderr
    assert here.left() == []
