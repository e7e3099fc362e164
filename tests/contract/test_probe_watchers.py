"""The watchers as programs, beside real processes and containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from probes import watch_strace as strace

PROBES = Path(__file__).parents[2] / "probes"
IMAGE = "debian:bookworm-slim"


@contextmanager
def probe(
    name: str, request: dict[str, Any], prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    program = subprocess.Popen(
        [*prefix, sys.executable, "-I", str(PROBES / name)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert program.stdin
        program.stdin.write(json.dumps(request) + "\n")
        program.stdin.flush()
        yield program
    finally:
        if program.poll() is None:
            program.kill()
        program.communicate()


def answers(program: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def docker(*argv: str) -> str:
    done = subprocess.run(
        ["docker", *argv], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@contextmanager
def container(*argv: str) -> Iterator[tuple[str, int]]:
    name = docker("create", "-i", *argv)
    try:
        docker("start", name)
        yield name, int(docker("inspect", "-f", "{{.State.Pid}}", name))
    finally:
        docker("rm", "-fv", name)


@pytest.mark.parametrize("name", ["watch_strace.py", "watch_fanotify.py"])
@pytest.mark.parametrize("request_line", ["", "{}", "no json", "[1]"])
def test_a_bad_request_is_refused(name: str, request_line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(PROBES / name)], input=request_line + "\n", text=True,
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad request" in done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_strace_through_a_fifo_that_is_the_gate(tmp_path: Path) -> None:
    fifo = tmp_path / "FIFO"
    os.mkfifo(fifo)
    script = "test -e ./nope; cat /etc/passwd >/dev/null; echo $$ > made"
    traced = subprocess.Popen(
        ["strace", "-f", "-y", "-q", "-a1", "-s4096", "-esignal=none", "--seccomp-bpf",
         "-etrace=%file,?clone,?clone3,?vfork,?fork", "-o", str(fifo),
         "--", "/bin/sh", "-c", script],
        cwd=tmp_path,
    )  # fmt: skip
    assert not (tmp_path / "made").exists(), "nothing runs before the gate is open"
    request = {"source": str(fifo), "cwd": str(tmp_path)}
    with probe("watch_strace.py", request) as program:
        got = answers(program)
    assert traced.wait(timeout=30) == 0
    done = got.pop()
    assert done["done"] and done["lost"] == done["unparsed"] == 0 and not done["truncated"]
    touches = {(a["path"], a["access"], a["outcome"]) for a in got}
    assert ("/etc/passwd", "open", "ok") in touches
    assert (f"{tmp_path}/nope", "stat", "absent") in touches
    assert (f"{tmp_path}/made", "write", "ok") in touches
    assert ("/bin/sh", "exec", "ok") in touches


def test_a_missing_source_is_a_failure(tmp_path: Path) -> None:
    with probe("watch_strace.py", {"source": str(tmp_path / "none")}) as program:
        program.communicate(timeout=30)
        assert program.returncode == 1


@pytest.mark.root
def test_fanotify_without_the_privilege_says_so() -> None:
    request = {"pid": os.getpid(), "mounts": ["/"]}
    drop = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    with probe("watch_fanotify.py", request, drop) as program:
        _, words = program.communicate(timeout=30)
        assert program.returncode == 3
    assert "not permitted" in words.lower()


@pytest.mark.docker
@pytest.mark.root
def test_fanotify_sees_the_container_and_nothing_else() -> None:
    script = (
        "read go; cat /etc/passwd >/dev/null; ls /usr/lib >/dev/null; echo x >/data/v; "
        "cat /data/v >/scratch/t; cat /scratch/t /bin/true >/dev/null; /bin/true; "
        "cat /etc/hosts >/dev/null; exec 3</etc/shells; rm /etc/shells; cat <&3 >/dev/null; "
        "unshare --mount cat /etc/issue >/dev/null; echo finished; read stay"
    )
    options = ("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined",
               "--security-opt=apparmor=unconfined", "-v/data", "--tmpfs=/scratch")  # fmt: skip
    with container(*options, IMAGE, "sh", "-c", script) as (name, pid):  # noqa: SIM117
        with probe("watch_fanotify.py", {"pid": pid}) as program:
            assert program.stdout
            ready = json.loads(program.stdout.readline())
            merged = docker("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", name)
            Path(merged, "etc/issue.net").read_bytes()  # the engine's view: not the application
            attached = subprocess.Popen(
                ["docker", "attach", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert attached.stdin and attached.stdout
            attached.stdin.write("go\n")
            attached.stdin.flush()
            assert attached.stdout.readline() == "finished\n"
            got = answers(program)
            attached.kill()
            attached.communicate()
    assert ready["ready"] and {"/", "/data", "/scratch", "/etc/hosts"} <= set(ready["marked"])
    assert ready["scopes"]["/"] == "filesystem"
    assert ready["scopes"]["/data"] == "mount"
    done = got.pop()
    assert done["done"] and done["lost"] == 0
    touches = [(a["path"], a["access"]) for a in got]
    assert len(touches) == len(set(touches))
    assert {
        ("/etc/passwd", "open"), ("/usr/lib", "list"), ("/data/v", "open"),
        ("/scratch/t", "open"), ("/etc/hosts", "open"), ("/etc/shells", "open"),
        ("/usr/bin/cat", "exec"), ("/etc/issue", "open"),
        # Opened first: the mark that ignores later opens must not hide the execution.
        ("/usr/bin/true", "open"), ("/usr/bin/true", "exec"),
    } <= set(touches)  # fmt: skip
    assert not [path for path, _ in touches if "issue.net" in path or "/merged" in path]


@pytest.mark.docker
@pytest.mark.root
def test_fanotify_outlives_its_container() -> None:
    with container(IMAGE, "sh", "-c", "read go; cat /etc/passwd") as (name, pid):  # noqa: SIM117
        with probe("watch_fanotify.py", {"pid": pid, "mounts": ["/"]}) as program:
            assert program.stdout and json.loads(program.stdout.readline())["marked"] == ["/"]
            subprocess.run(["docker", "attach", name], input=b"go\n", stdout=subprocess.DEVNULL)
            docker("wait", name)
            docker("rm", "-f", name)
            got = answers(program)
    assert {"path": "/etc/passwd", "access": "open"} in got
    assert got[-1]["lost"] == 0


@pytest.mark.root
def test_an_overflowing_queue_is_said_aloud(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    script = (
        f"mount -t tmpfs none {tmp_path} && cd {tmp_path} && echo up && read go && "
        f"exec {sys.executable} -Ic 'for i in range({limit} + 500): open(str(i), \"w\").close()'"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as busy:  # fmt: skip
        assert busy.stdin and busy.stdout
        assert busy.stdout.readline() == "up\n"
        request = {"pid": busy.pid, "mounts": [str(tmp_path)], "bounded": True}
        with probe("watch_fanotify.py", request) as program:
            assert program.stdout
            assert json.loads(program.stdout.readline())["scopes"] == {str(tmp_path): "filesystem"}
            busy.communicate("go\n", timeout=60)
            out, words = program.communicate(timeout=60)
    done = json.loads(out.splitlines()[-1])
    assert done["lost"] == 1
    assert done["events"] == limit + 1
    assert "overflow" in words


def documented_sets() -> list[str]:
    blocks = re.findall(r"```text\n(.*?)\n```", (PROBES / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3, "PATHS, NEWBORN, LIGHT"
    return blocks


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_strace_takes_the_documented_sets_and_options(number: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["-f", "-y", "-q", "-a", "1", "-s", "256", "-e", "signal=none", "--seccomp-bpf"]
    trace = f"trace=execve,{documented_sets()[number]}"
    argv = ["strace", *options, "-e", trace, "-o", str(out), "--", "/bin/sh", "-c", "cd /; (:)"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with probe("watch_strace.py", {"source": str(out)}) as program:
        got = answers(program)
    assert got[-1]["unparsed"] == 0
    assert {"path": "/bin/sh", "access": "exec", "outcome": "ok"} in got


def test_the_parser_knows_every_documented_call() -> None:
    known = {*strace.CALLS, *strace.OPENS, *strace.SOCKETS, *strace.LISTS, *strace.FORKS}
    known |= strace.SILENT | {b"fchdir", b"%file"}
    names = {name.lstrip("?") for block in documented_sets() for name in block.split(",")}
    assert {name.encode() for name in names} <= known


needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


def under_kit(folder: Path, options: tuple[str, ...], script: str) -> tuple[str, Path]:
    """Create a container whose PID 1 is a shell behind strace and its gate."""
    kit, fifo = make_kit(folder / "kit"), folder / "out" / "FIFO"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    name = docker(
        "create", f"-v{kit}:/.minify/kit:ro", f"-v{fifo.parent}:/.minify/out",
        "--entrypoint=/.minify/kit/ld.so", IMAGE, "--library-path", "/.minify/kit/lib",
        "/.minify/kit/strace", "-D", "-f", "-y", "-q", "-a1", "-s256", "-esignal=none",
        *options, "-o", "/.minify/out/FIFO", "--", "/bin/sh", "-c", script,
    )  # fmt: skip
    return name, fifo


@needs_strace
@pytest.mark.docker
@pytest.mark.root
def test_strace_as_the_kit_beside_pid_1_loses_nothing_at_the_end(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 500 ]; do i=$((i+1)); test -e /none$i; done; test -e /last"
    paths, newborn, _ = documented_sets()
    name, fifo = under_kit(tmp_path, ("--seccomp-bpf", f"-etrace={paths},{newborn}"), script)
    try:
        with probe("watch_strace.py", {"source": str(fifo)}) as program:
            docker("start", name)
            docker("wait", name)
            got = answers(program)
    finally:
        docker("rm", "-f", name)
    done = got.pop()
    assert (done["unparsed"], done["lost"], done["truncated"]) == (0, 0, False)
    absent = {a["path"] for a in got if a["outcome"] == "absent"}
    assert {f"/none{i}" for i in range(1, 501)} | {"/last"} <= absent


# A set-uid-root program run by an ordinary user prints its effective user.
SET_UID = "cp /usr/bin/id /sid; chmod 4755 /sid; read go; chroot --userspec=65534:65534 / /sid -u"


@needs_strace
@pytest.mark.docker
@pytest.mark.root
@pytest.mark.parametrize("bpf", [(), ("--seccomp-bpf",)])
def test_strace_inside_takes_set_uid_away(bpf: tuple[str, ...], tmp_path: Path) -> None:
    script = SET_UID.replace("read go;", "")
    name, fifo = under_kit(tmp_path, (*bpf, f"-etrace={documented_sets()[0]}"), script)
    try:
        with probe("watch_strace.py", {"source": str(fifo)}) as program:
            docker("start", name)
            docker("wait", name)
            assert answers(program)[-1]["done"]
        assert docker("logs", name) == "65534"
    finally:
        docker("rm", "-f", name)


@needs_strace
@pytest.mark.docker
@pytest.mark.root
def test_strace_attached_from_the_host_leaves_set_uid_alone(tmp_path: Path) -> None:
    fifo = tmp_path / "FIFO"
    os.mkfifo(fifo)
    options = ["-f", "-y", "-q", "-a1", "-s256", "-esignal=none", f"-etrace={documented_sets()[0]}"]
    with container(IMAGE, "sh", "-c", SET_UID) as (name, pid):
        tracer = subprocess.Popen(["strace", *options, "-o", str(fifo), "-p", str(pid)])
        with probe("watch_strace.py", {"source": str(fifo), "root_pid": pid}) as program:
            while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{pid}/status").read_text():
                assert tracer.poll() is None
            subprocess.run(["docker", "attach", name], input=b"go\n", stdout=subprocess.DEVNULL)
            docker("wait", name)
            got = answers(program)
        tracer.wait(timeout=30)
        assert docker("logs", name) == "0"
    assert (got[-1]["unparsed"], got[-1]["lost"]) == (0, 0)
    assert {"path": "/sid", "access": "exec", "outcome": "ok"} in got


def make_kit(folder: Path) -> Path:
    """Copy strace with its libraries and loader, to be run in any image."""
    (folder / "lib").mkdir(parents=True)
    binary = shutil.which("strace")
    assert binary
    shutil.copy(binary, folder / "strace")
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+)", listed):
        target = folder / "ld.so" if "/ld-" in library else folder / "lib" / Path(library).name
        shutil.copy(library, target)
    return folder
