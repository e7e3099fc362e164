"""Shebang lines, read by the kernel's rules (execve(2)) and env's (env(1))."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene, script
from minify.resolvers.script import env_command, shebang
from tests.kit import Content, Exec, Link, tree


def ask(
    files: dict[str, Content], path: str, touched: tuple[str, ...] = ()
) -> tuple[list[str], int]:
    made = tree(files)
    config = ImageConfig(workdir="/work")
    env = {"PATH": "/none:/usr/bin:/bin"}
    scene = Scene(made, config, env, frozenset(), frozenset(touched), frozenset(), KeepLevel.EXACT)
    answers = list(script.make().needs(scene, made.entries[path]))
    found = [a.path for a in answers if isinstance(a, Need)]
    return found, sum(isinstance(a, Finding) for a in answers)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"#!/bin/sh\necho", ("/bin/sh", "")),
        (b"#! \t/bin/sh  -e -u \t\n", ("/bin/sh", "-e -u")),
        (b"#!/bin/sh", ("/bin/sh", "")),
        (b"#!/bin/sh\r\n", ("/bin/sh\r", "")),
        (b"#!/bin/sh\0x\n", ("/bin/sh", "")),
        (b"#!\n", None),
        (b"#!   \n", None),
        (b" #!/bin/sh\n", None),
        (b"#!" + b"a" * 300, None),
        (b"#!/bin/sh " + b"a" * 300, ("/bin/sh", "a" * 245)),
    ],
)
def test_shebang(head: bytes, words: tuple[str, str] | None) -> None:
    assert shebang(head) == words


@pytest.mark.parametrize(
    ("argument", "command"),
    [
        ("python3", "python3"),
        ("python3 -u", "python3 -u"),
        ("-S python3 -u", "python3"),
        ("-Spython3 -u", "python3"),
        ("--split-string=python3 -u", "python3"),
        ("-S -i -u HOME A=b node --x", "node"),
        ("-S 'my prog' x", "my prog"),
        ("-S 'open", "'open"),
        ("", ""),
        ("-i", ""),
    ],
)
def test_env_command(argument: str, command: str) -> None:
    assert env_command(argument, "/bin")[0] == command


def test_env_sets_its_own_path() -> None:
    assert env_command("-S PATH=/opt/bin tool", "/bin") == ("tool", "/opt/bin")


def test_interpreter_and_the_program_behind_env() -> None:
    files: dict[str, Content] = {
        "/app": Exec(b"#!/usr/bin/env node\n"),
        "/usr/bin/env": Exec(b"x" * 9),
        "/bin/node": Link("/opt/node"),
        "/opt/node": Exec(b"x" * 9),
    }
    assert ask(files, "/app") == (["/usr/bin/env", "/bin/node"], 0)


def test_missing_interpreters_are_findings() -> None:
    assert ask({"/app": Exec(b"#!/usr/bin/env node\n")}, "/app") == ([], 2)
    assert ask({"/app": Exec(b"#!/bin/zsh\n")}, "/app") == ([], 1)


def test_only_scripts_that_can_run_or_were_used() -> None:
    files: dict[str, Content] = {"/lib.sh": "#!/bin/sh\n", "/bin/sh": Exec(b"x")}
    assert ask(files, "/lib.sh") == ([], 0)
    assert ask(files, "/lib.sh", ("/lib.sh",)) == (["/bin/sh"], 0)


def test_relative_interpreter_is_of_the_working_directory() -> None:
    files: dict[str, Content] = {"/app": Exec(b"#!tool\n"), "/work/tool": Exec(b"x")}
    assert ask(files, "/app") == (["/work/tool"], 0)


@pytest.mark.parametrize("length", [200, 253, 254, 255, 256, 257, 300])
def test_length_limit_is_the_kernels(tmp_path: Path, length: int) -> None:
    """The kernel runs exactly the scripts whose interpreter we can read."""
    deep = tmp_path / ("d" * max(1, length - len(str(tmp_path)) - 2 - len("/sh") - 1))
    name = f"#!{deep}/sh"
    if len(name) != length or len(deep.name) > 250:
        pytest.skip("the temporary folder's name is too long")
    deep.mkdir()
    (deep / "sh").symlink_to("/bin/sh")
    program = tmp_path / "script"
    program.write_text(f"{name}\nexit 7\n")
    program.chmod(stat.S_IRWXU)
    try:
        ran = subprocess.run([str(program)]).returncode == 7
    except OSError:
        ran = False
    words = shebang(program.read_bytes()[:257])
    assert (words is not None and os.path.exists(words[0])) is ran
