"""Read drives as people write them: one line of text, or a mapping in the configuration file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minify.config.httpform import http_from, sequence_from, tls_from
from minify.errors import UsageError
from minify.model import (
    Drive,
    Exchange,
    ExecDrive,
    GrpcDrive,
    HttpDrive,
    RunDrive,
    SignalDrive,
    SqlDrive,
    TcpDrive,
    Tls,
    WebSocketDrive,
)

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
        tls=Tls(on=found["scheme"] == "https"),
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


def drives_from(kind: str, value: Any, base: Path) -> tuple[Drive, ...]:
    """Read one item of `<kind>_probes`; relative paths start at `base`. Raises UsageError."""
    if kind == "http" and isinstance(value, Mapping) and "sequence" in value:
        return sequence_from(value, base)
    return (_READ[kind](value, base),)


def unique(drives: Iterable[Drive]) -> tuple[Drive, ...]:
    """Number drives of the same name, so that every answer is compared with its own."""
    seen: dict[str, int] = {}
    out = []
    for drive in drives:
        seen[drive.id] = seen.get(drive.id, 0) + 1
        number = seen[drive.id]
        out.append(replace(drive, id=f"{drive.id} ({number})") if number > 1 else drive)
    return tuple(out)


def _http(value: Any, base: Path) -> Drive:
    return http_drive(value) if isinstance(value, str) else http_from(value, base)


def _tcp(value: Any, _base: Path) -> Drive:
    if not isinstance(value, Mapping):
        return tcp_drive(str(value))
    port = int(value["port"])
    return TcpDrive(
        id=str(value.get("name") or f"tcp {port}"),
        port=port,
        send=str(value.get("send", "")).encode(),
        expect=str(value.get("expect", "")),
        timeout=float(value.get("timeout", 10.0)),
        steps=_steps(value),
    )


def _steps(value: Mapping[str, Any]) -> tuple[Exchange, ...]:
    return tuple(
        Exchange(s.encode()) if isinstance(s, str)
        else Exchange(str(s.get("send", "")).encode(), str(s.get("expect", "")))
        for s in value.get("steps", ())
    )  # fmt: skip


def _websocket(value: Any, base: Path) -> Drive:
    value = {"path": value} if isinstance(value, str) else value
    path, port = str(value.get("path", "/")), int(value.get("port", 0))
    return WebSocketDrive(
        id=str(value.get("name") or f"websocket {f':{port}' if port else ''}{path}"),
        path=path,
        port=port,
        headers=tuple((str(k), str(v)) for k, v in (value.get("headers") or {}).items()),
        steps=_steps(value),
        tls=tls_from(value.get("tls", False), base),
        timeout=float(value.get("timeout", 10.0)),
    )


def _sql(value: Any, _base: Path) -> Drive:
    dialect = str(value["dialect"])
    port = int(value.get("port", SQL_PORTS[dialect]))
    given = value["statements"]
    text = {k: str(value.get(k, "")) for k in ("user", "password", "database")}
    return SqlDrive(
        id=str(value.get("name") or f"{dialect} {port}"),
        dialect=dialect,
        port=port,
        statements=(given,) if isinstance(given, str) else tuple(given),
        timeout=float(value.get("timeout", 30.0)),
        **text,
    )


def _grpc(value: Any, base: Path) -> Drive:
    value = {"port": int(value)} if not isinstance(value, Mapping) else value
    port = int(value["port"])
    calls = [{"method": c} if isinstance(c, str) else c for c in value.get("calls", ())]
    return GrpcDrive(
        id=str(value.get("name") or f"grpc {port}"),
        port=port,
        calls=tuple((str(c["method"]), json.dumps(c.get("request", {}))) for c in calls),
        tls=tls_from(value.get("tls", False), base),
        timeout=float(value.get("timeout", 30.0)),
    )


def _exec(value: Any, _base: Path) -> Drive:
    if not isinstance(value, Mapping):
        return exec_drive(value)
    drive = exec_drive(value["command"])
    return ExecDrive(drive.id, drive.argv, value.get("exit", 0), value.get("timeout", 60.0))


def _run(value: Any, base: Path) -> Drive:
    value = value if isinstance(value, Mapping) else {"command": value}
    argv = exec_drive(value["command"]).argv
    return RunDrive(
        id=str(value.get("name") or "run " + shlex.join(argv)),
        argv=argv,
        folder=str((base / value.get("folder", ".")).resolve()),
        expect_exit=int(value.get("exit", 0)),
        timeout=float(value.get("timeout", 600.0)),
    )


def _signal(value: Any, _base: Path) -> Drive:
    return SignalDrive(id=f"signal {value}", signal=str(value))


SQL_PORTS = {"postgresql": 5432, "mysql": 3306}
_READ: dict[str, Callable[[Any, Path], Drive]] = {
    "http": _http,
    "tcp": _tcp,
    "websocket": _websocket,
    "sql": _sql,
    "grpc": _grpc,
    "exec": _exec,
    "run": _run,
    "signal": _signal,
}
KINDS = tuple(_READ)
