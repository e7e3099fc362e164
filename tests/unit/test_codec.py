from __future__ import annotations

import json

import pytest

from minify.codec import dumps, loads
from minify.errors import MinifyError
from minify.model import (
    Access,
    Evidence,
    ExecDrive,
    HttpDrive,
    KeepLevel,
    KeepSet,
    Outcome,
    Plan,
    Reason,
    Touch,
)

PLAN = Plan(
    "sha256:1",
    argv=("a", "b"),
    drives=(HttpDrive("GET /", body=b"\x00\xff"), ExecDrive("x", ("true",))),
)


def test_a_document_reads_back_equal() -> None:
    keep = KeepSet("sha256:1", KeepLevel.EXACT, {"/a": (Reason("touch:open", "strace"),)})
    evidence = Evidence(
        "sha256:1", frozenset({Touch("/caf\udce9", Access.OPEN, Outcome.ABSENT)}), 3
    )
    for noun in (PLAN, keep, evidence):
        assert loads(dumps(noun), type(noun)) == noun


def test_the_same_value_is_the_same_text() -> None:
    touches = [Touch(f"/{n}", Access.STAT) for n in range(50)]
    one = Evidence("i", frozenset(touches))
    two = Evidence("i", frozenset(reversed(touches)))
    assert dumps(one) == dumps(two)


def test_merging_is_a_union_in_any_order() -> None:
    one = Evidence("i", frozenset({Touch("/a", Access.OPEN)}), 1, frozenset({"strace"}))
    two = Evidence("i", frozenset({Touch("/b", Access.OPEN)}), 0, frozenset({"fanotify"}))
    assert one.merge(two) == two.merge(one)
    assert not one.merge(two).complete
    assert one.merge(two).merge(one).touches == one.merge(two).touches


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1, "document": "Plan"}'])
def test_other_text_is_an_error(text: str) -> None:
    with pytest.raises(MinifyError):
        loads(text, Plan)


def test_another_schema_is_refused() -> None:
    document = json.loads(dumps(PLAN))
    document["schema"] = 99
    with pytest.raises(MinifyError, match="schema 99"):
        loads(json.dumps(document), Plan)
