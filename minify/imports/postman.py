"""Requests out of a Postman collection (format 2.0 and 2.1). Pure.

Its variables are written as ours are, {{name}}; those the collection defines are put in here.
Scripts are not run, so a variable that a script would set is unknown.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

from minify.errors import UsageError
from minify.imports.har import ANY_STATUS, Place
from minify.model import HttpDrive

NAME = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
DEPTH = 20


def postman_drives(text: bytes, place: Place) -> tuple[HttpDrive, ...]:
    """Read a collection; raises UsageError for what is none. Hosts are ignored."""
    try:
        collection = json.loads(text)
        items = list(_requests(collection["item"], "", 0))
        variables = {str(v["key"]): str(v.get("value", "")) for v in collection.get("variable", ())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{place.name} is not a Postman collection (2.0, 2.1)") from error
    drives = (_drive(name, r, variables, place) for name, r in items[: place.limit])
    return tuple(drives)


def _requests(items: Any, path: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests with the folders they are in."""
    for item in items:
        name = f"{path}{item.get('name', '')}"
        if "item" in item and depth < DEPTH:
            yield from _requests(item["item"], f"{name} / ", depth + 1)
        elif isinstance(item.get("request"), dict):
            yield name, item["request"]
        elif isinstance(item.get("request"), str):
            yield name, {"url": item["request"]}


def _drive(
    name: str, request: dict[str, Any], variables: dict[str, str], place: Place
) -> HttpDrive:
    def put(text: Any) -> str:
        return NAME.sub(lambda m: variables.get(m[1], m[0]), str(text))

    method = put(request.get("method") or "GET").upper()
    body, kind = _body(request.get("body") or {})
    headers = [
        (put(h["key"]), put(h.get("value", "")))
        for h in request.get("header") or ()
        if isinstance(h, dict) and not h.get("disabled")
    ]
    headers += [(k, put(v)) for k, v in _auth(request.get("auth") or {})]
    if kind and "content-type" not in {k.lower() for k, _ in headers}:
        headers.append(("Content-Type", kind))
    return HttpDrive(
        id=f"{place.name}: {name}",
        method=method,
        path=_path(put(_url(request.get("url")))),
        port=place.port,
        headers=tuple(h for h in headers if not set("\r\n\0") & set(h[0] + h[1])),
        body=put(body).encode(),
        expect_status=ANY_STATUS,
        session=place.name,
    )


def _url(url: Any) -> str:
    if not isinstance(url, dict):
        return str(url or "/")
    if "raw" in url:
        return str(url["raw"])
    path = "/".join(url.get("path") or ())
    query = urlencode([(q["key"], q.get("value") or "") for q in url.get("query") or ()])
    return f"/{path}" + (f"?{query}" if query else "")


def _path(url: str) -> str:
    """The path of a URL whose host may still be a variable."""
    rest = re.sub(r"^\{\{[^{}]*\}\}", "http://host", url)
    parts = urlsplit(rest if "//" in rest or rest.startswith("/") else f"//{rest}")
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    return path + (f"?{parts.query}" if parts.query else "")


def _body(body: dict[str, Any]) -> tuple[str, str]:
    mode = body.get("mode")
    if mode == "raw":
        language = ((body.get("options") or {}).get("raw") or {}).get("language", "")
        return str(body.get("raw") or ""), "application/json" if language == "json" else ""
    if mode == "urlencoded":
        given = body.get("urlencoded") or ()
        fields = [(f["key"], f.get("value") or "") for f in given if not f.get("disabled")]
        return urlencode(fields, safe="{}"), "application/x-www-form-urlencoded"
    if mode == "graphql":
        query = body.get("graphql") or {}
        return json.dumps({"query": query.get("query", "")}), "application/json"
    return "", ""


def _auth(auth: dict[str, Any]) -> Iterator[tuple[str, str]]:
    given = auth.get(str(auth.get("type"))) or ()
    if isinstance(given, dict):
        values = {str(k): str(v) for k, v in given.items()}
    else:
        values = {str(p["key"]): str(p.get("value", "")) for p in given}
    if auth.get("type") == "bearer":
        yield "Authorization", f"Bearer {values.get('token', '')}"
    elif auth.get("type") == "basic":
        raw = f"{values.get('username', '')}:{values.get('password', '')}"
        yield "Authorization", "Basic " + base64.b64encode(raw.encode()).decode("ascii")
