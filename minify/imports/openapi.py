"""Requests generated from an OpenAPI or Swagger document, by schemathesis (the extra `openapi`).

The same document always gives the same requests: generation is seeded, nothing is remembered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import yaml

from minify.errors import UsageError
from minify.jsontext import JsonError, parse_json
from minify.model import HttpDrive, Observation, OpenApiDrive

DOCUMENT_LIMIT = 4 << 20
VALUES_MAX = 500_000  # aliases of YAML counted as often as they are used
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REFERENCES = ("$ref", "$dynamicRef", "externalValue", "operationRef")
ORDER = ("POST", "PUT", "GET", "HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE")
HERE = "http://minify.invalid"
# What a stranger's document makes libraries raise besides their own errors.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, LookupError, RecursionError)


def served(drive: OpenApiDrive) -> Generator[list[HttpDrive], Sequence[Observation], None]:
    """Fetch the document from the service, then send what it describes."""
    document = HttpDrive(
        id=f"{drive.id}: document", path=drive.path, port=drive.port, headers=drive.headers,
        expect_status=(200,), tls=drive.tls, timeout=drive.timeout, body_limit=DOCUMENT_LIMIT,
    )  # fmt: skip
    (answer,) = yield [document]
    try:
        requests = generate(inward(answer.body), drive)
    except UsageError:
        return  # the answer is compared; what is no document describes no requests
    if requests:
        yield list(requests)


def inward(text: bytes) -> bytes:
    """A stranger's document without what leads out of it; raises UsageError when it is none.

    `$ref`s to other files and hosts would be opened by whoever reads it, here, outside of the
    container: what they stand for may then be anything.
    """
    document = _document(text)
    todo: list[Any] = [document]
    done: set[int] = set()
    while todo:
        at = todo.pop()
        if id(at) in done:
            continue
        done.add(id(at))
        if isinstance(at, dict):
            for key in REFERENCES:
                if key in at and not str(at[key]).startswith("#"):
                    del at[key]
        todo.extend(v for v in _values(at) if isinstance(v, dict | list))
    return json.dumps(document, default=str).encode()


def _values(at: Any) -> list[Any]:
    return list(at.values()) if isinstance(at, dict) else at if isinstance(at, list) else []


def _count(document: Any) -> None:
    """Raise UsageError for a document that is endless, or a bomb of aliases, once written out."""
    sizes: dict[int, int] = {}
    under_way: set[int] = set()
    todo, most = [document], 0
    while todo:
        at = todo[-1]
        below = [v for v in _values(at) if isinstance(v, dict | list)]
        fresh = [v for v in below if id(v) not in sizes]
        if id(at) in sizes or not fresh:
            todo.pop()
            under_way.discard(id(at))
            sizes[id(at)] = 1 + len(_values(at)) + sum(sizes.get(id(v), 0) for v in below)
            most = max(most, sizes[id(at)])
        elif id(at) in under_way or most > VALUES_MAX:
            break
        else:
            under_way.add(id(at))
            todo.extend(fresh)
    if todo or sizes[id(document)] > VALUES_MAX:
        raise UsageError(f"the OpenAPI document has more than {VALUES_MAX} values")


@functools.lru_cache(maxsize=8)
def generate(text: bytes, drive: OpenApiDrive) -> tuple[HttpDrive, ...]:
    """Make requests for every operation of a document; raises UsageError when it is none."""
    operations = _operations(_document(text))
    made: list[HttpDrive] = []
    for label, operation in operations:
        for kind, count in (("valid", drive.valid), ("invalid", drive.invalid)):
            for number, case in enumerate(_cases(operation, kind, count), 1):
                made.append(_request(drive, f"{label} {kind} {number}", case))
    return tuple(made[: drive.limit])


def _document(text: bytes) -> dict[str, Any]:
    if len(text) > DOCUMENT_LIMIT:
        raise UsageError(f"the OpenAPI document has more than {DOCUMENT_LIMIT} bytes")
    try:
        document = _parsed(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise UsageError("the OpenAPI document is neither JSON nor YAML") from error
    _count(document)
    if not isinstance(document, dict) or not {"openapi", "swagger"} & set(document):
        raise UsageError("not an OpenAPI document", hint="it needs a key openapi or swagger")
    return document


def _parsed(text: bytes) -> Any:
    with contextlib.suppress(JsonError):
        return parse_json(text, values=VALUES_MAX)
    return yaml.load(text, Loader=LOADER)  # it makes plain values only


def _operations(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """Every operation that can be read, those that make things before those that remove them."""
    import schemathesis
    from schemathesis.errors import SchemathesisError

    logging.getLogger("schemathesis").setLevel(logging.ERROR)
    found = []
    try:
        schema = schemathesis.openapi.from_dict(document)
        for result in schema.get_all_operations():
            operation = result.ok() if hasattr(result, "ok") else None
            if operation is not None:
                found.append((f"{operation.method.upper()} {operation.path}", operation))
    except (SchemathesisError, *MALFORMED) as error:
        raise UsageError(f"the OpenAPI document cannot be used: {error}") from error
    return sorted(found, key=lambda f: (_place(f[0]), f[0]))


def _place(label: str) -> int:
    method = label.partition(" ")[0]
    return ORDER.index(method) if method in ORDER else len(ORDER)


def _cases(operation: Any, kind: str, count: int) -> Iterator[Any]:
    """Generated cases of one operation, without repetitions; none where there can be none."""
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import HypothesisException
    from schemathesis.errors import SchemathesisError
    from schemathesis.generation import GenerationMode

    if not count:
        return
    mode = GenerationMode.POSITIVE if kind == "valid" else GenerationMode.NEGATIVE
    out: dict[str, Any] = {}

    @seed(int(hashlib.sha256(f"{operation.label} {kind}".encode()).hexdigest()[:8], 16))
    @settings(
        max_examples=4 * count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        if len(out) < count:
            sent = case.as_transport_kwargs(base_url=HERE)
            out.setdefault(repr(sorted(sent.items(), key=str)), case)

    try:
        collect()
    except (HypothesisException, SchemathesisError, *MALFORMED):
        # An operation without parameters has no invalid request; some schemas allow nothing.
        return
    yield from out.values()


def _request(drive: OpenApiDrive, name: str, case: Any) -> HttpDrive:
    import requests

    given = case.as_transport_kwargs(base_url=HERE)
    known = ("method", "url", "headers", "params", "json", "data", "files", "cookies")
    ready = requests.Request(**{k: v for k, v in given.items() if k in known}).prepare()
    parts = urlsplit(ready.url or HERE)
    body = ready.body or b""
    headers = [
        (k, v if isinstance(v, str) else bytes(v).decode("latin-1"))
        for k, v in ready.headers.items()
        if k.lower() not in ("content-length", "user-agent", "x-schemathesis-testcaseid")
    ]
    return HttpDrive(
        id=f"{drive.id}: {name}",
        method=str(ready.method),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        port=drive.port,
        headers=(*_clean(headers), *drive.headers),
        body=body.encode() if isinstance(body, str) else bytes(body),
        expect_status=(0,),  # what the original answers is what the copy must answer
        tls=drive.tls,
        timeout=drive.timeout,
    )


def _clean(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(k, v) for k, v in headers if not set("\r\n\0") & set(k + v)]
