"""Read an HTTP probe written as a mapping: body, files, authentication, expectations, variables."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from minify.errors import UsageError
from minify.model import Capture, HttpDrive, HttpExpect, Tls

FOLLOWED = 10  # redirects, where `follow: true` names no number
MOST_UPLOADED = 32 << 20  # bytes of one probe's files


def http_from(value: Mapping[str, Any], base: Path, session: str = "") -> HttpDrive:
    """Read one mapping; relative paths start at `base`. Raises UsageError."""
    method = str(value.get("method") or ("POST" if _has_body(value) else "GET")).upper()
    path = with_query(str(value.get("path", "/")), value.get("query"))
    port = int(value.get("port", 0))
    body, content_type = _body(value, base)
    status = value.get("status", ())
    follow = value.get("follow", 0)
    return HttpDrive(
        id=str(value.get("name") or f"{method} {f':{port}' if port else ''}{path}"),
        method=method,
        path=path,
        port=port,
        headers=_headers(value, content_type),
        body=body,
        expect_status=tuple(status) if isinstance(status, list) else ((status,) if status else ()),
        expect_body=str(value.get("expect", "")),
        expect=HttpExpect(
            headers=tuple((str(k), str(v)) for k, v in value.get("expect_headers", {}).items()),
            json=tuple((str(k), json.dumps(v)) for k, v in value.get("expect_json", {}).items()),
        ),
        tls=tls_from(value.get("tls", False), base),
        timeout=float(value.get("timeout", 30.0)),
        session=str(value.get("session") or session),
        capture=tuple(_capture(str(k), v) for k, v in value.get("capture", {}).items()),
        follow=FOLLOWED if follow is True else int(follow),
        retries=int(value.get("retries", 0)),
        http2=bool(value.get("http2", False)),
    )


def sequence_from(value: Mapping[str, Any], base: Path) -> tuple[HttpDrive, ...]:
    """Read a `sequence`: steps that share cookies and variables, each named after it."""
    name = str(value["name"])
    shared = {k: value[k] for k in ("port", "tls", "timeout") if k in value}
    steps = [
        http_from({**shared, **({"path": s} if isinstance(s, str) else s)}, base, session=name)
        for s in value["sequence"]
    ]
    return tuple(replace(step, id=f"{name}: {step.id}") for step in steps)


def with_query(path: str, query: Mapping[str, Any] | None) -> str:
    """Add a query to a path."""
    if not query:
        return path
    return path + ("&" if "?" in path else "?") + urlencode(query, doseq=True)


def tls_from(value: Any, base: Path) -> Tls:
    """Read `tls`: true, or a mapping with check, authority (a PEM file) and name."""
    if not isinstance(value, Mapping):
        return Tls(on=bool(value))
    authority = str(value.get("authority", ""))
    return Tls(
        on=True,
        check=bool(value.get("check", bool(authority))),
        authority=str((base / authority).resolve()) if authority else "",
        name=str(value.get("name", "")),
    )


def _capture(name: str, value: Mapping[str, Any]) -> Capture:
    source, expression = next(iter(value.items()))
    return Capture(name, str(source), str(expression))


def _headers(value: Mapping[str, Any], content_type: str) -> tuple[tuple[str, str], ...]:
    headers = {str(k): str(v) for k, v in (value.get("headers") or {}).items()}
    names = {h.lower() for h in headers}
    if content_type and "content-type" not in names:
        headers["Content-Type"] = content_type
    if "basic" in value:
        raw = str(value["basic"]).encode()
        headers["Authorization"] = "Basic " + base64.b64encode(raw).decode("ascii")
    if "bearer" in value:
        headers["Authorization"] = f"Bearer {value['bearer']}"
    if "cookies" in value:
        headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in value["cookies"].items())
    return tuple(headers.items())


def _has_body(value: Mapping[str, Any]) -> bool:
    return any(k in value for k in ("body", "body_file", "json", "form", "files"))


def _body(value: Mapping[str, Any], base: Path) -> tuple[bytes, str]:
    if "json" in value:
        return json.dumps(value["json"]).encode(), "application/json"
    if "files" in value:
        return _multipart(value.get("form") or {}, value["files"], base)
    if "form" in value:
        form = urlencode(value["form"], doseq=True)
        return form.encode(), "application/x-www-form-urlencoded"
    if "body_file" in value:
        return read_file(base / value["body_file"]), _type_of(str(value["body_file"]))
    return str(value.get("body", "")).encode(), ""


def read_file(path: Path) -> bytes:
    """Read a file that is sent; raises UsageError when it is missing or too large."""
    try:
        if path.stat().st_size > MOST_UPLOADED:
            raise UsageError(f"too large for a probe: {path}", hint="at most 32 MiB")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _multipart(form: Mapping[str, Any], files: Mapping[str, Any], base: Path) -> tuple[bytes, str]:
    """Write fields and files as multipart/form-data (RFC 7578); the same input, the same bytes."""
    parts = [(f'name="{_quoted(k)}"', "", _field(v)) for k, v in form.items()]
    for name, given in files.items():
        one = {"path": given} if isinstance(given, str) else given
        content = (
            str(one["content"]).encode() if "content" in one else read_file(base / one["path"])
        )
        shown = str(one.get("name") or Path(str(one.get("path", name))).name)
        head = f'name="{_quoted(str(name))}"; filename="{_quoted(shown)}"'
        parts.append((head, str(one.get("type") or _type_of(shown)), content))
    digest = hashlib.sha256(b"".join(p[2] for p in parts)).hexdigest()[:24]
    boundary = f"minify-{digest}"
    body = b""
    for head, kind, content in parts:
        lines = [f"--{boundary}", f"Content-Disposition: form-data; {head}"]
        lines += [f"Content-Type: {kind}"] if kind else []
        body += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _field(value: Any) -> bytes:
    return (json.dumps(value) if isinstance(value, dict | list | bool) else str(value)).encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
