"""Connect to a port, send some bytes and say what came back.

Runs as `python3 -I drive_tcp.py` (Python 3.9 or newer); the contract is in README.md.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import sys
import time
from typing import Any

BODY_LIMIT = 65536  # bytes of an answer that are handed on
QUIET = 0.3  # seconds without a byte after which an answer is complete
QUIET_LINE = 0.1  # the same where it ends with a line
RETRY_PAUSE = 0.05


class Answer:
    """Collects what comes back: its size and digest in full, its first bytes for reading."""

    def __init__(self) -> None:
        self.body = b""
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._digest.update(data)
        self.size += len(data)
        if len(self.body) < BODY_LIMIT:
            self.body = (self.body + data)[:BODY_LIMIT]

    def fields(self) -> dict[str, Any]:
        """Name them as `minify.model.Observation` does."""
        return {
            "body": base64.b64encode(self.body).decode("ascii"),
            "body_sha256": self._digest.hexdigest(),
            "body_size": self.size,
        }


def describe(error: OSError) -> str:
    """Say in a few words that do not vary from run to run what went wrong."""
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return error.strerror or str(error) or type(error).__name__


def connect(drive: dict[str, Any]) -> socket.socket:
    """Connect within `timeout` seconds, again while refused for up to `retry_for` seconds."""
    until = time.monotonic() + float(drive.get("retry_for", 0))
    while True:
        try:
            address = (drive["host"], int(drive["port"]))
            return socket.create_connection(address, timeout=float(drive.get("timeout", 10)))
        except ConnectionRefusedError:
            if time.monotonic() >= until:
                raise
            time.sleep(RETRY_PAUSE)


def converse(
    connection: socket.socket, drive: dict[str, Any], answer: Answer, timeout: float
) -> str:
    """Send, then read until `expect` matches, quiet, closed, or `timeout` seconds have passed.

    Without `expect`, or before the first byte, the wait for bytes is the whole timeout only when
    something was asked for; a silent server that was sent nothing is quiet. Returns how it ended:
    "matched", "quiet", "closed" or "timeout".
    """
    until = time.monotonic() + timeout
    expect = drive.get("expect") or ""
    pattern = re.compile(expect.encode(), re.DOTALL) if expect else None
    sent = base64.b64decode(drive.get("send") or "")
    connection.sendall(sent)
    heard = b""  # by this step
    while True:
        left = until - time.monotonic()
        patient = pattern is not None or (bool(sent) and not heard)
        if left <= 0:
            return "timeout"
        quiet = QUIET_LINE if heard.endswith(b"\n") else QUIET
        connection.settimeout(left if patient else min(quiet, left))
        try:
            data = connection.recv(65536)
        except socket.timeout:  # noqa: UP041 - another class before Python 3.10
            return "timeout" if patient else "quiet"
        if not data:
            return "closed"
        answer.add(data)
        heard = (heard + data)[:BODY_LIMIT]
        if pattern and pattern.search(heard):
            return "matched"


def all_steps(connection: socket.socket, drive: dict[str, Any], answer: Answer) -> tuple[bool, str]:
    """Play a drive's own request and its further steps; returns whether all went well, and how."""
    ended = ""
    steps = drive.get("steps") or ()
    own = [drive] if not steps or drive.get("send") or drive.get("expect") else []
    for step in (*own, *steps):
        ended = converse(connection, step, answer, float(drive.get("timeout", 10)))
        if step.get("expect") and ended != "matched":
            return False, ended
    return True, ended


def leave(connection: socket.socket) -> None:
    """Say that nothing more will come, and hear a talker out, but not for long.

    Closing with bytes unread resets the connection (RFC 1122, section 4.2.2.13): the service would
    now and then fail in the middle of its answer, and log it.
    """
    until = time.monotonic() + QUIET
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return


def drive_one(drive: dict[str, Any]) -> dict[str, Any]:
    """Do one drive; the answer has the fields of `minify.model.Observation`."""
    answer, ok, error = Answer(), False, ""
    try:
        with connect(drive) as connection:
            ok, ended = all_steps(connection, drive, answer)
            if ended != "closed":
                leave(connection)
        if not ok:
            error = f"expected text did not come: {ended}"
        elif ended == "timeout" and not answer.size:
            error = "silent"
    except OSError as problem:
        error = describe(problem)
    return {
        "drive": drive["id"], "port": int(drive["port"]), "ok": ok, "status": 0, "headers": [],
        "error": error, "protocol": "tcp", **answer.fields(),
    }  # fmt: skip


def check(drive: dict[str, Any]) -> None:
    """Raise what a malformed drive raises, before anything is sent."""
    str(drive["id"]), str(drive["host"]), int(drive["port"]), float(drive.get("timeout", 10))
    float(drive.get("retry_for", 0))
    for step in (drive, *(drive.get("steps") or ())):
        re.compile((step.get("expect") or "").encode())
        base64.b64decode(step.get("send") or "", validate=True)


def main() -> int:
    """Answer each line of requests until stdin ends; returns the contract's exit status."""
    for line in iter(sys.stdin.readline, ""):
        try:
            drives = json.loads(line)["drives"]
            for drive in drives:
                check(drive)
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            print(f"drive_tcp: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            print(json.dumps(drive_one(drive)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
