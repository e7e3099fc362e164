"""Locales that scripts, sources and settings name: `LC_ALL=de_DE.UTF-8 sort`, setlocale(3).

A name counts with its character set only, which nothing but a locale has. glibc finds
`de_DE.UTF-8` in the folder `de_DE.utf8`, or in the archive of all locales (locale(7)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.places import Places, load_places
from minify.resolvers import Need, Resolver, Scene

RULE = "locales"
ROOT = "/usr/lib/locale"
ARCHIVE_LIMIT = 32 << 20
LIMIT = 1 << 20
NAME = re.compile(
    rb"\b([a-z]{2,3}_[A-Z]{2}|C(?=\.(?:UTF-?8|utf-?8)\b))\.([A-Za-z][\w-]{2,15})(@[a-z]+)?"
)
TEXTS = re.compile(
    r".*\.(?:sh|bash|py|rb|ru|php|pl|pm|psgi|cgi|js|mjs|cjs|ts|lua|conf|cnf|ini|env|ya?ml|toml|json|properties)"
)


class Locales:
    """Resolver of locales named in text."""

    name = RULE
    level = KeepLevel.REACH

    def __init__(self) -> None:
        self._places: Places | None = None

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the locales of the image that a kept text of the application's names."""
        if entry.kind is not Kind.FILE or not 8 <= entry.size <= LIMIT:
            return ()
        if not entry.executable and not TEXTS.fullmatch(entry.path):
            return ()
        self._places = self._places or load_places()
        if self._places.vendored.match(entry.path) or not scene.tree.is_dir(ROOT):
            return ()
        return _named(scene, entry)


def make() -> Resolver:
    """Make the resolver."""
    return Locales()


def _named(scene: Scene, entry: Entry) -> Iterator[Need]:
    text = scene.tree.read(entry.path)
    if b"\0" in text[:1024]:
        return
    for language, charset, variant in sorted(set(NAME.findall(text))):
        spelled = charset.decode().lower().replace("-", "")
        stem, end = language.decode(), variant.decode()
        folders = [f"{ROOT}/{stem}.{c}{end}" for c in (spelled, charset.decode())]
        real = next((r for f in folders if (r := scene.tree.real(f))), None)
        reason = Reason(RULE, entry.path, f"names the locale {stem}.{charset.decode()}{end}")
        if real is not None:
            yield from (Need(found.path, reason) for found in scene.tree.walk(real))
            continue
        archive = scene.tree.resolve(f"{ROOT}/locale-archive").entry
        if archive is not None and archive.size <= ARCHIVE_LIMIT:
            yield Need(archive.path, reason)
