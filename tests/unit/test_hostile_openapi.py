"""A container's OpenAPI document leads nowhere, and takes no more than it is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minify.errors import UsageError
from minify.imports.openapi import inward

HEAD = 'openapi: "3.0.0"\n'


@pytest.mark.parametrize(
    "ref",
    [
        "http://elsewhere/x.json",
        "file:///etc/passwd",
        "../../x.yaml",
        "/etc/passwd",
        "x.json#/a",
        7,
    ],
)
def test_references_out_of_it_are_dropped(ref: Any) -> None:
    schema = {"deep": [{"$ref": ref}], "own": {"$ref": "#/components/x"}}
    text = json.dumps({"openapi": "3.0.0", "paths": {"/": schema}}).encode()
    made = json.loads(inward(text))["paths"]["/"]
    assert made == {"deep": [{}], "own": {"$ref": "#/components/x"}}


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(UsageError, match="more than"):
        inward((HEAD + "\n".join(lines)).encode())


def test_a_document_that_holds_itself_is_refused() -> None:
    with pytest.raises(UsageError):
        inward((HEAD + "a: &a\n  b: *a\n").encode())


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"openapi":' * 5000, b"x" * (5 << 20), b"\xff", b"!!python/object:os.x {}"],
)
def test_what_is_no_document(text: bytes) -> None:
    with pytest.raises(UsageError):
        inward(text)


def test_ordinary_aliases_are_fine() -> None:
    text = HEAD + "a: &a {type: string}\nb: [*a, *a]\n"
    assert json.loads(inward(text.encode()))["b"] == [{"type": "string"}] * 2
