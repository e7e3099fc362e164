"""The tracing kit works from another folder, with no library of the host in reach."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from minify.errors import Unsupported
from minify.runs import kit as kit_module
from minify.runs.kit import LOADER_VARIABLES, Kit, prepare_kit
from minify.steps import Event, listening

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")


@pytest.fixture
def made(tmp_path: Path) -> Kit:
    kit = prepare_kit(tmp_path / "cache")
    return replace(kit, mount=str(kit.path))  # as if it were mounted where it is


@needs_strace
def test_kit_is_made_once_and_readable_by_all(made: Kit, tmp_path: Path) -> None:
    assert made.version[0].isdigit()
    for path in [made.path, *made.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == 0o755
    before = (made.path / "strace").stat().st_ino
    assert prepare_kit(tmp_path / "cache").path == made.path
    assert (made.path / "strace").stat().st_ino == before
    assert os.listdir(tmp_path / "cache") == [made.path.name]


@needs_strace
def test_kit_strace_traces(made: Kit, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = [*made.strace_argv(("-f", "-qq", "-e", "trace=execve"), str(out)), "/bin/true"]
    assert subprocess.run(argv, env={}).returncode == 0
    assert 'execve("/bin/true", ["/bin/true"]' in out.read_text()


@needs_strace
def test_kit_uses_only_its_own_libraries(made: Kit, tmp_path: Path) -> None:
    out = tmp_path / "out"
    inner = [*made.strace_argv(("-V",), "/dev/null")][:-3]
    argv = ["strace", "-f", "-e", "trace=openat", "-o", str(out), *inner]
    assert subprocess.run(argv, stdout=subprocess.DEVNULL).returncode == 0
    libraries = [line for line in out.read_text().splitlines() if ".so" in line]
    assert libraries and all(str(made.path) in line for line in libraries)


ODD = {"x.y": "1", "PWD": "/nonsense", "OLDPWD": "/x", "_": "u", "IFS": ",", "OPTIND": "7",
       "gate": "g", "PS1": "p", "SHLVL": "3", "LINENO": "5",
       "spring.profiles.active": "a b\nc"}  # fmt: skip


@needs_strace
@pytest.mark.parametrize(
    ("env", "keep_pwd"),
    [
        ({}, False),
        ({"A": "1 \n'2", "PATH": "/bin", "HOME": "/"}, False),
        (ODD, False),
        ({**ODD, "A": "b"}, True),
        ({"PWD": os.getcwd(), "A": "b"}, True),
    ],
)
def test_gate_waits_and_changes_nothing(
    made: Kit, tmp_path: Path, env: Mapping[str, str], keep_pwd: bool
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*made.gate_argv(str(fifo), keep_pwd=keep_pwd, env=env), "/usr/bin/env", "-0"]
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
    with open(fifo, "w") as gate:
        assert child.poll() is None  # it had to be there to let us open, and it still waits
        gate.write("go\n")
    got = child.communicate()[0].decode().split("\0")[:-1]
    assert dict(item.split("=", 1) for item in got) == env
    assert child.returncode == 0


@needs_strace
@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_gate_with_a_shell_that_exports_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, program in (("sh", "bash"), ("env", "env"), ("strace", "strace")):
        (folder / name).symlink_to(shutil.which(program) or "")
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(folder))
        kit = prepare_kit(tmp_path / "cache")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    made = replace(kit, mount=str(kit.path))
    for env in ({"A": "b"}, ODD):
        argv = [*made.gate_argv(str(fifo), env=env), "/usr/bin/env", "-0"]
        child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE)
        fifo.write_text("go\n")
        got = child.communicate()[0].decode().split("\0")[:-1]
        assert dict(item.split("=", 1) for item in got) == env


@needs_strace
def test_gate_keeps_the_process(made: Kit, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*made.gate_argv(str(fifo), env={"x.y": "1"}), "/bin/sh", "-c", "echo $$; exit 3"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    fifo.write_text("go\n")
    assert child.communicate()[0].decode().strip() == str(child.pid)
    assert child.returncode == 3


@needs_strace
def test_shield_hides_loader_variables_from_strace_alone(made: Kit, tmp_path: Path) -> None:
    env = {"LD_PRELOAD": "/nowhere/x.so", "A": "b"}
    blank, options = made.shield(env)
    assert blank == {"LD_PRELOAD": ""}
    argv = [*made.strace_argv(("-qq", "-e", "trace=none", *options), str(tmp_path / "out"))]
    done = subprocess.run(
        [*argv, "/bin/sh", "-c", "echo $LD_PRELOAD"], env={**env, **blank}, capture_output=True
    )
    assert done.stdout == b"/nowhere/x.so\n"
    assert done.stderr.count(b"/nowhere/x.so") == 1  # from the traced shell, not from strace
    assert set(blank) <= set(LOADER_VARIABLES)


def test_no_strace_is_unsupported_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported) as caught:
        prepare_kit(tmp_path)
    assert "strace" in caught.value.hint


@needs_strace
def test_cache_that_cannot_be_written_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unsupported, match="cannot lay out"):
        prepare_kit(tmp_path / "file" / "cache")


@needs_strace
def test_a_failed_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kit_module.shutil, "copyfile", full)
    with pytest.raises(Unsupported, match="No space left"):
        prepare_kit(tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc to make a static program")
def test_static_strace_needs_no_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "s.c"
    source.write_text('#include <stdio.h>\nint main(){puts("strace -- version 9.9");return 0;}\n')
    for name in ("strace", "sh", "env"):
        argv = ["gcc", "-static", "-o", str(tmp_path / name), str(source)]
        if subprocess.run(argv, capture_output=True).returncode:
            pytest.skip("no static libc here")
    monkeypatch.setenv("PATH", str(tmp_path))
    kit = prepare_kit(tmp_path / "cache")
    assert (kit.version, kit.loaded) == ("9.9", frozenset())
    assert kit.strace_argv((), "o") == ("/.minify/kit/strace", "-o", "o", "--")
    assert kit.gate_argv("f")[0] == "/.minify/kit/sh"


@needs_strace
@pytest.mark.parametrize("name", ["strace", "sh", "lib"])
def test_a_damaged_kit_is_made_again(tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache"
    path = prepare_kit(cache).path
    broken = path / name if name != "lib" else next((path / "lib").iterdir())
    whole = broken.read_bytes()
    broken.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    events: list[Event] = []
    with listening(events.append):
        assert prepare_kit(cache).path == path
    assert broken.read_bytes() == whole
    assert [e.kind for e in events if e.kind == "warn"] == ["warn"]
    assert os.listdir(cache) == [path.name]
