"""Send HTTP requests to a port and say what came back.

Runs as `python3 -I drive_http.py` (Python 3.9 or newer); the contract is in README.md. A port that
speaks TLS, or no HTTP at all, is an answer, not an error: RFC 9112, RFC 8446 section 6 (alerts).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import re
import socket
import ssl
import string
import sys
import time
import urllib.parse
from typing import Any

BODY_LIMIT = 65536  # bytes of a body that are handed on
READ_LIMIT = 1 << 30  # bytes after which a body counts as never-ending
RETRY_PAUSE = 0.05
PATH_SAFE = string.punctuation  # sent as they are; blanks, controls and non-ASCII are escaped
TLS_ALERT, TLS_HANDSHAKE = 0x15, 0x16  # first byte of a TLS record (RFC 8446, 5.1)
# What web servers tell a client that speaks plain HTTP to their TLS port.
WANTS_TLS = re.compile(
    rb"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"
    rb"|speaking plain HTTP to an SSL-enabled|HTTPS required|requires TLS",
    re.IGNORECASE,
)


class NotHttp(Exception):  # noqa: N818 - reads as the finding it is
    """The port is open but what answers there is not HTTP; `data` is what it said."""

    def __init__(self, error: Exception, data: bytes = b"") -> None:
        super().__init__(f"not HTTP: {describe(error)}")
        self.data = data
        self.timed_out = isinstance(error, socket.timeout)


class _Heard:
    """Remembers the first bytes a server sent, which http.client throws away when it fails."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.first = b""

    def makefile(self, _mode: str) -> Any:
        """Hand http.client a file of which the beginning was looked at."""
        self.first = peek(self._sock)
        return self._sock.makefile("rb")


def peek(sock: socket.socket) -> bytes:
    """Look at the first bytes without taking them (a TLS socket cannot: nothing)."""
    if isinstance(sock, ssl.SSLSocket):
        return b""
    return sock.recv(4096, socket.MSG_PEEK)


def describe(error: Exception) -> str:
    """Say in a few words that do not vary from run to run what went wrong."""
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "connection reset"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


def connect(drive: dict[str, Any]) -> socket.socket:
    """Connect within `timeout` seconds, again while refused for up to `retry_for` seconds."""
    until = time.monotonic() + float(drive.get("retry_for", 0))
    while True:
        try:
            address = (drive["host"], int(drive["port"]))
            return socket.create_connection(address, timeout=float(drive.get("timeout", 30)))
        except ConnectionRefusedError:
            if time.monotonic() >= until:
                raise
            time.sleep(RETRY_PAUSE)


