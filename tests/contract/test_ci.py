"""The CI step on a real engine: gates, reports, cache, context, time budget; and the templates."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from minify.cli import EPILOG
from minify.cli.build import build_command
from minify.config.read import schema
from minify.errors import Exit
from tests.engine_kit import BASE, SERVER, SERVICE, docker, image, inspect, minify, needs_docker

ROOT = Path(__file__).resolve().parents[2]
NAME, OUT = "minify-test-ci:1", "minify-test-ci:1-min"
engine = [needs_docker, pytest.mark.docker, pytest.mark.root]


def on_engine(test: Any) -> Any:
    for mark in engine:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with image(NAME, SERVICE, **{"app.pl": SERVER}) as name:
        yield name
        docker("rmi", "--force", OUT, check=False)


@pytest.fixture(scope="module")
def home(service: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where the service was minified once, so that its evidence is there."""
    folder = tmp_path_factory.mktemp("ci")
    done = minify("build", service, "--cache-dir", "cache", "--time-budget", "200", home=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def untagged(home: Path) -> Iterator[None]:
    docker("rmi", "--force", OUT, check=False)
    yield
    docker("rmi", "--force", OUT, check=False)


# --- gates ---


@on_engine
@pytest.mark.usefixtures("untagged")
def test_all_gates_are_told_and_nothing_is_tagged(home: Path) -> None:
    reports = [f"r.{suffix}" for suffix in ("json", "sarif", "xml", "md")]
    done = minify(
        "build", NAME, "--max-size", "1kB", "--min-reduction", "99.9",
        "--forbid", "setuid,root-user", "--require", "/app/app.pl",
        "--require", "/usr/bin/apt", "--provenance", "p.json",
        *(part for name in reports for part in ("--report", name)), home=home,
    )  # fmt: skip
    assert done.returncode == Exit.GATE, done.stdout + done.stderr
    failed = re.findall(r"^gate +FAILED (.*?):", done.stdout, re.MULTILINE)
    assert failed == ["max-size", "min-reduction", "require /usr/bin/apt"]
    assert "nothing was tagged" in done.stdout
    assert docker("images", "-q", OUT) == ""
    assert not (home / "p.json").exists()
    root = Xml.fromstring((home / "r.xml").read_text())
    assert len(root.findall(".//failure")) == 3
    run = json.loads((home / "r.sarif").read_text())["runs"][0]
    assert [r["ruleId"] for r in run["results"] if r["level"] == "error"] == ["minify/gate"] * 3
    assert "3 of 6 gates failed" in (home / "r.md").read_text()
    assert "\x1b" not in done.stdout + done.stderr


@on_engine
@pytest.mark.usefixtures("untagged")
def test_gates_are_settings_of_the_file_and_of_variables(home: Path) -> None:
    (home / "gates.yaml").write_text("max_size: 1kB\nrequire: [/usr/bin/apt]\n")
    done = minify("build", NAME, "--config", "gates.yaml", home=home, MINIFY_FORBID="setuid,device")
    assert done.returncode == Exit.GATE, done.stderr
    told = re.findall(r"^gate +\w+ +(.*?):", done.stdout, re.MULTILINE)
    assert told == ["max-size", "forbid setuid", "forbid device", "require /usr/bin/apt"]
    done = minify("build", NAME, "--config", "gates.yaml", "--max-size", "900MB",
                  "--require", "/app/app.pl", home=home)  # fmt: skip
    assert done.returncode == 0, done.stdout


@on_engine
def test_growth_is_measured_against_the_lock(home: Path) -> None:
    assert minify("build", NAME, home=home).returncode == 0
    assert minify("lock", NAME, home=home).returncode == 0
    lock = home / "minify.lock"
    assert minify("build", NAME, "--max-growth", "0", home=home).returncode == 0
    size = int(re.findall(r"^size (\d+)$", lock.read_text(), re.MULTILINE)[0])
    lock.write_text(lock.read_text().replace(f"size {size}", f"size {size // 2}"))
    done = minify("build", NAME, "--max-growth", "50", home=home)
    assert done.returncode == Exit.GATE
    assert "+100.0" in done.stdout
    lock.unlink()
    done = minify("build", NAME, "--max-growth", "50", "--forbid", "shel", home=home)
    assert done.returncode == Exit.USAGE
    assert "minify.lock" in done.stderr
    assert "did you mean 'shell'" in done.stderr


# --- cache ---


def cached(home: Path, *argv: str) -> tuple[bool, str]:
    """Whether a build was answered from the cache, and what it said."""
    done = minify("build", NAME, "--cache-dir", "cache", *argv, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    hit = "taken from the cache" in done.stdout
    assert hit != ("Verifying" in done.stderr)
    return hit, done.stdout


@on_engine
def test_the_same_input_is_not_minified_twice(home: Path, tmp_path: Path) -> None:
    first = inspect(OUT)["Id"]
    assert cached(home)[0]
    docker("rmi", "--force", OUT)
    assert cached(home, "--tag", OUT)[0]
    assert inspect(OUT)["Id"] == first
    # Saved and restored by CI on another machine: another home, another place.
    shutil.copytree(home / "cache", tmp_path / "cache")
    docker("tag", NAME, "minify-test-ci:renamed")
    try:
        done = minify("build", "minify-test-ci:renamed", "--cache-dir", "cache", home=tmp_path)
        assert "taken from the cache" in done.stdout
        assert inspect("minify-test-ci:renamed-min")["Id"] == first
    finally:
        docker("rmi", "minify-test-ci:renamed", "minify-test-ci:renamed-min", check=False)


@on_engine
def test_any_other_input_is_a_miss(home: Path) -> None:
    policy = home / "policy.yaml"
    policy.write_text("[{id: mine, keep: [/root/never], reason: test}]")
    assert not cached(home, "--policy", "policy.yaml")[0]
    assert cached(home, "--policy", "policy.yaml")[0]
    policy.write_text("[{id: mine, keep: [/etc/motd], reason: test}]")
    assert not cached(home, "--policy", "policy.yaml")[0]
    assert not cached(home, "--fresh")[0]


@on_engine
def test_a_damaged_cache_is_a_miss(home: Path) -> None:
    for file in (home / "cache").glob("*/*"):
        file.write_bytes(file.read_bytes()[:-1])
    assert not cached(home)[0]
    assert cached(home)[0]


# --- build a context, one deadline ---

DOCKERFILE = f"""
FROM {BASE}
ARG WORD=none
COPY . /app/
RUN echo $WORD > /app/word
CMD ["perl", "-e", "open F, '/app/word'; print <F>; open F, '/app/kept'; print <F>"]
FROM {BASE} AS other
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Containerfile").write_text(DOCKERFILE.removesuffix(f"FROM {BASE} AS other\n"))
    (folder / "kept").write_text("kept\n")
    (folder / "secret").write_text("secret\n")
    (folder / ".dockerignore").write_text("secret\n")
    return folder


def without_docker(folder: Path) -> str:
    """A PATH with every program of this machine but the docker command."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*"):
            if program.name != "docker":
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


@on_engine
@pytest.mark.parametrize("command", [True, False], ids=["docker command", "API"])
def test_a_context_is_built_and_minified(context: Path, tmp_path: Path, command: bool) -> None:
    made, out = "minify-test-context:1", "minify-test-context:1-min"
    path = os.environ["PATH"] if command else without_docker(tmp_path / "bin")
    try:
        done = minify(
            "build", made, "--context", "context", "-f", "context/Containerfile",
            "--build-arg", "WORD=hello", home=tmp_path, PATH=path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert docker("run", "--rm", out) == "hello\nkept"
        listed = docker("run", "--rm", made, "ls", "/app").split()
        assert "kept" in listed
        assert "secret" not in listed
    finally:
        docker("rmi", "--force", made, out, check=False)


@on_engine
def test_a_context_that_cannot_be_built_is_said(context: Path, tmp_path: Path) -> None:
    (context / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo the reason >&2; exit 9\n")
    done = minify("build", "--context", "context", home=tmp_path)
    assert done.returncode == Exit.ENGINE
    assert "the reason" in done.stderr
    done = minify("build", "--context", "nowhere", home=tmp_path)
    assert done.returncode == Exit.USAGE
    assert "Traceback" not in done.stderr


BUILDKIT = f"""
FROM {BASE} AS first
RUN --mount=type=secret,id=word cp /run/secrets/word /made
FROM {BASE} AS second
COPY --from=first /made /copied
CMD ["cat", "/copied"]
FROM {BASE} AS third
RUN false
"""


def has_buildx() -> bool:
    try:
        done = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@on_engine
@pytest.mark.skipif(not has_buildx(), reason="no buildx")
@pytest.mark.parametrize("named", [True, False])
def test_a_context_that_takes_buildkit(context: Path, tmp_path: Path, named: bool) -> None:
    (context / "Dockerfile").write_text(BUILDKIT)
    words = ["minify-test-buildkit:1"] if named else []
    before = docker("images", "-q", "--no-trunc").split()
    try:
        for _ in range(2):
            done = minify(
                "build", *words, "--context", "context", "--target", "second",
                "--build-secret", "id=word,env=WORD", "-o", "docker-archive:out.tar",
                home=tmp_path, WORD="sesame",
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            assert "[second 2/2] COPY --from=first /made /copied" in done.stderr
            assert "third" not in done.stderr
        assert "CACHED" in done.stderr
        loaded = docker("load", "-i", str(tmp_path / "out.tar")).split()[-1]
        assert docker("run", "--rm", loaded) == "sesame"
        if not named:  # two builds of the same are one image
            assert len({*docker("images", "-q", "--no-trunc").split()} - {*before}) == 2
    finally:
        made = {*docker("images", "-q", "--no-trunc").split()} - {*before}
        docker("rmi", "--force", *made, check=False)


@on_engine
@pytest.mark.parametrize("budget", ["0.4", "1.2", "2"])
def test_one_deadline_for_the_whole_run(service: str, tmp_path: Path, budget: str) -> None:
    tag = "minify-test-ci:late"
    done = minify("build", service, "--tag", tag, "--observe-for", "60", "--time-budget", budget,
                  home=tmp_path)  # fmt: skip
    assert done.returncode == Exit.TRACE, done.stdout + done.stderr
    assert f"the time budget of {budget} s is used up" in done.stderr
    assert docker("images", "-q", tag) == ""
    assert not list((tmp_path / "home").glob("runs/*"))


# --- the templates ---


def composite() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "action.yml").read_text()))


def gitlab() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "templates/gitlab-ci.yml").read_text())[".minify"])


