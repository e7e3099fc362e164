"""What must not be written down, and what has to stay so that a build can be repeated."""

from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest

from minify.codec import dumps, loads
from minify.masking import (
    evidence_to_keep,
    hashed,
    holds,
    is_withheld,
    masked,
    plan_to_keep,
    withheld,
    words_of,
)
from minify.model import (
    Access,
    Behaviour,
    Case,
    Companion,
    Evidence,
    Exchange,
    GrpcDrive,
    HttpDrive,
    Observation,
    Plan,
    SqlDrive,
    Surroundings,
    TcpDrive,
    Touch,
    Watch,
    WebSocketDrive,
)

CANARY = "c4nary-hunter2-0815"


@pytest.mark.parametrize(
    "item",
    ["PATH=/opt/x:/bin", "TZ=Europe/Prague", "LANG=C.UTF-8", "APP_HOME=/srv", "DEBUG=1",
     "MODE=fast", "NODE_OPTIONS=--max-old-space-size=100", "PYTHONPATH=lib", "NAME",
     "EMPTY=", "PORT=8080"],
)  # fmt: skip
def test_settings_stay(item: str) -> None:
    assert withheld(item) == item


@pytest.mark.parametrize(
    "item",
    [f"API_TOKEN={CANARY}", "DB_PASSWORD=letmein", f"X={CANARY}", "MYSQL_PWD=a",
     "SECRET_KEY=/base64/", "DATABASE_URL=postgres://u:pw@db/x", "AUTH_PATH=/x/y",
     "GREETING=two words"],
)  # fmt: skip
def test_values_are_hashed(item: str) -> None:
    name, _, value = item.partition("=")
    assert withheld(item) == f"{name}={hashed(value)}"
    assert is_withheld(withheld(item))
    assert not is_withheld(item)


def everything(secret: str) -> Plan:
    """A plan with a secret wherever there is a place for one."""
    raw = secret.encode()
    auth = (("Authorization", f"Bearer {secret}"), ("X-Mine", secret), ("Accept", "text/html"))
    return Plan(
        "sha256:0",
        env=(f"API_TOKEN={secret}", f"OTHER={secret}", "TZ=UTC"),
        stdin=raw,
        cases=(Case("c", stdin=raw),),
        surroundings=Surroundings(
            companions=(Companion("db", "postgres:16", env=(f"POSTGRES_PASSWORD={secret}",)),)
        ),
        drives=(
            HttpDrive("POST /", method="POST", headers=auth, body=b'{"password": "%s"}' % raw),
            HttpDrive(f"GET /?token={secret}", path=f"/?token={secret}"),
            TcpDrive(f"tcp 6379:AUTH {secret}", port=6379, send=b"AUTH %s\r\n" % raw),
            TcpDrive("talk", port=1, steps=(Exchange(send=raw),)),
            WebSocketDrive("ws", headers=auth, steps=(Exchange(send=raw),)),
            SqlDrive(
                "sql", "postgres", port=1, statements=(f"select '{secret}'",), password=secret
            ),
            GrpcDrive("grpc", port=1, calls=(("a.B/C", f'{{"x": "{secret}"}}'),)),
        ),
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_document_of_a_plan_has_a_secret(seed: int) -> None:
    draw = random.Random(seed)
    secret = "7a" + "".join(
        draw.choice(string.ascii_letters + string.digits + "-.") for _ in range(12)
    )
    plan = everything(secret)
    text = dumps(plan_to_keep(plan))
    assert secret not in text
    import base64

    assert base64.b64encode(secret.encode()).decode()[2:-4] not in text
    assert "TZ=UTC" in text and "text/html" in text
    assert loads(text, Plan) == plan_to_keep(plan)
    assert dumps(plan_to_keep(everything(secret + "x"))) != text, "they can be told apart"


def test_words_are_blanked_out_and_nothing_else_changes() -> None:
    words = words_of(everything(CANARY))
    assert CANARY in words
    seen = Behaviour(
        observations=(Observation("GET /", body=f"you said {CANARY}".encode()),),
        log=(f"starting with {CANARY}",),
    )
    assert holds(seen, words)
    clean = masked(seen, words)
    assert clean.log == ("starting with ***",)
    assert not holds(clean, words)
    plain = Plan("x", watch=Watch.LIGHT)
    assert masked(plain, words) == plain
    assert masked(plain, words).watch is Watch.LIGHT


def test_ordinary_words_are_never_blanked_out() -> None:
    plan = Plan("x", env=("APP_ENV=production", "HOST=localhost", "N=5", "TOKEN=abc"))
    assert words_of(plan) == ()


def test_evidence_keeps_what_resolving_needs() -> None:
    touch = Touch(f"/{CANARY}", Access.OPEN)
    evidence = Evidence(
        "sha256:0",
        touches=frozenset({touch}),
        argvs=frozenset({("app", f"--token={CANARY}")}),
        env=frozenset({f"TOKEN={CANARY}", "PYTHONPATH=/x"}),
        notes=frozenset({f"strace: lost: {CANARY}"}),
    )
    kept = evidence_to_keep(evidence, (CANARY,))
    assert kept.touches == evidence.touches
    assert kept.argvs == {("app", "--token=***")}
    assert kept.env == {f"TOKEN={hashed(CANARY)}", "PYTHONPATH=/x"}
    assert CANARY not in dumps(replace(kept, touches=frozenset()))
