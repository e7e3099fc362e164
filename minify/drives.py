"""Read drives as people write them: one line of text, or a mapping in the configuration file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from minify.errors import UsageError
from minify.model import Drive, ExecDrive, HttpDrive, SignalDrive, TcpDrive

_HTTP = re.compile(
    r"(?:(?P<method>[A-Za-z]+)\s+)?(?:(?P<scheme>https?)://[^:/\s]*)?"
    r"(?::(?P<port>\d+))?(?P<path>/\S*)?"
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"})


def http_drive(text: str) -> HttpDrive:
    """Read "GET /path", "/path", "POST :8080/path" or "GET https://:8443/"; raises UsageError."""
    found = _HTTP.fullmatch(text.strip())
    method = (found["method"] or "GET").upper() if found else ""
    if not found or not text.strip() or method not in METHODS:
        raise UsageError(
            f"not an HTTP probe: {text!r}",
            hint="write METHOD [:PORT]/PATH, as in 'GET /health' or 'POST :8080/items'",
        )
    return HttpDrive(
        id=" ".join(text.split()),
        method=method,
        path=found["path"] or "/",
        port=_port(found["port"] or "0", text),
        tls=found["scheme"] == "https",
    )


def tcp_drive(text: str) -> TcpDrive:
    r"""Read "PORT" or "PORT:SEND" with escapes ("6379:PING\r\n"); raises UsageError."""
    number, _, send = text.partition(":")
    if not number.strip().isdigit():
        raise UsageError(
            f"not a TCP probe: {text!r}",
            hint=r"write PORT or PORT:SEND, as in --tcp-probe '6379:PING\r\n'",
        )
    return TcpDrive(id=f"tcp {text.strip()}", port=_port(number, text), send=unescape(send))


def exec_drive(text: str | Sequence[str]) -> ExecDrive:
    """Read a command as a shell splits it, or as a list; raises UsageError."""
    try:
        argv = tuple(shlex.split(text)) if isinstance(text, str) else tuple(text)
    except ValueError as error:
        raise UsageError(f"not a command: {text!r} ({error})") from error
    if not argv:
        raise UsageError("an exec probe names no command", hint="--exec-probe 'redis-cli PING'")
    return ExecDrive(id="exec " + shlex.join(argv), argv=argv)


def _port(text: str, where: str) -> int:
    port = int(text)
    if port > 65535:
        raise UsageError(f"no such port in {where!r}: {port}", hint="ports end at 65535")
    return port


def unescape(text: str) -> bytes:
    r"""Turn C escapes (\r \n \t \0 \xNN \\) into bytes."""
    names = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out = b""
    for part in re.split(r"(\\x[0-9a-fA-F]{2}|\\[rnt0\\])", text):
        if part.startswith("\\x") and len(part) == 4:
            out += bytes([int(part[2:], 16)])
        elif len(part) == 2 and part[0] == "\\":
            out += names[part[1]]
        else:
            out += part.encode()
    return out


def drive_from(kind: str, value: Any) -> Drive:
    """Read one item of `http_probes`, `tcp_probes`, `exec_probes` or `signal_probes`."""
    if kind == "http":
        return http_drive(value) if isinstance(value, str) else _http_mapping(value)
    if kind == "tcp":
        return tcp_drive(str(value)) if not isinstance(value, Mapping) else _tcp_mapping(value)
    if kind == "signal":
        return SignalDrive(id=f"signal {value}", signal=str(value))
    if isinstance(value, Mapping):
        drive = exec_drive(value["command"])
        return ExecDrive(drive.id, drive.argv, value.get("exit", 0), value.get("timeout", 60.0))
    return exec_drive(value)


def _http_mapping(value: Mapping[str, Any]) -> HttpDrive:
    method, path = str(value.get("method", "GET")).upper(), str(value.get("path", "/"))
    query = value.get("query")
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query, doseq=True)
    headers = {str(k): str(v) for k, v in (value.get("headers") or {}).items()}
    body, content_type = _body(value)
    if content_type and "content-type" not in {h.lower() for h in headers}:
        headers["Content-Type"] = content_type
    status = value.get("status", ())
    port = int(value.get("port", 0))
    return HttpDrive(
        id=str(value.get("name") or f"{method} {f':{port}' if port else ''}{path}"),
        method=method,
        path=path,
        port=port,
        headers=tuple(headers.items()),
        body=body,
        expect_status=tuple(status) if isinstance(status, list) else ((status,) if status else ()),
        expect_body=str(value.get("expect", "")),
        tls=bool(value.get("tls", False)),
        timeout=float(value.get("timeout", 30.0)),
    )


def _body(value: Mapping[str, Any]) -> tuple[bytes, str]:
    if "json" in value:
        return json.dumps(value["json"]).encode(), "application/json"
    if "form" in value:
        form = urlencode(value["form"], doseq=True)
        return form.encode(), "application/x-www-form-urlencoded"
    return str(value.get("body", "")).encode(), ""


def _tcp_mapping(value: Mapping[str, Any]) -> TcpDrive:
    send = str(value.get("send", ""))
    port = int(value["port"])
    return TcpDrive(
        id=str(value.get("name") or f"tcp {port}"),
        port=port,
        send=send.encode(),
        expect=str(value.get("expect", "")),
        timeout=float(value.get("timeout", 10.0)),
    )
