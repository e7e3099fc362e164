"""Exercise a running container with its drives and note what the outside sees."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from minify.codec import to_plain
from minify.engines import Container
from minify.imports import find
from minify.model import (
    HEALTHCHECK,
    Drive,
    ExecDrive,
    FindingDrive,
    GrpcDrive,
    HttpDrive,
    Observation,
    RunDrive,
    SignalDrive,
    SqlDrive,
    TcpDrive,
    WebSocketDrive,
)
from minify.probe import Probe
from minify.ready import QUIET, cpu_seconds, listening, pause, wait_until
from minify.run import TimedOutError, run, users_environment
from minify.runs.silent import patiently

# Headers that are part of what an answer means; the rest (dates, ids, server builds) is not.
CHOSEN_HEADERS = frozenset(
    (
        "content-type",
        "location",
        "www-authenticate",
        "allow",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-disposition",
        "vary",
        "access-control-allow-origin",
    )
)
BODY_KEPT = 64 * 1024
TAIL = 40  # lines of a failed command's output that are shown

ExecPrefix = Callable[[], tuple[str, ...]]
# Seconds after the first drive in which a failed command is run again: one that was asked for, and
# the image's own check, which may well fail in this surrounding and is not to cost much then.
PATIENCE, CHECKED, AGAIN = 5.0, 2.0, 0.2
ANSWERED = 30.0  # seconds on top of what a drive may take itself


@dataclass(frozen=True)
class Tools:
    """What drives are played with: the programs waiting by kind, the prefix of a command run
    inside, and the ports that are open."""

    probes: Mapping[str, Probe]
    prefix: ExecPrefix
    ports: Sequence[int] = ()


def program_of(drive: Drive) -> str:
    """The kind of program in `probes/` that plays a drive; empty when none does."""
    if isinstance(drive, FindingDrive):
        return "http"
    return "" if isinstance(drive, ExecDrive | RunDrive | SignalDrive) else drive.KIND


def expand(drives: Iterable[Drive], ports: Sequence[int]) -> tuple[Drive, ...]:
    """Give every drive that may have a port and names none one copy per port."""
    out: list[Drive] = []
    many = len(ports) > 1
    for drive in drives:
        if isinstance(drive, HttpDrive | WebSocketDrive | FindingDrive) and drive.port == 0:
            out += [
                replace(drive, port=p, id=f"{drive.id} :{p}" if many else drive.id) for p in ports
            ]
        else:
            out.append(drive)
    return tuple(out)


def play(container: Container, drives: Sequence[Drive], tools: Tools) -> Iterator[Observation]:
    """Play drives in order."""
    began = time.monotonic()
    for kind, group in groupby(drives, key=program_of):
        if not kind:
            yield from (_beside(container, d, tools, began) for d in group)
            continue
        for finding, batch in groupby(group, key=lambda d: isinstance(d, FindingDrive)):
            if finding:
                for drive in batch:
                    yield from _find(container, drive, tools.probes[kind])
            else:
                yield from _asked(container, list(batch), tools.probes[kind])


def _beside(container: Container, drive: Drive, tools: Tools, began: float) -> Observation:
    """Play a drive that needs no program of `probes/`."""
    if isinstance(drive, ExecDrive):
        return _exec(container, drive, tools.prefix, began)
    if isinstance(drive, RunDrive):
        return _run(container, drive, tools.ports)
    assert isinstance(drive, SignalDrive)
    return _signal(container, drive)


def _asked(container: Container, drives: Sequence[Any], probe: Probe) -> Iterator[Observation]:
    """Send a batch, and again what a service that is still being loaded did not answer."""
    known = {(drive.id, drive.port): drive for drive in drives}

    def again(seen: Observation) -> Observation:
        return next(_network(container, [known[seen.drive, seen.port]], probe))

    yield from patiently(container, _network(container, drives, probe), again)


def _network(container: Container, drives: Sequence[Any], probe: Probe) -> Iterator[Observation]:
    """Send a batch; a drive may be answered by several observations, all but the last `more`."""
    probe.request({"drives": [_request(container, d) for d in drives]})
    for drive in drives:
        more = True
        while more:
            answer = probe.answer(_patience(drive))
            if answer is None:
                yield Observation(drive.id, drive.port, error=f"probe ended: {probe.complaint}")
                break
            more = bool(answer.get("more"))
            yield _observation(drive, answer)


def _patience(drive: Any) -> float:
    """How long a program may take to answer, in seconds."""
    times = 2
    if isinstance(drive, HttpDrive):
        times *= (1 + drive.retries) * (1 + drive.follow)
    elif isinstance(drive, TcpDrive | WebSocketDrive):
        times += len(drive.steps)
    elif isinstance(drive, SqlDrive):
        times += len(drive.statements)
    elif isinstance(drive, GrpcDrive):
        times += len(drive.calls)
    return float(drive.timeout) * times + ANSWERED


def _find(container: Container, drive: Drive, probe: Probe) -> Iterator[Observation]:
    """Let a finder say what to ask next, from the answers it has got so far."""
    assert isinstance(drive, FindingDrive)
    finder = find(drive)
    batch = next(finder, None)
    while batch:
        answers = list(_network(container, batch, probe))
        # Only the first of a body is kept, as for any other request.
        yield from (replace(a, body=a.body[:BODY_KEPT]) for a in answers)
        try:
            batch = finder.send(answers)
        except StopIteration:
            return


def _request(container: Container, drive: Any) -> dict[str, Any]:
    host, port = container.address(drive.port)
    return {**to_plain(drive), "host": host, "port": port}


def _run(container: Container, drive: RunDrive, ports: Sequence[int]) -> Observation:
    """Run the user's own command on the host; its exit status counts, its output is for people."""
    argv = [*container.beside, *drive.argv]
    env = {**users_environment(), **_told(container, ports)}
    try:
        done = run(argv, timeout=drive.timeout, env=env, cwd=drive.folder or None, check=False)
    except TimedOutError as late:
        return Observation(drive.id, error=late.message, protocol="run")
    good = done.returncode == drive.expect_exit
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL:])
    error = "" if good else f"exit status {done.returncode}\n{tail}".rstrip()
    return Observation(drive.id, ok=good, status=done.returncode, error=error, protocol="run")