def secured(sock: socket.socket, host: str) -> socket.socket:
    """Speak TLS over a connection, with whatever certificate and version it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context.wrap_socket(sock, server_hostname=host)


def head(drive: dict[str, Any], tls: bool) -> bytes:
    """Write the request: line, headers (the drive's win over our own), body."""
    given = [(str(k), str(v)) for k, v in drive.get("headers") or ()]
    names = {name.lower() for name, _ in given}
    body = base64.b64decode(drive.get("body") or "")
    method, port = drive.get("method") or "GET", int(drive["port"])
    host = f"[{drive['host']}]" if ":" in drive["host"] else drive["host"]
    own = [
        ("Host", host if port == (443 if tls else 80) else f"{host}:{port}"),
        ("User-Agent", "minify"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        own.append(("Content-Length", str(len(body))))
    path = urllib.parse.quote(drive.get("path") or "/", safe=PATH_SAFE)
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{k}: {v}" for k, v in own if k.lower() not in names]
    lines += [f"{k}: {v}" for k, v in given]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def ask(drive: dict[str, Any], tls: bool) -> dict[str, Any]:
    """Send one request over a new connection and read its answer.

    Raises NotHttp when what answers is not HTTP, OSError when nothing does.
    """
    sock = connect(drive)
    with sock:
        deadline = time.monotonic() + float(drive.get("timeout", 30))
        if tls:
            sock = secured(sock, drive["host"])
        heard = _Heard(sock)
        try:
            # A server may refuse a long body and close before it has it all; its answer is there.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(head(drive, tls))
            response = http.client.HTTPResponse(heard, method=drive.get("method") or "GET")  # type: ignore[arg-type]
            response.begin()
        except (http.client.HTTPException, OSError, ValueError) as error:
            if isinstance(error, ssl.SSLError):
                raise
            raise NotHttp(error, heard.first) from error
        fields = read_body(response, sock, deadline)
        fields["status"] = response.status
        fields["headers"] = sorted([k.lower(), v] for k, v in response.getheaders())
        return fields


def read_body(
    response: http.client.HTTPResponse, sock: socket.socket, deadline: float
) -> dict[str, Any]:
    """Read a body to its end or the deadline (seconds, monotonic); an early end is flagged."""
    digest, size, kept, error = hashlib.sha256(), 0, b"", ""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or size >= READ_LIMIT:
            error = "body did not end"
            break
        try:
            if not response.isclosed():
                sock.settimeout(left)
            data = response.read1(65536)
        except socket.timeout:  # noqa: UP041 - another class before Python 3.10
            error = "body did not end"
            break
        except (http.client.HTTPException, OSError, ValueError) as problem:
            error = f"body ended early: {describe(problem)}"
            break
        if not data:
            if response.length:
                error = f"body ended early: {response.length} bytes missing"
            break
        digest.update(data)
        size += len(data)
        kept = (kept + data)[:BODY_LIMIT] if len(kept) < BODY_LIMIT else kept
    body = base64.b64encode(kept).decode("ascii")
    return {"body": body, "body_sha256": digest.hexdigest(), "body_size": size, "error": error}


def wants_tls(fields: dict[str, Any]) -> bool:
    """Whether an answer says that the port speaks TLS."""
    if fields["status"] == 0:
        return False
    body = base64.b64decode(fields["body"])
    return 400 <= fields["status"] < 500 and bool(WANTS_TLS.search(body))


def exchange(drive: dict[str, Any]) -> dict[str, Any]:
    """Ask in plain HTTP or TLS as told; a TLS port that was asked in plain is asked again."""
    tls = bool(drive.get("tls"))
    try:
        fields = {**ask(drive, tls), "protocol": "https" if tls else "http"}
    except NotHttp as answer:
        alert = answer.data[:1] in (bytes((TLS_ALERT,)), bytes((TLS_HANDSHAKE,)))
        if not tls and (alert or not (answer.data or answer.timed_out)):
            again = secure_again(drive)
            if again:
                return again
        return silent(answer)
    return (not tls and wants_tls(fields) and secure_again(drive)) or fields


def secure_again(drive: dict[str, Any]) -> dict[str, Any] | None:
    """Ask once more in TLS, briefly; None when that is not the language either."""
    brief = {**drive, "retry_for": 0, "timeout": min(5.0, float(drive.get("timeout", 30)))}
    try:
        return {**ask(brief, True), "protocol": "https"}
    except (NotHttp, OSError):
        return None


def silent(answer: NotHttp) -> dict[str, Any]:
    """Describe a port that is open but does not speak HTTP; its greeting is the body."""
    return {
        "protocol": "tcp", "error": str(answer), "status": 0, "headers": [],
        "body": base64.b64encode(answer.data).decode("ascii"), "body_size": len(answer.data),
        "body_sha256": hashlib.sha256(answer.data).hexdigest(),
    }  # fmt: skip


def judge(drive: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Decide whether an answer is as expected; `error` says in words why it is not."""
    wanted, pattern = drive.get("expect_status") or (), drive.get("expect_body") or ""
    if fields["protocol"] == "tcp":
        return not wanted and not pattern
    status = fields["status"]
    good = status in wanted if wanted else status < 500
    if not good:
        fields["error"] = fields["error"] or f"HTTP status {status}"
    if pattern and not re.search(pattern.encode(), base64.b64decode(fields["body"]), re.DOTALL):
        fields["error"] = fields["error"] or "expected text is not in the body"
        return False
    return good and not fields["error"].startswith("body ended early")


def drive_one(drive: dict[str, Any]) -> dict[str, Any]:
    """Do one drive; the answer has the fields of `minify.model.Observation`."""
    base: dict[str, Any] = {
        "drive": drive["id"], "port": int(drive["port"]), "ok": False, "status": 0, "headers": [],
        "body": "", "body_sha256": hashlib.sha256(b"").hexdigest(), "body_size": 0, "error": "",
        "protocol": "",
    }  # fmt: skip
    try:
        fields = exchange(drive)
    except OSError as error:
        return {**base, "error": describe(error)}
    return {**base, **fields, "ok": judge(drive, fields), "error": fields["error"]}


def check(drive: dict[str, Any]) -> None:
    """Raise what a malformed drive raises, before anything is sent."""
    str(drive["id"]), int(drive["port"]), float(drive.get("timeout", 30))
    float(drive.get("retry_for", 0))
    re.compile((drive.get("expect_body") or "").encode())
    words = [drive.get("method") or "", *(w for pair in drive.get("headers") or () for w in pair)]
    if any(char in word for word in words for char in "\r\n\0"):
        raise ValueError(f"drive {drive['id']}: line break in the method or a header")
    head(drive, False)


def main() -> int:
    """Answer each line of requests until stdin ends; returns the contract's exit status."""
    for line in iter(sys.stdin.readline, ""):
        try:
            drives = json.loads(line)["drives"]
            for drive in drives:
                check(drive)
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            print(f"drive_http: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            print(json.dumps(drive_one(drive)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
