"""Visit a site from its start pages on: pages, and what they load, within one host. Pure.

Links are read from HTML (WHATWG: attributes that hold URLs) and from style sheets.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from html.parser import HTMLParser
from urllib.parse import quote, urlencode, urljoin, urlsplit

from minify.model import CrawlDrive, HttpDrive, Observation

PAGE_LIMIT = 2 << 20  # bytes of a page that are searched for links
LINKS = {"a": "href", "area": "href", "iframe": "src", "frame": "src"}
ASSETS = {
    "link": "href", "script": "src", "img": "src", "source": "src", "video": "src", "audio": "src",
    "track": "src", "embed": "src", "object": "data", "input": "src", "image": "href",
    "use": "href",
}  # fmt: skip
CSS_URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
# Following these would end the session, or change what is looked at.
NEVER = re.compile(r"(?i)log-?out|sign-?out|/delete|/remove")
ANY_STATUS = (0,)


class _Page(HTMLParser):
    """Collects what a page points at: `links` to go on from, `assets` it loads, its forms."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.links: list[str] = []
        self.assets: list[str] = []
        self.forms: list[tuple[str, list[tuple[str, str]]]] = []
        self._form: list[tuple[str, str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag's URLs."""
        given = {k: v for k, v in attrs if v is not None}
        if tag == "base":
            self.base = self.base or given.get("href", "")
        if tag in LINKS and LINKS[tag] in given:
            self.links.append(given[LINKS[tag]])
        if tag in ASSETS and ASSETS[tag] in given:
            self.assets.append(given[ASSETS[tag]])
        for candidate in given.get("srcset", "").split(","):
            self.assets += candidate.split()[:1]
        if "style" in given:
            self.assets += css_links(given["style"])
        self._take_form(tag, given)

    def _take_form(self, tag: str, given: dict[str, str]) -> None:
        if tag == "form":
            self._form = []
            if given.get("method", "get").lower() == "get":
                self.forms.append((given.get("action", ""), self._form))
        elif tag in ("input", "select", "textarea") and self._form is not None and "name" in given:
            self._form.append((given["name"], given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        """Leave a form."""
        if tag == "form":
            self._form = None


def css_links(text: str) -> list[str]:
    """What a style sheet loads."""
    return [one or two for one, two in CSS_URL.findall(text)]


def links_of(text: str, kind: str, here: str, *, forms: bool) -> tuple[list[str], list[str]]:
    """The paths a document at path `here` links to, and those it loads; other hosts left out."""
    if "css" in kind:
        return [], list(_paths(css_links(text), here))
    if "html" not in kind:
        return [], []
    page = _Page()
    page.feed(text)
    base = urljoin(here, page.base)
    links = list(_paths(page.links, base))
    if forms:
        sent = [f"{action}?{urlencode(fields)}" for action, fields in page.forms]
        links += _paths(sent, base)
    return links, list(_paths(page.assets, base))


def _paths(urls: Sequence[str], here: str) -> Iterator[str]:
    for url in urls:
        try:
            parts = urlsplit(urljoin(f"http://self{here}", url.strip()))
        except ValueError:
            continue
        if parts.scheme == "http" and parts.hostname in ("self", "localhost", "127.0.0.1"):
            path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
            yield path + (f"?{parts.query}" if parts.query else "")


def crawl(drive: CrawlDrive) -> Generator[list[HttpDrive], Sequence[Observation], None]:
    """Go breadth first: each batch is one level; assets are loaded on every level."""
    exclude = [re.compile(p) for p in drive.exclude] or [NEVER]
    seen: set[str] = set()
    pages, assets = list(drive.start), list[str]()
    for depth in range(drive.depth + 2):
        wanted = dict.fromkeys([*(pages if depth <= drive.depth else ()), *assets])
        fresh = [
            p for p in wanted
            if p not in seen and (p in drive.start or not any(e.search(p) for e in exclude))
        ][: drive.limit - len(seen)]  # fmt: skip
        if not fresh:
            return
        seen.update(fresh)
        answers = yield [_visit(drive, path) for path in fresh]
        pages, assets = [], []
        for path, answer in zip(fresh, answers, strict=False):
            found = _found(drive, path, answer)
            pages += found[0]
            assets += found[1]


def _found(drive: CrawlDrive, path: str, answer: Observation) -> tuple[list[str], list[str]]:
    headers = dict(answer.headers)
    moved = list(_paths([headers["location"]], path)) if "location" in headers else []
    text = answer.body.decode("utf-8", "replace")
    links, assets = links_of(text, headers.get("content-type", ""), path, forms=drive.forms)
    return moved + links, assets


def _visit(drive: CrawlDrive, path: str) -> HttpDrive:
    return HttpDrive(
        id=f"{drive.id}: GET {path}",
        path=path,
        port=drive.port,
        headers=drive.headers,
        expect_status=ANY_STATUS,
        tls=drive.tls,
        timeout=drive.timeout,
        session=drive.id,
        body_limit=PAGE_LIMIT,
    )
