"""A container from outside, by the `docker` program: start, ask, signal, restart, stop."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.scenario import Scenario, Step

READY = 90.0
ANSWER = 60.0
QUIET = 0.5
COMPARED = ("content-type", "content-encoding", "location", "etag", "allow", "vary",
            "last-modified", "content-range", "www-authenticate")  # fmt: skip

Answer = dict[str, str]


def docker(*argv: str, stdin: bytes = b"", timeout: float = 120.0) -> tuple[int, bytes, bytes]:
    """Run the docker program; returns exit status, standard output and standard error."""
    try:
        done = subprocess.run(["docker", *argv], input=stdin, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return 124, b"", b"timed out"
    return done.returncode, done.stdout, done.stderr


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition, up to `timeout` seconds; returns whether it came true."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class Container:
    """One container of an image under a scenario."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port

    @property
    def address(self) -> str:
        """Its address on the engine's bridge; changes with a restart."""
        wanted = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", wanted, self.name)[1].decode().strip()

    @property
    def running(self) -> bool:
        """Whether PID 1 is alive."""
        return docker("inspect", "--format", "{{.State.Running}}", self.name)[1].strip() == b"true"

    def log(self) -> str:
        """All it wrote so far."""
        _, out, err = docker("logs", self.name)
        return (out + err).decode(errors="replace")

    def ready(self) -> bool:
        """Wait until its port listens, or it ended; returns whether it listens."""
        wait_until(lambda: self._listens() or not self.running, READY)
        return self._listens()

    def _listens(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=2):
                return True
        except OSError:
            return False

    def ask(self, step: Step) -> Answer:
        """Do one step and tell what came back."""
        asked = {"http": self._http, "tcp": self._tcp, "exec": self._exec,
                 "signal": self._signal, "restart": self._restart}  # fmt: skip
        try:
            return asked[step.kind](step)
        except (OSError, http.client.HTTPException) as error:
            return {"error": type(error).__name__}

    def _http(self, step: Step) -> Answer:
        method, _, path = step.target.partition(" ")
        connection = http.client.HTTPConnection(
            self.address, step.port or self.port, timeout=ANSWER
        )
        with contextlib.closing(connection):
            headers = {"Host": "site.example", **dict(step.headers)}
            connection.request(method, path, body=step.body or None, headers=headers)
            response = connection.getresponse()
            body = response.read()
            shown = {name: response.headers.get(name, "") for name in COMPARED}
            shown["allow"] = ", ".join(sorted(shown["allow"].split(", ")))  # a set, in any order
        return {"status": str(response.status), "body": body.decode("latin-1"), **shown}

    def _tcp(self, step: Step) -> Answer:
        address = (self.address, step.port or self.port)
        parts = []
        with socket.create_connection(address, timeout=ANSWER) as connection:
            connection.sendall(step.body)
            while True:
                try:
                    part = connection.recv(65536)
                except TimeoutError:
                    break
                if not part:
                    parts.append(b"<closed>")
                    break
                parts.append(part)
                connection.settimeout(QUIET)
        return {"body": b"".join(parts).decode("latin-1")}

    def _exec(self, step: Step) -> Answer:
        user = ["--user", step.user] if step.user else []
        status, out, err = docker("exec", *user, self.name, *step.argv, timeout=ANSWER)
        return {"exit": str(status), "stdout": _text(out), "stderr": _text(err)}

    def _signal(self, step: Step) -> Answer:
        before = len(self.log())
        docker("kill", "--signal", step.target, self.name)
        seen = True
        if step.until_log:
            pattern = re.compile(step.until_log)
            seen = wait_until(lambda: bool(pattern.search(self.log()[before:])), 30)
        return {"log": "as awaited" if seen else "never came", "running": str(self.running)}

    def _restart(self, _step: Step) -> Answer:
        docker("restart", "--time", "30", self.name)
        return {"listens": str(self.ready())}

    def stop(self) -> Answer:
        """Stop it with its own stop signal; tells its exit status."""
        alive = self.running
        docker("stop", "--time", "20", self.name)
        status = docker("inspect", "--format", "{{.State.ExitCode}}", self.name)[1]
        return {"alive": str(alive), "exit": _text(status).strip()}

    def run(self, scenario: Scenario) -> Answer:
        """Run it to its end with its standard input; tells what it wrote and its status."""
        argv = ("start", "--attach", "--interactive", self.name)
        status, out, err = docker(*argv, stdin=scenario.stdin, timeout=ANSWER)
        return {"exit": str(status), "stdout": _text(out), "stderr": _text(err)}


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _options(scenario: Scenario) -> Sequence[str]:
    options = [item for key, value in scenario.env for item in ("--env", f"{key}={value}")]
    options += [item for path in scenario.tmpfs for item in ("--tmpfs", path)]
    if scenario.user:
        options += ["--user", scenario.user]
    if scenario.entrypoint:
        options += ["--entrypoint", scenario.entrypoint]
    return options if scenario.port else [*options, "--interactive"]


@contextlib.contextmanager
def created(image: str, scenario: Scenario) -> Iterator[Container]:
    """Create a container for a scenario; it is removed, with its volumes, at the end."""
    options = ("--hostname", "replay", *_options(scenario))
    status, out, err = docker("create", *options, image, *scenario.command)
    if status != 0:
        raise RuntimeError(f"cannot create a container of {image}: {_text(err).strip()}")
    name = _text(out).strip()
    try:
        yield Container(name, scenario.port)
    finally:
        docker("rm", "--force", "--volumes", name)
