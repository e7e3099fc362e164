"""Open a WebSocket, send messages and say what came back (RFC 6455).

Runs as `python3 -I drive_websocket.py` (Python 3.9 or newer) with the package `websockets`; the
contract is in README.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import sys
import time
from typing import Any

BODY_LIMIT = 65536  # bytes of the messages that are handed on
QUIET = 0.5  # seconds without a message after which the answer is complete
BIGGEST = 16 << 20  # bytes of one message


def context_of(tls: dict[str, Any]) -> ssl.SSLContext:
    """Make a context that accepts any certificate, or one that checks."""
    if tls.get("check"):
        context = ssl.create_default_context(cafile=tls.get("authority") or None)
        context.check_hostname = bool(tls.get("name"))
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def opened(drive: dict[str, Any]) -> Any:
    """Open the connection; a context manager."""
    from websockets.sync.client import connect

    tls = drive.get("tls") or {}
    host = f"[{drive['host']}]" if ":" in drive["host"] else drive["host"]
    secure = {"ssl": context_of(tls), "server_hostname": tls.get("name") or drive["host"]}
    return connect(
        f"{'wss' if tls.get('on') else 'ws'}://{host}:{drive['port']}{drive.get('path') or '/'}",
        additional_headers=[(k, v) for k, v in drive.get("headers") or ()],
        open_timeout=float(drive.get("timeout", 10)),
        close_timeout=1,
        max_size=BIGGEST,
        compression=None,
        proxy=None,
        **(secure if tls.get("on") else {}),
    )


def message(data: bytes) -> str | bytes:
    """Text where it is text, as most servers expect."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def exchange(socket: Any, step: dict[str, Any], timeout: float) -> tuple[list[bytes], str]:
    """Send one message, wait until its pattern matches or quiet; returns messages and complaint."""
    sent, expect = base64.b64decode(step.get("send") or ""), step.get("expect") or ""
    if sent:
        socket.send(message(sent))
    heard: list[bytes] = []
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        waiting = bool(expect) or (bool(sent) and not heard)
        try:
            data = socket.recv(timeout=max(0.0, left if waiting else min(QUIET, left)))
        except TimeoutError:
            if expect:
                return heard, "expected message did not come"
            return heard, ""
        heard.append(data if isinstance(data, bytes) else data.encode())
        if expect and re.search(expect.encode(), heard[-1], re.DOTALL):
            return heard, ""


def converse(drive: dict[str, Any]) -> tuple[list[bytes], str]:
    """Open, then play all steps; without steps the server's greeting is waited for, briefly."""
    heard: list[bytes] = []
    with opened(drive) as socket:
        for step in drive.get("steps") or [{}]:
            more, wrong = exchange(socket, step, float(drive.get("timeout", 10)))
            heard += more
            if wrong:
                return heard, wrong
    return heard, ""


def drive_one(drive: dict[str, Any]) -> dict[str, Any]:
    """Do one drive; the answer has the fields of `minify.model.Observation`."""
    from websockets.exceptions import InvalidStatus, WebSocketException

    heard: list[bytes] = []
    status, protocol = 101, "websocket"
    try:
        heard, error = converse(drive)
    except InvalidStatus as refused:
        status = refused.response.status_code
        error = f"refused with HTTP status {status}"
    except WebSocketException as problem:
        error = f"WebSocket: {type(problem).__name__}"
    except (OSError, EOFError) as problem:
        status, protocol = 0, ""
        error = str(getattr(problem, "strerror", "") or type(problem).__name__)
    body = b"\n".join(heard)
    return {
        "drive": drive["id"], "port": int(drive["port"]), "ok": not error, "status": status,
        "headers": [], "body": base64.b64encode(body[:BODY_LIMIT]).decode("ascii"),
        "body_sha256": hashlib.sha256(body).hexdigest(), "body_size": len(body), "error": error,
        "protocol": protocol,
    }  # fmt: skip


def check(drive: dict[str, Any]) -> None:
    """Raise what a malformed drive raises, before anything is sent."""
    str(drive["id"]), str(drive["host"]), int(drive["port"]), float(drive.get("timeout", 10))
    for step in drive.get("steps") or ():
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
            print(f"drive_websocket: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            print(json.dumps(drive_one(drive)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
