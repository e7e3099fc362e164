"""Programs that end by themselves, the user's own tests, and what surrounds a container."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine_kit import BASE, SERVER, docker, image, minify, needs_docker

pytestmark = needs_docker

CASES = f"""
image: {BASE}
tag: minify-cases:min
entrypoint: [sh, -c]
secrets: {{token: ./token.txt}}
hosts: {{db.internal: 10.9.8.7}}
memory: 128MiB
pids: 40
runs:
  - {{args: ["sed s/a/b/"], stdin: "banana\\n", expect: "^bbnana$"}}
  - {{args: ["cat /run/secrets/token /etc/hosts"], expect: "s3cret.*10.9.8.7\\tdb.internal"}}
  - {{args: ["exit 3"], exit: 3}}
  - {{name: big, args: [wc -c], stdin_file: big, expect: "^300000$"}}
"""


def test_each_case_is_a_run_and_all_are_kept_and_compared(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("s3cret\n")
    (tmp_path / "big").write_bytes(b"x" * 300_000)
    (tmp_path / "minify.yaml").write_text(CASES)
    try:
        done = minify("build", "--report", "r.json", home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((tmp_path / "r.json").read_text())
        report = report.get("value", report)
        answers = {d["drive"]: (d["ok"], d["status"]) for d in report["drives"]}
        assert answers["run 'exit 3'"] == (True, 3)
        assert answers["big"] == (True, 0)
        assert len(answers) == 4
        # Every program of every case is there, the secret is not.
        used = "echo abc | sed s/b/x/; cat /run/secrets/token; true"
        out = docker("run", "--rm", "--entrypoint", "sh", "minify-cases:min", "-c", used)
        assert out.startswith("axc")
        assert "s3cret" not in out
    finally:
        docker("rmi", "--force", "minify-cases:min", check=False)


def test_a_case_that_fails_on_the_original_stops_the_build(tmp_path: Path) -> None:
    argv = ("build", BASE, "--entrypoint", "sh", "--run-args", "-c 'exit 4'")
    done = minify(*argv, home=tmp_path)
    assert done.returncode == 6
    assert "exit status 4" in done.stderr


DOCKERFILE = f"""
FROM {BASE}
COPY app.pl /app.pl
EXPOSE 8080
CMD ["perl", "/app.pl"]
"""

TESTS = """\
import os, sys, urllib.request
url = os.environ["MINIFY_URL"]
assert url == f"http://{os.environ['MINIFY_HOST']}:{os.environ['MINIFY_PORT_8080']}"
answer = urllib.request.urlopen(url + sys.argv[1]).read().decode()
print(answer)
sys.exit(0 if answer == f"hello from {sys.argv[1]}\\n" and os.environ["MINE"] == "1" else 1)
"""


def test_the_users_own_tests_are_run_against_the_container(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(TESTS)
    with image("minify-own-tests", DOCKERFILE, **{"app.pl": SERVER}):
        (tmp_path / "minify.yaml").write_text("image: minify-own-tests\n")
        done = minify("trace", "--", "python3", "t.py", "/a", home=tmp_path, MINE="1")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "evidence.json").is_file()
        done = minify(
            "trace", "minify-own-tests", "--run", "python3 t.py /b", home=tmp_path, MINE="2"
        )
        assert done.returncode == 6
        assert "hello from /b" in done.stderr  # its output is shown


def test_words_after_dashes_are_the_containers_where_an_image_is_named(tmp_path: Path) -> None:
    done = minify("build", BASE, "--dry-run", "--entrypoint", "echo", "--", "hi", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = json.loads(done.stdout)["value"]
    assert (plan["argv"], plan["cases"]) == (["hi"], [])


def test_what_init_writes_can_be_built_from_at_once(tmp_path: Path) -> None:
    with image("minify-init", DOCKERFILE, **{"app.pl": SERVER}):
        try:
            done = minify("init", "minify-init", home=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            text = (tmp_path / "minify.yaml").read_text()
            assert "listening on 8080" in text
            assert "GET :8080/" in text
            assert minify("init", "minify-init", home=tmp_path).returncode == 2  # not over a file
            done = minify("build", "--tag", "minify-init:min", home=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            docker("rmi", "--force", "minify-init:min", check=False)