def scripts() -> list[tuple[str, str]]:
    """Every piece of shell in the templates, by name."""
    found = [("shell.sh", (ROOT / "templates/shell.sh").read_text())]
    for step in composite()["runs"]["steps"]:
        if "run" in step:
            found.append((step["name"], step["run"]))
    for part in ("before_script", "script", "after_script"):
        found += [(f"{part} {n}", text) for n, text in enumerate(gitlab()[part])]
    return found


@pytest.mark.parametrize(("name", "text"), scripts(), ids=lambda v: str(v)[:24])
def test_shell_parses(name: str, text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if checker:
        argv = [checker, "--shell", "bash", "-"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}"


def test_the_action_is_whole() -> None:
    action = composite()
    assert action["runs"]["using"] == "composite"
    text = json.dumps(action["runs"])
    for name in action["inputs"]:
        assert f"inputs.{name}" in text or name == "reports", f"input {name} does nothing"
    for used in re.findall(r"inputs\.([\w-]+)", json.dumps(action)):
        assert used in action["inputs"], used
    steps = {s.get("id"): s for s in action["runs"]["steps"]}
    written = set(re.findall(r'"(SHRUNK_\w+)"', (ROOT / "templates/shell.sh").read_text()))
    for output in action["outputs"].values():
        for step, name in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", output["value"]):
            assert step in steps
            assert name in written
    for step in action["runs"]["steps"]:
        assert ("run" in step) == ("shell" in step)
        # Inputs reach a script as variables only: as text they could be commands.
        assert "${{" not in step.get("run", "")


def settings_named(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"\bMINIFY_([A-Z_]+)\b", text)}


