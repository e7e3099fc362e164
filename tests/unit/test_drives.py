from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minify.config.drives import drives_from, exec_drive, http_drive, tcp_drive, unescape
from minify.errors import UsageError
from minify.model import Companion, HttpDrive, Mount, Plan, RunDrive, Surroundings


@pytest.mark.parametrize(
    ("text", "method", "port", "path", "tls"),
    [
        ("GET /", "GET", 0, "/", False),
        ("/health", "GET", 0, "/health", False),
        ("post :8080/items?a=1", "POST", 8080, "/items?a=1", False),
        ("GET :81", "GET", 81, "/", False),
        ("GET https://:8443/x", "GET", 8443, "/x", True),
        ("HEAD http://localhost:80/x", "HEAD", 80, "/x", False),
    ],
)
def test_http(text: str, method: str, port: int, path: str, tls: bool) -> None:
    drive = http_drive(text)
    assert (drive.method, drive.port, drive.path, drive.tls.on) == (method, port, path, tls)


@pytest.mark.parametrize("text", ["", "FOO /", "GET x y", "GET :99999/", "two words /"])
def test_malformed_http_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        http_drive(text)
    assert caught.value.hint


def test_tcp() -> None:
    drive = tcp_drive(r"6379:PING\r\n")
    assert (drive.port, drive.send) == (6379, b"PING\r\n")
    assert tcp_drive("80").send == b""
    for wrong in ("", "redis", "x:1", "99999"):
        with pytest.raises(UsageError):
            tcp_drive(wrong)


def test_exec() -> None:
    assert exec_drive("redis-cli 'a b'").argv == ("redis-cli", "a b")
    for wrong in ("", "'unclosed"):
        with pytest.raises(UsageError):
            exec_drive(wrong)


def test_escapes() -> None:
    assert unescape(r"a\r\n\x00\\é") == b"a\r\n\x00\\" + "é".encode()


def test_mapping() -> None:
    drive = drives_from(
        "http", {"method": "post", "path": "/a", "query": {"q": "x y"}, "json": {"k": 1},
                 "status": 201, "headers": {"X-A": 1}}, Path("/")
    )[0]  # fmt: skip
    assert isinstance(drive, HttpDrive)
    assert drive.path == "/a?q=x+y"
    assert drive.body == b'{"k": 1}'
    assert dict(drive.headers) == {"X-A": "1", "Content-Type": "application/json"}
    assert drive.expect_status == (201,)


def test_a_plan_that_something_outside_decides_is_not_reused() -> None:
    plan = Plan("sha256:1", drives=(HttpDrive("GET /"),), mounts=(Mount("/tmp"),))
    assert plan.repeatable
    assert not replace(plan, drives=(RunDrive("run x", ("x",)),)).repeatable
    assert not replace(plan, mounts=(Mount("/a", "/b"),)).repeatable
    around = Surroundings(companions=(Companion("db", "db"),))
    assert not replace(plan, surroundings=around).repeatable
