"""Which optional package a drive needs, and a clear word when it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from minify.errors import Unsupported
from minify.model import Drive, HttpDrive, SqlDrive


def wanted(drive: Drive) -> tuple[str, tuple[str, ...]]:
    """The extra of minify a drive needs and that extra's modules; empty when it needs none."""
    if isinstance(drive, HttpDrive):
        return ("http2", ("httpx", "h2")) if drive.http2 else ("", ())
    if isinstance(drive, SqlDrive):
        return "sql", ("psycopg",) if drive.dialect == "postgresql" else ("pymysql",)
    return {
        "websocket": ("websocket", ("websockets",)),
        "grpc": ("grpc", ("grpc", "grpc_reflection")),
        "openapi": ("openapi", ("schemathesis",)),
    }.get(drive.KIND, ("", ()))


def check_extras(drives: Iterable[Drive]) -> None:
    """Raise Unsupported naming every extra that is missing, before anything runs."""
    missing = {}
    for drive in drives:
        extra, modules = wanted(drive)
        if any(importlib.util.find_spec(m) is None for m in modules):
            missing[extra] = drive.id
    if missing:
        names = ",".join(sorted(missing))
        raise Unsupported(
            f"the probe {next(iter(missing.values()))!r} needs a package that is not installed",
            hint=f"pip install 'minify[{names}]'",
        )


def needs_packages(drives: Iterable[Drive]) -> bool:
    """Whether a drive's program must see installed packages."""
    return any(wanted(d)[0] for d in drives)