def _told(container: Container, ports: Sequence[int]) -> dict[str, str]:
    """Where the service is, as the user's command is told."""
    reached = {port: container.address(port) for port in ports}
    told = {f"MINIFY_PORT_{port}": str(there) for port, (_, there) in reached.items()}
    if reached:
        host, port = next(iter(reached.values()))
        shown = f"[{host}]" if ":" in host else host
        told |= {"MINIFY_HOST": host, "MINIFY_PORT": str(port)}
        told["MINIFY_URL"] = f"http://{shown}:{port}"
    return told


def _observation(drive: Any, answer: dict[str, Any]) -> Observation:
    headers = [(str(k).lower(), str(v)) for k, v in answer.get("headers") or ()]
    return Observation(
        drive=_name(drive, answer),
        port=drive.port,
        ok=bool(answer.get("ok")),
        status=int(answer.get("status") or 0),
        headers=tuple(sorted(h for h in headers if h[0] in CHOSEN_HEADERS)),
        body_sha256=str(answer.get("body_sha256") or ""),
        body_size=int(answer.get("body_size") or 0),
        body=base64.b64decode(answer.get("body") or b""),
        error=str(answer.get("error") or ""),
        protocol=str(answer.get("protocol") or ""),
    )


def _name(drive: Any, answer: dict[str, Any]) -> str:
    """A drive that is answered more than once says which part each answer is of."""
    part = answer.get("part")
    return f"{drive.id}: {part}" if part else str(drive.id)


def _exec(container: Container, drive: ExecDrive, prefix: ExecPrefix, began: float) -> Observation:
    """Run a command inside, again for a few seconds while the service may still be starting.

    A database that listens already may refuse its clients for a moment. A command that is not there
    (126, 127) will not come.
    """
    until = began + (CHECKED if drive.id == HEALTHCHECK else PATIENCE)
    while True:
        status, output = container.execute((*prefix(), *drive.argv), drive.timeout)
        if status in (drive.expect_exit, 126, 127) or time.monotonic() >= until:
            break
        pause(AGAIN)
    return Observation(
        drive=drive.id,
        ok=status == drive.expect_exit,
        status=status,
        body_sha256=hashlib.sha256(output).hexdigest(),
        body_size=len(output),
        body=output[:BODY_KEPT],
        error="" if status == drive.expect_exit else f"exit status {status}",
        protocol="exec",
    )


def _signal(container: Container, drive: SignalDrive) -> Observation:
    """Send a signal, then wait until the service has digested it: idle, with its ports open."""
    pid = container.pid
    before = listening(pid) if pid else ()
    container.signal(drive.signal)
    seen = [-1.0]

    def settled() -> bool:
        used = cpu_seconds(pid) if pid else 0.0
        same, seen[0] = used == seen[0], used
        return same and (not pid or set(before) <= set(listening(pid)))

    alive = wait_until(lambda: settled() or not container.running(), 10.0, tick=QUIET)
    alive = alive and container.running()
    error = "" if alive else f"ended or unsettled after {drive.signal}"
    return Observation(drive.id, ok=alive, error=error, protocol="signal")
