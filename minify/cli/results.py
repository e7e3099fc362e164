"""From options to a result and its files: build the context, ask the cache, write the reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minify.errors import UsageError
from minify.options import Options
from minify.workspace import write_document

if TYPE_CHECKING:  # these are slow to import, and --help needs none of them
    from minify.bench import Bench
    from minify.model import Image
    from minify.report import Report


@dataclass(frozen=True)
class Wishes:
    """What shall be written beside the image: reports as (file, format), provenance, the cache."""

    reports: tuple[tuple[str, str], ...]
    provenance: str
    cache: str

    @property
    def weigh_levels(self) -> bool:
        """Whether what every keep level would weigh is wanted: JSON reports have it."""
        return any(kind == "json" for _, kind in self.reports)


def wishes_of(flags: dict[str, Any]) -> Wishes:
    """What the flags ask to be written; raises UsageError before anything ran."""
    from minify.reports import format_of

    files = flags.get("reports") or ()
    otherwise = flags.get("report_format") or ""
    if otherwise and not files:
        raise UsageError("--report-format says how, --report FILE where", hint="add --report FILE")
    reports = tuple((file, format_of(file, otherwise)) for file in files)
    return Wishes(reports, flags.get("provenance") or "", flags.get("cache_dir") or "")


def with_context(bench: Bench, options: Options) -> Options:
    """Build images first: that of a context, and services that a compose file says to build."""
    if not (options.context or options.builds):
        return options
    from minify.context import build_image, build_services

    build_services(bench, options.builds)
    return replace(options, image=build_image(bench, options)) if options.context else options


def result_of(bench: Bench, options: Options, wishes: Wishes) -> Report:
    """The report of a build, or of the former one for the same input."""
    if not wishes.cache:
        return _built(bench, options, wishes)
    from minify import cache

    folder = Path(wishes.cache)
    found = bench.engine.find(options.image) or _loaded(bench, options)
    key = cache.key_for(options, found.digest, bench.engine.name)
    entry = None if options.fresh else cache.find(folder, key)
    # A result of a run that weighed no levels does not have what a JSON report tells.
    if entry and (entry.report.level_bytes or not wishes.weigh_levels):
        report = cache.restore(bench, options, entry)
        if report is not None:
            cache.touch(folder, key)
            return report
    report = _built(bench, options, wishes)
    key = cache.key_for(options, report.original.digest, bench.engine.name)
    _store(bench, folder, key, report)
    return report


def _loaded(bench: Bench, options: Options) -> Image:
    return bench.engine.load(options.image, options.platform).image


def _store(bench: Bench, folder: Path, key: str, report: Report) -> None:
    from minify.cache import store
    from minify.documents import Shelf
    from minify.model import OutputImage
    from minify.steps import step

    output = Shelf(bench.home.work(report.original.digest)).get("output", OutputImage)
    with step("Caching") as progress:
        if not key:
            progress.warn(
                "not cached: a mount, a command on this host or another container decides too"
            )
        elif not (output and output.digest == report.minified.digest):
            progress.note("not cached: another build of the image ended meanwhile")
        elif report.tagged and not store(folder, key, report, output):
            progress.note(f"not cached: the result is not a good one, or {folder} is not writable")


def _built(bench: Bench, options: Options, wishes: Wishes) -> Report:
    from minify.pipeline import build

    return build(bench, options, weigh_levels=wishes.weigh_levels)


def deliver(report: Report, options: Options, wishes: Wishes) -> int:
    """Write what was asked for, print the result, and return the exit status."""
    from minify.reports import render

    for file, kind in wishes.reports:
        write_document(Path(file), render(report, kind).decode())
    if wishes.provenance and report.tagged:
        from minify.provenance import statement

        write_document(Path(wishes.provenance), statement(report, options))
    click.echo(render(report, "text").decode(), nl=False)
    return report.exit_code