@pytest.mark.parametrize("file", ["action.yml", "templates/gitlab-ci.yml", "templates/shell.sh"])
def test_templates_name_settings_that_exist(file: str) -> None:
    known = {*schema()["properties"], "home", "config"}
    assert settings_named((ROOT / file).read_text()) - known == set()


@pytest.mark.parametrize("file", ["action.yml", "templates/gitlab-ci.yml"])
def test_templates_name_variables_of_the_shell_step(file: str) -> None:
    shell = (ROOT / "templates/shell.sh").read_text()
    own = {"SHRINK_SUMMARY", "SHRINK_ARGS", "SHRINK_SCRIPT", "SHRINK_CONTAINER",
           "SHRINK_COMMENT_TOKEN"}  # fmt: skip
    for name in set(re.findall(r"\bSHRINK_[A-Z]+(?:_[A-Z]+)*\b", (ROOT / file).read_text())) - own:
        assert name in shell, name


def test_the_documentation_has_every_status_flag_and_word() -> None:
    text = (ROOT / "docs/ci.md").read_text()
    for status in Exit:
        assert f"| {int(status)} | {status.name} |" in text
        assert re.search(rf"\b{int(status)}\b", EPILOG)
    words = yaml.safe_load((ROOT / "minify/policies/forbidden.yaml").read_text())
    for word in words:
        assert f"`{word}`" in text, word
    flags = {flag for p in build_command.params for flag in p.opts}
    for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", "".join(re.findall(r"`[^`]+`", text))):
        assert flag in flags | {"--no-verify"}, flag


def test_the_container_recipe_copies_what_is_there() -> None:
    text = (ROOT / "templates/Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in shlex.split(line)[:-1]:
            assert list(ROOT.glob(source.rstrip("*"))) or source.endswith("*"), source


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone as CI checks it out, and a fresh virtual environment beside it.

    The dependencies are lent by this environment: what is tried is the step, not pip.
    """
    folder = tmp_path_factory.mktemp("shell")
    subprocess.run(["git", "clone", "-q", str(ROOT), "src"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=folder, check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lent = "\n".join(p for p in sys.path if p.endswith("site-packages"))
    (folder / "venv/lib" / version / "site-packages/lent.pth").write_text(lent)
    return folder


def step_run(folder: Path, argv: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the clone as CI does: no terminal, no minify but the one to install."""
    hidden = str(Path(sys.executable).parent)  # where another minify is
    others = [p for p in os.environ["PATH"].split(os.pathsep) if p != hidden]
    path = os.pathsep.join([str(folder / "venv/bin"), *others])  # installed once, found then
    env = {
        **os.environ, "PATH": path, "PIP_NO_DEPS": "1", "MINIFY_HOME": str(folder / "home"),
        "SHRINK_INSTALL": str(folder / "src"), "SHRINK_VENV": str(folder / "venv"), **variables,
    }  # fmt: skip
    return subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=300, check=False,
    )  # fmt: skip


def shell_step(folder: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return step_run(folder, [str(folder / "src/templates/shell.sh"), *argv], **variables)


@on_engine
def test_the_shell_step_in_a_clean_clone(service: str, clone: Path) -> None:
    tag, reports = "minify-test-ci:shell", clone / "minify-reports"
    docker("save", "--output", str(clone / "in.tar"), service)
    common = {"SHRINK_LOAD": "in.tar", "MINIFY_TAG": tag, "SHRINK_CACHE": "cache"}
    try:
        done = shell_step(clone, **common, SHRINK_SAVE="out.tar", MINIFY_FORBID="setuid")
        assert done.returncode == 0, done.stdout + done.stderr
        facts = dict(line.split("=", 1) for line in (reports / "result.env").read_text().split())
        assert facts["SHRUNK_IMAGE"] == tag
        assert facts["SHRUNK_DIGEST"] == inspect(tag)["Id"]
        assert {p.name for p in reports.iterdir()} == {
            "minify.json", "minify.sarif", "minify.xml", "minify.md", "provenance.json",
            "result.env",
        }  # fmt: skip
        docker("rmi", "--force", tag)
        assert tag in docker("load", "--input", str(clone / "out.tar"))
        assert "\x1b" not in done.stdout + done.stderr

        again = shell_step(clone, "--quiet", **common, MINIFY_FORBID="setuid")
        assert "taken from the cache" in again.stdout, again.stderr
        failed = shell_step(clone, "--quiet", **common, MINIFY_MAX_SIZE="1kB", SHRINK_SAVE="no.tar")
        assert failed.returncode == Exit.GATE
        assert "SHRUNK_IMAGE=\n" in (reports / "result.env").read_text()
        assert "SHRUNK_FAILED_GATES=1" in (reports / "result.env").read_text()
        assert not (clone / "no.tar").exists()
        assert not (reports / "provenance.json").exists()
    finally:
        docker("rmi", "--force", tag, check=False)


@on_engine
def test_the_shell_step_says_what_is_missing(clone: Path) -> None:
    bare = "/usr/bin:/bin"  # no minify there
    done = shell_step(clone, SHRINK_INSTALL="", PATH=bare)
    assert done.returncode == Exit.UNSUPPORTED
    assert "SHRINK_INSTALL" in done.stderr
    done = shell_step(clone, MINIFY_IMAGE="no/such:image")
    assert done.returncode == Exit.ENGINE
    assert not (clone / "minify-reports/result.env").exists()


@on_engine
def test_the_step_of_the_action(service: str, clone: Path) -> None:
    """What GitHub's runner does with the composite action: variables from inputs, then bash."""
    tag = "minify-test-ci:action"
    (step,) = [s for s in composite()["runs"]["steps"] if s.get("id") == "shrink"]
    inputs = {name: "" for name in step["env"]}
    inputs |= {
        "MINIFY_IMAGE": service, "MINIFY_TAG": tag, "MINIFY_REQUIRE": "/app/app.pl\n/no/such",
        "SHRINK_SCRIPT": str(clone / "src/templates/shell.sh"), "SHRINK_SUMMARY": "true",
        "SHRINK_INSTALL": str(clone / "src"), "SHRINK_VENV": str(clone / "venv"),
        "SHRINK_REPORTS": "of action", "SHRINK_PUSH": "false", "SHRINK_SUDO": "true",
        "SHRINK_ARGS": "--quiet --keep '/root/a b*' --forbid $(touch,oops)",
        "GITHUB_OUTPUT": str(clone / "output"), "GITHUB_STEP_SUMMARY": str(clone / "summary"),
    }  # fmt: skip
    argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    try:
        done = step_run(clone, argv, **inputs)
        assert done.returncode == Exit.USAGE, done.stderr
        assert "cannot forbid '$(touch'" in done.stderr  # split into words, not expanded
        done = step_run(clone, argv, **{**inputs, "SHRINK_ARGS": "--quiet --keep '/root/nev*'"})
        assert done.returncode == Exit.GATE, done.stdout + done.stderr
        assert "SHRUNK_FAILED_GATES=1" in (clone / "output").read_text()
        assert "1 of 2 gates failed" in (clone / "summary").read_text()
        done = step_run(clone, argv, **{**inputs, "SHRINK_ARGS": "", "MINIFY_REQUIRE": ""})
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"SHRUNK_IMAGE={tag}\n" in (clone / "output").read_text()
    finally:
        docker("rmi", "--force", tag, check=False)
