"""Exercise a running container with its drives and note what the outside sees."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from minify.codec import to_plain
from minify.engines import Container
from minify.model import (
    Drive,
    ExecDrive,
    HttpDrive,
    Observation,
    SignalDrive,
    TcpDrive,
)
from minify.probe import Probe
from minify.ready import QUIET, connects, cpu_seconds, listening, wait_until

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

ExecPrefix = Callable[[], tuple[str, ...]]


def expand(drives: Iterable[Drive], ports: Sequence[int]) -> tuple[Drive, ...]:
    """Give every HTTP drive without a port one copy per port."""
    out: list[Drive] = []
    for drive in drives:
        if isinstance(drive, HttpDrive) and drive.port == 0:
            many = len(ports) > 1
            out += [
                replace(drive, port=p, id=f"{drive.id} :{p}" if many else drive.id) for p in ports
            ]
        else:
            out.append(drive)
    return tuple(out)


def play(
    container: Container, drives: Sequence[Drive], probes: dict[str, Probe], prefix: ExecPrefix
) -> Iterator[Observation]:
    """Play drives in order; `probes` are the programs waiting to send HTTP and TCP requests."""
    for kind, group in groupby(drives, key=lambda d: d.KIND):
        batch = list(group)
        if kind in ("http", "tcp"):
            yield from _network(container, batch, probes[kind])
        for drive in batch:
            if isinstance(drive, ExecDrive):
                yield _exec(container, drive, prefix())
            elif isinstance(drive, SignalDrive):
                yield _signal(container, drive)


def _network(container: Container, drives: Sequence[Drive], probe: Probe) -> Iterator[Observation]:
    sent = [d for d in drives if isinstance(d, HttpDrive | TcpDrive)]
    requests = [_request(container, d) for d in sent]
    probe.request({"drives": requests})
    for drive in sent:
        answer = probe.answer(drive.timeout * 2 + 30)
        if answer is None:
            yield Observation(drive.id, drive.port, error=f"probe ended: {probe.complaint}")
        else:
            yield _observation(drive, answer)


def _request(container: Container, drive: HttpDrive | TcpDrive) -> dict[str, Any]:
    host, port = container.address(drive.port)
    return {**to_plain(drive), "host": host, "port": port}


def _observation(drive: HttpDrive | TcpDrive, answer: dict[str, Any]) -> Observation:
    headers = [(str(k).lower(), str(v)) for k, v in answer.get("headers") or ()]
    return Observation(
        drive=drive.id,
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


def _exec(container: Container, drive: ExecDrive, prefix: tuple[str, ...]) -> Observation:
    status, output = container.execute((*prefix, *drive.argv), drive.timeout)
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


def answers_http(container: Container, port: int) -> bool:
    """Whether a port accepts a connection at all."""
    return connects(container.address(port))
