"""Requests out of a HAR file, as a browser's developer tools save it (HAR 1.2). Pure."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from minify.errors import UsageError
from minify.model import HttpDrive

# What a browser adds for itself, or what belongs to the connection it had.
LEFT_OUT = {
    "host", "connection", "content-length", "cookie", "keep-alive", "proxy-connection", "te",
    "transfer-encoding", "upgrade", "user-agent", "if-none-match", "if-modified-since", "range",
    "priority",
}  # fmt: skip
ANY_STATUS = (0,)


@dataclass(frozen=True)
class Place:
    """Where recorded requests are sent: a port (0: every one), and the host they were made to."""

    name: str
    port: int = 0
    host: str = ""
    limit: int = 500


def har_drives(text: bytes, place: Place) -> tuple[HttpDrive, ...]:
    """Read a recording; the requests of one host, in order, with the cookies they are given anew.

    The host is the first entry's unless `place` names one. Raises UsageError.
    """
    try:
        entries = [e["request"] for e in json.loads(text)["log"]["entries"]]
        hosts = [urlsplit(r["url"]).netloc for r in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{place.name} is not a HAR file", hint="save it in the browser"
        ) from error
    host = place.host or (hosts[0] if hosts else "")
    own = [r for r, h in zip(entries, hosts, strict=True) if host in (h, h.partition(":")[0])]
    return tuple(_drive(r, place, n) for n, r in enumerate(own[: place.limit], 1))


def _drive(request: dict[str, Any], place: Place, number: int) -> HttpDrive:
    parts = urlsplit(request["url"])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    method = str(request["method"]).upper()
    body, kind = _body(request.get("postData") or {})
    headers = [(str(h["name"]), str(h["value"])) for h in request.get("headers") or ()]
    headers = [h for h in headers if h[0].lower() not in LEFT_OUT and not h[0].startswith(":")]
    if kind and "content-type" not in {k.lower() for k, _ in headers}:
        headers.append(("Content-Type", kind))
    return HttpDrive(
        id=f"{place.name} {number}: {method} {path}",
        method=method,
        path=path,
        port=place.port,
        headers=tuple(h for h in headers if not set("\r\n\0") & set(h[0] + h[1])),
        body=body,
        expect_status=ANY_STATUS,
        session=place.name,
    )


def _body(data: dict[str, Any]) -> tuple[bytes, str]:
    text = data.get("text")
    kind = str(data.get("mimeType") or "")
    if text is None:
        fields = [(p["name"], p.get("value", "")) for p in data.get("params") or ()]
        return urlencode(fields).encode(), kind
    if data.get("encoding") == "base64":
        return base64.b64decode(text), kind
    return str(text).encode(), kind
