from __future__ import annotations

import importlib.util

import pytest

from minify.errors import Unsupported
from minify.extras import check_extras, needs_packages, wanted
from minify.model import (
    ExecDrive,
    GrpcDrive,
    HttpDrive,
    OpenApiDrive,
    SqlDrive,
    TcpDrive,
    WebSocketDrive,
)

PLAIN = (HttpDrive("h"), TcpDrive("t", 1), ExecDrive("e", ("x",)))
EXTRA = {
    "http2": HttpDrive("h2", http2=True),
    "websocket": WebSocketDrive("w"),
    "sql": SqlDrive("s", "mysql", 3306),
    "grpc": GrpcDrive("g", 1),
    "openapi": OpenApiDrive("o", "/"),
}


def test_what_the_standard_library_can_do_needs_nothing() -> None:
    check_extras(PLAIN)
    assert not needs_packages(PLAIN)


@pytest.mark.parametrize("extra", EXTRA)
def test_a_missing_package_is_said_before_anything_runs(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Unsupported) as caught:
        check_extras((*PLAIN, EXTRA[extra]))
    assert caught.value.hint == f"pip install 'minify[{extra}]'"
    assert needs_packages([EXTRA[extra]])


def test_every_extra_is_one_of_the_project() -> None:
    import tomllib
    from pathlib import Path

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert {wanted(d)[0] for d in EXTRA.values()} <= set(extras)
