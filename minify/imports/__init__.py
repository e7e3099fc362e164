"""Drives out of what people already have: recorded requests, API documents, the service itself.

A finder is a generator: it yields a batch of requests, is sent their answers, and yields the next.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from minify.imports.crawl import crawl
from minify.imports.graphql import introspect
from minify.model import CrawlDrive, FindingDrive, GraphqlDrive, HttpDrive, Observation

Finder = Generator[list[HttpDrive], Sequence[Observation], None]


def find(drive: FindingDrive) -> Finder:
    """The finder of a drive."""
    if isinstance(drive, CrawlDrive):
        return crawl(drive)
    if isinstance(drive, GraphqlDrive):
        return introspect(drive)
    from minify.imports.openapi import served  # here: its library is optional, and slow to import

    return served(drive)
