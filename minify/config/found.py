"""Drives out of what people already have, as the configuration names it.

`crawl` and `graphql` find their requests while the service runs; `har`, `postman` and an `openapi`
file become requests at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minify.config.httpform import read_file, tls_from
from minify.extras import check_extras
from minify.imports.har import Place, har_drives
from minify.imports.postman import postman_drives
from minify.model import CrawlDrive, Drive, GraphqlDrive, OpenApiDrive


def drives_found(data: Mapping[str, Any], at: Callable[[str], Path]) -> tuple[Drive, ...]:
    """All drives the keys crawl, openapi, graphql, har and postman stand for; raises UsageError.

    `at` says where a key's relative paths start.
    """
    out: list[Drive] = []
    for key, read in _READ.items():
        for value in _each(data.get(key)):
            out += read(value, at(key))
    return tuple(out)


def _each(value: Any) -> list[Any]:
    """One or several values, each as it stands; nothing for none or false."""
    if value is None or value is False:
        return []
    return list(value) if isinstance(value, list) else [value]


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return {} if value is True else {key: value}


def _common(value: Mapping[str, Any], base: Path) -> dict[str, Any]:
    return {
        "port": int(value.get("port", 0)),
        "headers": tuple((str(k), str(v)) for k, v in (value.get("headers") or {}).items()),
        "tls": tls_from(value.get("tls", False), base),
        "timeout": float(value.get("timeout", 30.0)),
    }


def _crawl(given: Any, base: Path) -> tuple[Drive, ...]:
    value = _mapping(given, "start")
    start = value.get("start", "/")
    start = tuple(start) if isinstance(start, list) else (str(start),)
    return (
        CrawlDrive(
            id=str(value.get("name") or f"crawl {start[0]}"),
            start=start,
            depth=int(value.get("depth", 3)),
            limit=int(value.get("limit", 100)),
            forms=bool(value.get("forms", False)),
            exclude=tuple(value.get("exclude", ())),
            **_common(value, base),
        ),
    )


def _graphql(given: Any, base: Path) -> tuple[Drive, ...]:
    value = _mapping(given, "path")
    path = str(value.get("path", "/graphql"))
    return (
        GraphqlDrive(
            id=str(value.get("name") or f"graphql {path}"),
            path=path,
            depth=int(value.get("depth", 2)),
            limit=int(value.get("limit", 100)),
            **_common(value, base),
        ),
    )


def _openapi(given: Any, base: Path) -> tuple[Drive, ...]:
    text = isinstance(given, str)
    value = _mapping(given, "path" if text and given.startswith("/") else "file")
    source = str(value.get("path") or value.get("file"))
    drive = OpenApiDrive(
        id=str(value.get("name") or f"openapi {source}"),
        path=str(value.get("path", "")),
        valid=int(value.get("valid", 3)),
        invalid=int(value.get("invalid", 1)),
        limit=int(value.get("limit", 200)),
        **_common(value, base),
    )
    check_extras([drive])
    if "path" in value:
        return (drive,)
    from minify.imports.openapi import generate  # here: its library is optional, and slow to import

    return generate(read_file(base / source), drive)


def _place(value: Mapping[str, Any]) -> Place:
    name = str(value.get("name") or Path(str(value["file"])).name)
    limit = int(value.get("limit", 500))
    return Place(name, int(value.get("port", 0)), str(value.get("host", "")), limit)


def _har(given: Any, base: Path) -> tuple[Drive, ...]:
    value = _mapping(given, "file")
    return har_drives(read_file(base / value["file"]), _place(value))


def _postman(given: Any, base: Path) -> tuple[Drive, ...]:
    value = _mapping(given, "file")
    return postman_drives(read_file(base / value["file"]), _place(value))


_READ: dict[str, Callable[[Any, Path], tuple[Drive, ...]]] = {
    "har": _har,
    "postman": _postman,
    "openapi": _openapi,
    "graphql": _graphql,
    "crawl": _crawl,
}
