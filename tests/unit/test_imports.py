"""Recorded requests, API documents and pages become requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence

import pytest

from minify.errors import UsageError
from minify.imports.crawl import crawl, links_of
from minify.imports.graphql import introspect, queries_of
from minify.imports.har import Place, har_drives
from minify.imports.postman import postman_drives
from minify.model import CrawlDrive, GraphqlDrive, HttpDrive, Observation, OpenApiDrive

Finder = Generator[list[HttpDrive], Sequence[Observation], None]


def played(finder: Finder, serve: Callable[[HttpDrive], Observation]) -> list[list[str]]:
    """Play a finder against a function that answers; the paths of each batch."""
    out = []
    batch = next(finder, None)
    while batch:
        out.append([d.path for d in batch])
        try:
            batch = finder.send([serve(d) for d in batch])
        except StopIteration:
            break
    return out


def page(body: str, kind: str = "text/html; charset=utf-8", **headers: str) -> Observation:
    given = (("content-type", kind), *headers.items())
    return Observation("x", ok=True, status=200, headers=given, body=body.encode())


SITE = {
    "/": page(
        '<a href="/a#top">a</a><a href="b/">b</a><a href="http://else.where/x">no</a>'
        '<a href="mailto:me@x">no</a><link href="style.css" rel=stylesheet>'
        '<img srcset="/one.png 1x, /two.png 2x"><a href="/logout">no</a>'
    ),
    "/a": page('<a href="/">again</a><a href="http://localhost/deep?q=1&amp;r=2">deep</a>'),
    "/b/": page('<base href="/base/"><a href="c">c</a>'),
    "/style.css": page('@import "more.css"; body {background: url("bg.png")}', "text/css"),
    "/deep?q=1&r=2": page('<a href="/deeper">d</a><script src="/app.js"></script>'),
}


def serve(drive: HttpDrive) -> Observation:
    return SITE.get(drive.path, page("", "text/plain"))


def test_a_crawl_goes_level_by_level_and_stays_on_the_host() -> None:
    assert played(crawl(CrawlDrive("c", depth=2)), serve) == [
        ["/"],
        ["/a", "/b/", "/style.css", "/one.png", "/two.png"],
        ["/deep?q=1&r=2", "/base/c", "/more.css", "/bg.png"],
        ["/app.js"],
    ]


def test_a_crawl_has_bounds() -> None:
    assert played(crawl(CrawlDrive("c", depth=0)), serve)[0] == ["/"]
    pages = played(crawl(CrawlDrive("c", depth=9, limit=4)), serve)
    assert sum(len(level) for level in pages) == 4
    without = played(crawl(CrawlDrive("c", depth=1, exclude=("png", "^/b"))), serve)
    assert without[1] == ["/a", "/logout", "/style.css"]


def test_a_crawl_follows_redirects_on_the_same_host() -> None:
    moved = {"/": Observation("x", status=302, headers=(("location", "http://self/home"),))}
    found = played(crawl(CrawlDrive("c")), lambda d: moved.get(d.path, page("")))
    assert found == [["/"], ["/home"]]


def test_forms_are_sent_only_when_wanted_and_only_by_get() -> None:
    text = '<form action="/find"><input name=q value="a b"></form><form method=post action=/x>'
    assert links_of(text, "text/html", "/", forms=False) == ([], [])
    assert links_of(text, "text/html", "/", forms=True) == (["/find?q=a+b"], [])


@pytest.mark.parametrize("text", ["<a href=", "<a href='http://[bad'>", "<", "\x00", "<!--"])
def test_broken_pages_break_nothing(text: str) -> None:
    assert links_of(text, "text/html", "/", forms=True)[1] == []


def har(*requests: dict[str, object]) -> bytes:
    return json.dumps({"log": {"entries": [{"request": r} for r in requests]}}).encode()


def test_har() -> None:
    drives = har_drives(
        har(
            {
                "method": "GET", "url": "https://app.example/a?b=1",
                "headers": [
                    {"name": ":authority", "value": "x"}, {"name": "Cookie", "value": "s=1"},
                    {"name": "Accept", "value": "text/html"}, {"name": "Host", "value": "x"},
                ],
            },
            {"method": "GET", "url": "https://cdn.example/lib.js", "headers": []},
            {
                "method": "POST", "url": "https://app.example/login", "headers": [],
                "postData": {"mimeType": "application/json", "text": "{}"},
            },
            {
                "method": "POST", "url": "https://app.example/form", "headers": [],
                "postData": {
                    "mimeType": "application/x-www-form-urlencoded",
                    "params": [{"name": "a", "value": "1 2"}],
                },
            },
        ),
        Place("rec", port=80),
    )  # fmt: skip
    assert [(d.method, d.path, d.body, d.port) for d in drives] == [
        ("GET", "/a?b=1", b"", 80),
        ("POST", "/login", b"{}", 80),
        ("POST", "/form", b"a=1+2", 80),
    ]
    assert drives[0].headers == (("Accept", "text/html"),)
    assert dict(drives[1].headers)["Content-Type"] == "application/json"
    assert {d.session for d in drives} == {"rec"}
    assert len({d.id for d in drives}) == 3


COLLECTION = {
    "variable": [{"key": "base", "value": "http://x:1/api"}, {"key": "id", "value": "7"}],
    "item": [
        {
            "name": "folder",
            "item": [
                {
                    "name": "get",
                    "request": {
                        "method": "GET",
                        "url": {"raw": "{{host}}/items/{{id}}?q={{unknown}}"},
                        "header": [{"key": "A", "value": "{{id}}"}, {"key": "B", "disabled": True}],
                        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "t"}]},
                    },
                }
            ],
        },
        {
            "name": "post",
            "request": {
                "method": "POST",
                "url": {"path": ["a", "b"], "query": [{"key": "q", "value": "1"}]},
                "body": {
                    "mode": "raw", "raw": '{"id": {{id}}}',
                    "options": {"raw": {"language": "json"}},
                },
            },
        },
        {"name": "plain", "request": "http://host:80/plain"},
    ],
}  # fmt: skip


def test_postman() -> None:
    drives = postman_drives(json.dumps(COLLECTION).encode(), Place("c"))
    assert [(d.id, d.method, d.path) for d in drives] == [
        ("c: folder / get", "GET", "/items/7?q={{unknown}}"),
        ("c: post", "POST", "/a/b?q=1"),
        ("c: plain", "GET", "/plain"),
    ]
    assert dict(drives[0].headers) == {"A": "7", "Authorization": "Bearer t"}
    assert (drives[1].body, dict(drives[1].headers)) == (
        b'{"id": 7}', {"Content-Type": "application/json"},
    )  # fmt: skip


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"log": {"entries": [{}]}}', b"\xff"])
def test_what_is_no_recording_is_a_usage_error(text: bytes) -> None:
    with pytest.raises(UsageError):
        har_drives(text, Place("x"))
    with pytest.raises(UsageError):
        postman_drives(text, Place("x"))


def of(kind: str, name: str = "", inner: object = None) -> dict[str, object]:
    return {"kind": kind, "name": name, "ofType": inner}


SCHEMA = {
    "queryType": {"name": "Q"},
    "types": [
        {
            "name": "Q", "kind": "OBJECT",
            "fields": [
                {"name": "now", "args": [], "type": of("NON_NULL", "", of("SCALAR", "String"))},
                {
                    "name": "user", "type": of("OBJECT", "User"),
                    "args": [{"name": "id", "type": of("NON_NULL", "", of("SCALAR", "ID"))}],
                },
                {"name": "users", "args": [], "type": of("LIST", "", of("OBJECT", "User"))},
            ],
        },
        {
            "name": "User", "kind": "OBJECT",
            "fields": [
                {"name": "name", "args": [], "type": of("SCALAR", "String")},
                {"name": "friends", "args": [], "type": of("LIST", "", of("OBJECT", "User"))},
            ],
        },
    ],
}  # fmt: skip
INTROSPECTED = json.dumps({"data": {"__schema": SCHEMA}}).encode()


def test_graphql_asks_for_what_needs_no_argument() -> None:
    assert queries_of(INTROSPECTED, 1) == [
        ("now", "query { now }"),
        ("users", "query { users { __typename name friends { __typename } } }"),
    ]
    sent = played(introspect(GraphqlDrive("g")), lambda d: Observation("x", body=INTROSPECTED))
    assert sent == [["/graphql"], ["/graphql", "/graphql"]]


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"data": {"__schema": null}}'])
def test_an_endpoint_that_does_not_say_is_asked_nothing(answer: bytes) -> None:
    assert queries_of(answer, 2) == []


PETS = """
openapi: 3.0.3
info: {title: pets, version: "1"}
paths:
  /pets:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 9}}
      responses: {"200": {description: ok}}
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [name]
              additionalProperties: false
              properties: {name: {type: string, minLength: 1, pattern: "^[a-z]+$"}}
      responses: {"201": {description: made}}
  /pets/{id}:
    delete:
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {"204": {description: gone}}
"""


def test_openapi_makes_the_same_valid_and_invalid_requests_every_time() -> None:
    pytest.importorskip("schemathesis")
    from minify.imports.openapi import generate

    drive = OpenApiDrive("api", "/openapi.json", valid=2, invalid=2)
    made = generate(PETS.encode(), drive)
    generate.cache_clear()
    assert generate(PETS.encode(), drive) == made
    methods = [d.method for d in made]
    assert methods == sorted(methods, key=["POST", "GET", "DELETE"].index)
    posts = [d for d in made if d.id.startswith("api: POST /pets valid")]
    assert len(posts) == 2
    for post in posts:
        assert set(json.loads(post.body)) == {"name"}
    assert any("invalid" in d.id for d in made)
    assert len(generate(PETS.encode(), OpenApiDrive("api", "/", limit=3))) == 3


@pytest.mark.parametrize("text", [b"", b"{}", b"a: [", b"[1]", b"\xff\xfe", b"openapi: 9"])
def test_what_is_no_openapi_document_is_a_usage_error(text: bytes) -> None:
    pytest.importorskip("schemathesis")
    from minify.imports.openapi import generate

    with pytest.raises(UsageError):
        generate(text, OpenApiDrive("api", "/"))
