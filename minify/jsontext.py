"""JSON from strangers to plain values, within bounds: the only way such text becomes objects.

A value in memory takes up to thirty times its text, so both are bounded before anything is parsed:
the bytes, and how many values they can hold at most.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MIB = 1 << 20
BYTES_MAX = 4 * MIB  # what registries take as a manifest; configurations are a hundredth of it
VALUES_MAX = 200_000
DEPTH_MAX = 100
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*+"?', re.DOTALL)
_MARKS = re.compile(rb"[\[\]{},]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """Not JSON, or more of it than anybody needs."""


def parse_json(data: bytes, *, most: int = BYTES_MAX, values: int = VALUES_MAX) -> Any:
    """Parse a JSON document (RFC 8259) of at most `most` bytes and `values` values.

    Nested at most 100 deep; halves of surrogate pairs become question marks. Raises JsonError.
    """
    if len(data) > most:
        raise JsonError(f"{len(data)} bytes of JSON, more than {most}")
    _check_structure(data, values)
    try:
        found = json.loads(data, parse_constant=_no_number)
        if _SURROGATE.search(data):
            plain = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
            found = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)) from error
    return found


def _check_structure(data: bytes, values: int) -> None:
    opened = data.count(b"[") + data.count(b"{")
    if opened < DEPTH_MAX and data.count(b",") + opened < values:
        return
    depth = count = 0
    for match in _MARKS.finditer(_STRING.sub(b"", data)):
        mark = match[0]
        depth += (mark in b"[{") - (mark in b"]}")
        count += mark not in b"]}"
        if depth > DEPTH_MAX:
            raise JsonError(f"nested more than {DEPTH_MAX} deep")
        if count > values:
            raise JsonError(f"more than {values} values")


def _no_number(text: str) -> NoReturn:
    raise JsonError(f"not a number of JSON: {text}")
