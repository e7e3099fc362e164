"""The only place that starts a program.

List argv, an environment built from nothing, a deadline, a process group of its own that is killed
on any exit, and a failure that prints as a line one can paste into a shell.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from minify.errors import MinifyError, Unsupported

PASSED_ON = ("PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "DOCKER_CONFIG", "DOCKER_HOST",
             "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SSH_AUTH_SOCK",
             "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy",
             "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # fmt: skip
PACKAGES = {"strace": "strace", "runc": "runc", "crun": "crun", "skopeo": "skopeo",
            "nsenter": "util-linux", "zstd": "zstd"}  # fmt: skip

LAST_WORDS = 5.0  # seconds for what was written to arrive when a program has ended

TooSlow = subprocess.TimeoutExpired  # what a child's own `communicate` raises


@dataclass(frozen=True)
class Finished:
    """A program that ended: its exit status and what it wrote."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def program(name: str) -> str:
    """Find a program on PATH; raises Unsupported naming the Debian package that has it."""
    found = shutil.which(name)
    if not found:
        package = PACKAGES.get(name, name)
        raise Unsupported(
            f"program not found: {name}", hint=f"install it, on Debian: apt-get install {package}"
        )
    return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build a child's environment from nothing but a few named variables."""
    base = {k: v for k in PASSED_ON if (v := os.environ.get(k)) is not None}
    return {**base, "LC_ALL": "C.UTF-8", **(extra or {})}


def users_environment() -> dict[str, str]:
    """The whole environment minify was started with, for a command of the user's own."""
    return dict(os.environ)


class TimedOutError(MinifyError):
    """A program did not end within its time."""


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    check: bool = True,
) -> Finished:
    """Run a program to its end.

    `timeout` is in seconds. Raises MinifyError when it is missing, too slow, or (with `check`)
    exits with a status other than 0; the message carries the command line and the end of stderr.
    """
    with start(argv, env=env, cwd=cwd) as child:
        try:
            out, err = child.communicate(stdin.encode(), timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"timed out after {timeout:g} s: {shlex.join(argv)}") from error
    done = Finished(
        tuple(argv), child.returncode, out.decode(errors="replace"), err.decode(errors="replace")
    )
    if check and done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-20:])
        raise MinifyError(f"exit status {done.returncode}: {shlex.join(argv)}\n{tail}".rstrip())
    return done


def follow(
    argv: Sequence[str],
    tell: Callable[[str], None],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end, and tell each line it writes, to either stream, as it comes.

    `timeout` is in seconds. Raises MinifyError when it is missing or too slow.
    """
    with start(argv, env=env) as child:
        if child.stdin is not None:
            child.stdin.close()
        said: tuple[list[str], list[str]] = ([], [])
        readers = [
            threading.Thread(target=_tell_lines, args=(pipe, lines, tell), daemon=True)
            for pipe, lines in zip((child.stdout, child.stderr), said, strict=True)
        ]
        for reader in readers:
            reader.start()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"timed out after {timeout:g} s: {shlex.join(argv)}") from error
        for reader in readers:
            reader.join(LAST_WORDS)
    return Finished(tuple(argv), child.returncode, *("".join(lines) for lines in said))


def _tell_lines(pipe: IO[bytes], lines: list[str], tell: Callable[[str], None]) -> None:
    for raw in pipe:
        lines.append(raw.decode(errors="replace"))
        tell(lines[-1].rstrip("\r\n"))


@contextlib.contextmanager
def start(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program beside us with three pipes; its process group is killed on leaving."""
    try:
        child = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(env), cwd=cwd, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MinifyError(f"cannot start {argv[0]}: {error.strerror}") from error
    try:
        yield child
    finally:
        # Only a child not yet reaped still owns its group number; later it may be somebody else's.
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
