"""Ask a GraphQL endpoint what it offers, then for every query field that needs no argument. Pure.

Introspection: GraphQL specification (October 2021), section 4.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any

from minify.model import GraphqlDrive, HttpDrive, Observation

DOCUMENT_LIMIT = 16 << 20
_INNER = "kind name ofType { kind name ofType { kind name ofType { kind name } } }"
_TYPE = f"kind name ofType {{ {_INNER} }}"
INTROSPECTION = (
    "query Introspection { __schema { queryType { name } types { kind name fields { name "
    f"args {{ name defaultValue type {{ {_TYPE} }} }} type {{ {_TYPE} }} }} "
    "possibleTypes { name } } } }"
)
Types = dict[str, dict[str, Any]]


def introspect(drive: GraphqlDrive) -> Generator[list[HttpDrive], Sequence[Observation], None]:
    """First the schema, then all queries in one batch."""
    (answer,) = yield [_post(drive, "introspection", INTROSPECTION)]
    queries = queries_of(answer.body, drive.depth)[: drive.limit]
    if queries:
        yield [_post(drive, name, query) for name, query in queries]


def queries_of(document: bytes, depth: int) -> list[tuple[str, str]]:
    """A query for each field of the query type, by name; none from what is no schema."""
    try:
        schema = json.loads(document)["data"]["__schema"]
        types: Types = {t["name"]: t for t in schema["types"]}
        fields = types[schema["queryType"]["name"]]["fields"] or []
        return [
            (f["name"], f"query {{ {text} }}")
            for f in sorted(fields, key=lambda f: str(f["name"]))
            if (text := _selection(f, types, depth))
        ]
    except (ValueError, KeyError, TypeError):
        return []


def _selection(field: dict[str, Any], types: Types, depth: int) -> str:
    """A field with as much below it as the depth allows; empty when it cannot be asked for."""
    needed = [a for a in field["args"] if a["type"]["kind"] == "NON_NULL"]
    if any(a.get("defaultValue") is None for a in needed):
        return ""
    name, kind = _named(field["type"])
    if kind in ("SCALAR", "ENUM"):
        return str(field["name"])
    if kind == "UNION" or depth <= 0:
        return f"{field['name']} {{ __typename }}"
    below = [_selection(f, types, depth - 1) for f in types[name].get("fields") or ()]
    inner = " ".join(["__typename", *(b for b in below if b)])
    return f"{field['name']} {{ {inner} }}"


def _named(kind: dict[str, Any]) -> tuple[str, str]:
    """Take lists and non-nulls off a type."""
    while kind.get("ofType"):
        kind = kind["ofType"]
    return str(kind["name"]), str(kind["kind"])


def _post(drive: GraphqlDrive, name: str, query: str) -> HttpDrive:
    return HttpDrive(
        id=f"{drive.id}: {name}",
        method="POST",
        path=drive.path,
        port=drive.port,
        headers=(("Content-Type", "application/json"), *drive.headers),
        body=json.dumps({"query": query}).encode(),
        expect_status=(200,) if name == "introspection" else (0,),
        tls=drive.tls,
        timeout=drive.timeout,
        session=drive.id,
        body_limit=DOCUMENT_LIMIT if name == "introspection" else 64 * 1024,
    )
