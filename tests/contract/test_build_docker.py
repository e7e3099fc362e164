"""The main job on a real engine: what comes out, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_kit import (
    BASE,
    SERVER,
    SERVICE,
    docker,
    identity,
    image,
    inspect,
    labelled,
    minify,
    needs_docker,
    opened_size,
)

pytestmark = [needs_docker, pytest.mark.docker, pytest.mark.root]
NAME = "minify-test-service:1"
OUT = "minify-test-service:1-min"


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with image(NAME, SERVICE, **{"app.pl": SERVER}) as name:
        yield name
        docker("rmi", "--force", OUT, check=False)


@pytest.fixture(scope="module")
def built(service: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("built")
    done = minify("build", service, "--report", "report.json", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verified" in done.stdout
    return home


def listed(name: str) -> dict[str, str]:
    """Name and `ls`-like facts of every file of an image, from its exported root."""
    made = docker("create", name, "x")
    try:
        raw = subprocess.run(
            f"docker export {made} | tar -tv --numeric-owner",
            shell=True,
            capture_output=True,
            text=True,
        ).stdout
    finally:
        docker("rm", made)
    rows = [line.split(None, 5) for line in raw.splitlines()]
    return {row[5]: f"{row[0]} {row[1]}" for row in rows if len(row) > 5}


def test_it_is_small_and_configured_as_the_original(built: Path) -> None:
    one, two = inspect(NAME), inspect(OUT)
    assert opened_size(OUT) < opened_size(NAME) / 5
    config, copy = dict(one["Config"]), dict(two["Config"])  # type: ignore[call-overload]
    for key in ("Cmd", "Entrypoint", "Env", "User", "WorkingDir", "ExposedPorts", "StopSignal",
                "Healthcheck", "Volumes"):  # fmt: skip
        assert copy.get(key) == config.get(key), key
    assert copy["Labels"]["team"] == "a"
    assert copy["Labels"]["io.minify.source"] == identity(NAME)


def test_original_attributes_are_kept_and_run_files_are_not(built: Path) -> None:
    files = listed(OUT)
    assert files["app/app.pl"].endswith("1000/1000")
    assert files["tmp/"].startswith("drwxrwxrwt")
    assert "usr/bin/apt" not in files
    assert "app/var/out" not in files
    assert not any(name.startswith(".minify") for name in files)


def test_unprobed_paths_of_the_application_answer(built: Path) -> None:
    made = docker("run", "-d", OUT)
    try:
        pid = docker("inspect", "-f", "{{.State.Pid}}", made)
        assert "Uid:\t1000" in Path(f"/proc/{pid}/status").read_text()
        address = docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", made)
        for path, text in (("/other", "two"), ("/file", "one"), ("/write", "hello")):
            done = subprocess.run(
                ["curl", "-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
                 f"http://{address}:8080{path}"], capture_output=True, text=True
            )  # fmt: skip
            assert text in done.stdout, done.stderr
    finally:
        docker("rm", "-f", made)


def test_the_report_tells_all(built: Path) -> None:
    report = json.loads((built / "report.json").read_text())["value"]
    assert report["verdict"]["passed"] is True
    assert report["minified"]["size"] < report["original"]["size"]
    assert {"exact", "reach", "package"} <= set(report["level_bytes"])
    assert report["lost_events"] == 0
    assert set(report["watchers"]) == {"strace", "fanotify"}
    assert {d["drive"]: d["ok"] for d in report["drives"]} == {"GET /": True, "healthcheck": True}


def test_the_same_input_gives_the_same_digest(built: Path, tmp_path: Path) -> None:
    first = inspect(OUT)["Id"]
    done = minify("build", NAME, "--fresh", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert inspect(OUT)["Id"] == first


def test_a_second_run_reuses_the_evidence(built: Path) -> None:
    done = minify("build", NAME, home=built)
    assert done.returncode == 0
    assert "evidence of an earlier run reused" in done.stdout


def dangling() -> set[str]:
    """The images that have no name."""
    return set(docker("images", "-q", "--no-trunc", "--filter", "dangling=true").split())


def test_no_image_without_a_name_is_left(built: Path, tmp_path: Path) -> None:
    before = dangling()
    tag = ("--tag", "minify-test-again:1", "--no-verify")
    other = (*tag, "--keep", "/usr/bin/apt-get")
    assert minify("build", NAME, *other, home=tmp_path).returncode == 0
    former = docker("image", "inspect", "--format", "{{.Id}}", "minify-test-again:1")
    # Another result takes the name over: the former one is nobody's then.
    assert minify("build", NAME, *tag, home=tmp_path).returncode == 0
    assert docker("image", "inspect", "--format", "{{.Id}}", "minify-test-again:1") != former
    assert docker("image", "inspect", "--format", "{{.Id}}", former, check=False) in ("", "[]")
    # One that somebody named otherwise stays.
    latter = docker("image", "inspect", "--format", "{{.Id}}", "minify-test-again:1")
    docker("tag", "minify-test-again:1", "minify-test-again:kept")
    assert minify("build", NAME, *other, home=tmp_path).returncode == 0
    kept = docker("image", "inspect", "--format", "{{.Id}}", "minify-test-again:kept")
    assert kept == latter
    docker("rmi", "minify-test-again:1", "minify-test-again:kept")
    assert dangling() <= before
    assert "minify-output" not in docker("images", "--format", "{{.Repository}}")


def test_why_walks_back_to_the_touch(built: Path) -> None:
    done = minify("why", NAME, "/app/app.pl", home=built)
    assert "touch:" in done.stdout
    done = minify("why", OUT, "/usr/bin/apt", home=built)
    assert "was dropped" in done.stdout
    assert minify("why", NAME, "/no/such", home=built).returncode == 1


def test_a_lock_rebuilds_without_tracing(built: Path) -> None:
    first = inspect(OUT)["Id"]
    assert minify("lock", NAME, "-o", "minify.lock", home=built).returncode == 0
    done = minify("build", NAME, "--from-lock", "minify.lock", home=built)
    assert done.returncode == 0, done.stdout + done.stderr
    assert inspect(OUT)["Id"] == first


def test_evidence_of_several_runs_unites(built: Path) -> None:
    for name, extra in (("a", []), ("b", ["--http-probe", "GET /file"])):
        done = minify("trace", NAME, "-o", f"{name}.json", *extra, home=built)
        assert done.returncode == 0, done.stdout + done.stderr
    argv = ["build", NAME, "--keep-level", "exact", "--evidence", "a.json"]
    assert minify(*argv, home=built).returncode == 0
    assert "app/data/one.txt" not in listed(OUT)
    assert minify(*argv, "--evidence", "b.json", home=built).returncode == 0
    assert "app/data/one.txt" in listed(OUT)


def test_a_difference_is_repaired_or_nothing_is_tagged(built: Path) -> None:
    docker("rmi", "-f", OUT, check=False)
    done = minify("trace", NAME, "-o", "root.json", home=built)
    assert done.returncode == 0
    argv = ["build", NAME, "--keep-level", "exact", "--evidence", "root.json",
            "--http-probe", "GET /other"]  # fmt: skip
    failed = minify(*argv, "--repairs", "0", "--drop", "/app/data/two.txt", home=built)
    assert failed.returncode == 3, failed.stdout + failed.stderr
    assert "GET /other: outcome" in failed.stdout
    assert docker("images", "-q", OUT) == ""
    repaired = minify(*argv, home=built)
    assert repaired.returncode == 0, repaired.stdout
    assert "/app/data/two.txt" in repaired.stdout


def test_verify_compares_any_two_images(built: Path) -> None:
    assert minify("build", NAME, home=built).returncode == 0
    assert minify("verify", NAME, OUT, home=built).returncode == 0
    done = minify("verify", NAME, BASE, home=built)
    assert done.returncode == 3
    assert "listening ports" in done.stdout


BAD: list[tuple[list[str], int, str]] = [
    (["build", "no/such:image"], 5, "image not found"),
    (["build", NAME, "--http-probe", "FOO /"], 2, "not an HTTP probe"),
    (["build", NAME, "--http-probe", "GET :81/", "--ready-timeout", "1"], 6, "port 81 never open"),
    (["build", NAME, "--http-probe", "GET /fail"], 6, "probes fail on the original"),
    (["build", NAME, "--platform", "linux/s390x"], 5, "not linux/s390x"),
    (["build", NAME, "--tag", "Bad Name"], 2, "not an image name"),
    (["build", NAME, "--tag", BASE], 2, "is in use"),
    (["build", NAME, "--tag", NAME], 2, "is in use"),
    (["build", NAME, "--entrypoint", "/no/such"], 5, "no such command"),
    (["build", NAME, "--", "perl", "-e", "die 'boom'"], 6, "boom"),
    (["build", NAME, "--env", "NOVALUE"], 2, "not K=V"),
    (["build", NAME, "--policy-off", "nonsense"], 2, "nonsense"),
    (["build"], 2, "no image named"),
    (["verify", NAME, "no/such"], 5, "image not found"),
    (["why", "no/such", "/x"], 2, "no such image"),
]


@pytest.mark.parametrize(("argv", "status", "words"), BAD, ids=lambda v: str(v)[:60])
def test_bad_input_gets_a_clear_line_and_leaves_nothing(
    service: str, tmp_path: Path, argv: list[str], status: int, words: str
) -> None:
    done = minify(*argv, home=tmp_path)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home").glob("runs/*"))


def test_no_engine_is_said(tmp_path: Path) -> None:
    done = minify(
        "build", "x", "--engine", "docker", home=tmp_path, DOCKER_HOST="tcp://127.0.0.1:9"
    )
    assert done.returncode == 5
    assert "no Docker engine answers" in done.stderr


def start(home: Path, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "minify", *argv],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "MINIFY_HOME": str(home / "home")}, cwd=home, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize("moment", [0.2, 0.8, 1.3, 1.8, 2.5])
def test_interrupted_at_any_moment_nothing_is_left(
    service: str, tmp_path: Path, moment: float
) -> None:
    child = start(tmp_path, "build", service, "--fresh", "--tag", "minify-test-interrupted:1")
    time.sleep(moment)
    child.send_signal(signal.SIGTERM)
    status = child.wait(timeout=60)
    done = docker("images", "-q", "minify-test-interrupted:1")
    # Before it has a handler nothing is there to be cleaned up yet.
    assert status in (130, 143, -signal.SIGTERM) or (status == 0 and done)
    docker("rmi", "-f", "minify-test-interrupted:1", check=False)
    owned = [
        c
        for c in labelled()
        if f"-{child.pid}-" in docker("inspect", "-f", "{{json .Config.Labels}}", c, check=False)
    ]
    assert owned == []
    assert not list((tmp_path / "home").glob("runs/*"))


def test_killed_hard_the_next_run_cleans_up(service: str, tmp_path: Path) -> None:
    child = start(tmp_path, "build", service, "--fresh", "--tag", "minify-test-killed:1")
    deadline = time.monotonic() + 30

    def mine() -> list[str]:
        return [
            c
            for c in labelled()
            if f"-{child.pid}-"
            in docker("inspect", "-f", "{{json .Config.Labels}}", c, check=False)
        ]

    while not mine() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert mine()
    done = minify("gc", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert mine() == []
    assert not list((tmp_path / "home").glob("runs/*"))
    assert docker("images", "-q", "minify-test-killed:1") == ""


def test_a_service_that_ends_is_no_service(service: str, tmp_path: Path) -> None:
    argv = ["build", service, "--tag", "minify-test-ended:1", "--force"]
    done = minify(*argv, "--", "perl", "-e", "exit 0", home=tmp_path)
    docker("rmi", "-f", "minify-test-ended:1", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ended by itself before any exposed port opened" in done.stdout
    asked = minify(*argv, "--tcp-probe", "8080", "--", "perl", "-e", "exit 0", home=tmp_path)
    assert asked.returncode == 6
    assert "before it was ready" in asked.stderr
