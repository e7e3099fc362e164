from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from minify.compare import agree, compare, shape
from minify.model import Behaviour, Observation
from minify.verify import Originals, judge


def seen(body: str = "hello", **changes: Any) -> Observation:
    raw = body.encode()
    made = Observation(
        "GET /",
        80,
        ok=True,
        status=200,
        headers=(("content-type", "text/html"),),
        body=raw,
        body_size=len(raw),
        body_sha256=hashlib.sha256(raw).hexdigest(),
        protocol="http",
    )
    return replace(made, **changes)


def run(*observations: Observation, **changes: Any) -> Behaviour:
    made = Behaviour(observations=observations, ready=True, exit_code=0, ports=(80,))
    return replace(made, **changes)


def verdict(one: Behaviour, two: Behaviour, copy: Behaviour) -> list[tuple[str, str]]:
    return [(d.subject, d.field) for d in judge(Originals(one, two), copy).differences]


def test_equal_runs_differ_in_nothing() -> None:
    assert verdict(run(seen()), run(seen()), run(seen())) == []


@pytest.mark.parametrize(
    ("copy", "field"),
    [
        (run(seen(status=500, ok=False)), "outcome"),
        (run(seen("other")), "body"),
        (run(seen(headers=(("content-type", "text/plain"),))), "header content-type"),
        (run(seen(headers=())), "header content-type"),
        (run(seen(protocol="tcp")), "protocol"),
        (run(), "outcome"),
        (run(seen(), ports=()), "listening ports"),
        (run(seen(), exit_code=1), "exit status"),
        (run(seen(), exit_code=None), "exit status"),
        (run(seen(), ready=False), "ready"),
    ],
)
def test_what_only_the_copy_does_is_a_difference(copy: Behaviour, field: str) -> None:
    assert field in {f for _, f in verdict(run(seen()), run(seen()), copy)}


def test_what_the_originals_differ_in_is_noise() -> None:
    one, two = run(seen("id 1a2b3c4d5e at 12:00")), run(seen("id 99ffee0011 at 12:01"))
    copy = run(seen("id 7777777777 at 12:02"))
    found = compare(one, two, copy)
    assert found.differences == ()
    assert found.noise == ("GET /: body",)


def test_noise_in_a_body_does_not_hide_another_text() -> None:
    one, two = run(seen("request 1 served")), run(seen("request 2 served"))
    assert verdict(one, two, run(seen("Internal Server Error"))) == [("GET /", "body")]


def test_a_body_that_varies_beyond_its_shape_compares_nothing() -> None:
    one, two = run(seen("a cat")), run(seen("two dogs"))
    assert verdict(one, two, run(seen("whatever"))) == []


def test_logs_are_compared_by_shape() -> None:
    one = run(seen(), log=("2024-01-01 10:00:00 started in 12 ms", "pid 7"))
    two = run(seen(), log=("2024-01-01 10:00:01 started in 15 ms", "pid 9"))
    same = run(seen(), log=("2024-01-02 11:00:00 started in 9 ms", "pid 8"))
    warns = run(seen(), log=(*same.log, "warning: cannot load locale"))
    silent = run(seen(), log=same.log[:1])
    assert verdict(one, two, same) == []
    assert verdict(one, two, warns) == [("log", "new line")]
    assert verdict(one, two, silent) == []
    chatty = run(seen(), log=(*same.log, "signal 29 (SIGIO) received"))
    assert verdict(one, two, chatty) == []


def test_files_both_originals_write_have_to_be_written() -> None:
    one, two = run(seen(), written=("/run/a.pid", "/tmp/x1")), run(seen(), written=("/run/a.pid",))
    assert verdict(one, two, run(seen(), written=("/run/a.pid",))) == []
    assert verdict(one, two, run(seen())) == [("files", "not written")]


def test_shape_blanks_what_varies() -> None:
    assert shape("GET /item/42 took 3.5 ms") == shape("GET /item/7 took 11.25 ms")
    assert shape("Mon, 23 Nov 2026") == shape("Tue, 24 Dec 2026")
    assert shape("id=550e8400-e29b-41d4-a716-446655440000") == shape(
        "id=01234567-89ab-cdef-0123-456789abcdef"
    )
    assert shape("no module named zoneinfo") != shape("no module named decimal")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (run(seen()), True),
        (run(seen(), log=("started in 12 ms",)), False),
        (run(seen("hello at 12:01")), False),
        (run(seen(), seen(drive="GET /x")), False),
        (run(seen(), written=("/run/nginx.pid",)), False),
        (run(seen(headers=(("content-type", "text/plain"),))), False),
    ],
)
def test_runs_agree_when_there_is_no_noise_at_all(other: Behaviour, same: bool) -> None:
    assert agree(run(seen()), other) is same
    assert agree(other, run(seen())) is same


def test_numbers_in_logs_and_names_of_files_are_no_noise() -> None:
    one = run(seen(), log=("started in 12 ms",), written=("/tmp/a.17",))
    assert agree(one, run(seen(), log=("started in 9 ms",), written=("/tmp/a.18",)))


def test_a_reply_to_a_request_of_another_protocol_may_break_off_anywhere() -> None:
    def said(text: str, error: str = "not HTTP: BadStatusLine") -> Behaviour:
        return run(seen(text, protocol="tcp", error=error))

    whole, part = said("OK ready\nNO error\nBYE\n"), said("OK ready\nNO error\n")
    assert verdict(whole, whole, part) == []
    assert verdict(part, part, whole) == []
    assert verdict(whole, whole, said("OK re")) == [("GET /", "reply")]
    assert verdict(whole, whole, said("OK other\n")) == [("GET /", "reply")]
    assert verdict(whole, whole, said("")) == [("GET /", "reply")]
    # What a probe asked for in the service's own words has to be all there.
    assert verdict(said("a\nb\n", ""), said("a\nb\n", ""), said("a\n", "")) == [("GET /", "body")]


def test_session_names_in_brackets_are_no_words() -> None:
    assert shape("x user=<>, session=<TD0/axx>") == shape("x user=<>, session=<abcdEFGH>")
    assert shape("x <b> y") == "x <b> y"
    assert shape("start log_id=16lwoy4W000 v=a") == shape("start log_id=abc v=a")
    assert shape("request 9fKw2LmQx1 done") == shape("request aB3dE5gH7j done")
    assert shape("status=valid") != shape("status=invalid")


def test_addresses_that_the_engine_gave_out_are_equal() -> None:
    def place(address: str) -> Behaviour:
        return run(
            seen(
                f"I am {address} (02:42:ac:11:00:{address[-1:]:0>2}), asked by 10.9.8.1:80",
                headers=(("location", f"http://{address}:80/x"),),
            )
        )

    # The originals got the same one by chance, one after the other; the copy ran beside another.
    assert verdict(place("172.17.0.2"), place("172.17.0.2"), place("172.17.0.3")) == []
    assert verdict(place("10.1.2.3"), place("10.1.2.3"), place("192.168.7.15")) == []
    for other in ("8.8.8.8", "172.32.0.2", "10.1.2.3.4"):  # no private address (RFC 1918)
        found = verdict(place("10.1.2.3"), place("10.1.2.3"), place(other))
        assert found == [("GET /", "body"), ("GET /", "header location")]
