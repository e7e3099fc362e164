from __future__ import annotations

import base64
import email
import email.policy
from pathlib import Path
from typing import Any

import pytest

from minify.config.drives import drives_from, unique
from minify.config.httpform import http_from, sequence_from, tls_from
from minify.errors import UsageError
from minify.model import Capture, HttpDrive, Tls

HERE = Path("/nowhere")


def one(**value: Any) -> HttpDrive:
    return http_from(value, HERE)


def headers(drive: HttpDrive) -> dict[str, str]:
    return dict(drive.headers)


def test_a_body_makes_it_a_post_unless_told() -> None:
    assert one(path="/a").method == "GET"
    assert one(path="/a", json={}).method == "POST"
    assert one(path="/a", form={"a": 1}, method="put").method == "PUT"


def test_authentication_and_cookies() -> None:
    basic = headers(one(basic="me:se:cret"))["Authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"me:se:cret"
    assert headers(one(bearer="abc"))["Authorization"] == "Bearer abc"
    assert headers(one(cookies={"a": 1, "b": "x"}))["Cookie"] == "a=1; b=x"


def test_an_upload_is_what_a_mail_parser_understands(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n--")
    value = {
        "form": {"title": "Ä cat", "tags": ["a"]},
        "files": {"photo": "cat.png", "note": {"content": "hi", "name": 'n".txt'}},
    }
    drive = http_from(value, tmp_path)
    kind = headers(drive)["Content-Type"]
    raw = f"Content-Type: {kind}\r\n\r\n".encode() + drive.body
    message = email.message_from_bytes(raw, policy=email.policy.HTTP)
    parts = {p.get_param("name", header="content-disposition"): p for p in message.iter_parts()}
    assert (
        parts["title"].get_content().strip() == "Ä cat"
        or parts["title"].get_payload(decode=True) == "Ä cat".encode()
    )
    assert parts["tags"].get_payload(decode=True) == b'["a"]'
    assert parts["photo"].get_filename() == "cat.png"
    assert parts["photo"].get_content_type() == "image/png"
    assert parts["photo"].get_payload(decode=True) == b"\x89PNG\r\n--"
    assert parts["note"].get_payload(decode=True) == b"hi"
    assert http_from(value, tmp_path) == drive  # the same bytes every time


def test_a_body_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text("{}")
    drive = http_from({"path": "/", "body_file": "order.json"}, tmp_path)
    assert (drive.body, headers(drive)["Content-Type"]) == (b"{}", "application/json")
    with pytest.raises(UsageError, match="cannot read"):
        http_from({"body_file": "missing"}, tmp_path)


def test_expectations() -> None:
    drive = one(
        status=[200, 204], expect="ok", expect_headers={"X-A": "^1$"}, expect_json={"$.a[0]": None}
    )
    assert drive.expect_status == (200, 204)
    assert drive.expect.headers == (("X-A", "^1$"),)
    assert drive.expect.json == (("$.a[0]", "null"),)


def test_tls() -> None:
    assert tls_from(False, HERE) == Tls()
    assert tls_from(True, HERE) == Tls(on=True)
    assert tls_from({"authority": "ca.pem", "name": "me"}, HERE) == Tls(
        on=True, check=True, authority="/nowhere/ca.pem", name="me"
    )


def test_a_sequence_shares_a_session() -> None:
    steps = sequence_from(
        {
            "name": "shop",
            "port": 81,
            "sequence": [
                {"path": "/login", "form": {"u": 1}, "capture": {"t": {"json": "$.token"}}},
                "/cart",
            ],
        },
        HERE,
    )
    assert [(s.id, s.session, s.port) for s in steps] == [
        ("shop: POST :81/login", "shop", 81),
        ("shop: GET :81/cart", "shop", 81),
    ]
    assert steps[0].capture == (Capture("t", "json", "$.token"),)


def test_follow_and_retries() -> None:
    assert one(follow=True).follow == 10
    assert one(follow=2, retries=3).follow == 2
    assert one(follow=False).follow == 0


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("websocket", "/ws", "websocket /ws"),
        ("sql", {"dialect": "mysql", "statements": "SELECT 1"}, "mysql 3306"),
        ("grpc", 50051, "grpc 50051"),
        ("run", "pytest -q", "run pytest -q"),
        ("tcp", {"port": 6379, "steps": ["PING", {"send": "QUIT", "expect": "OK"}]}, "tcp 6379"),
        ("exec", {"command": "a b", "exit": 2}, "exec a b"),
        ("signal", "HUP", "signal HUP"),
    ],
)
def test_every_kind_has_a_name_to_show(kind: str, value: object, shown: str) -> None:
    (drive,) = drives_from(kind, value, HERE)
    assert drive.id == shown
    assert kind == drive.KIND


def test_the_same_probe_twice_is_two_probes() -> None:
    same = HttpDrive("GET /count")
    assert [d.id for d in unique([same, same, same])] == [
        "GET /count", "GET /count (2)", "GET /count (3)",
    ]  # fmt: skip
