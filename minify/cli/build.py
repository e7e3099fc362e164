"""The commands that run containers: build, trace, verify, lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minify.cli import console
from minify.cli.ci_options import ci_options
from minify.cli.deadline import deadline
from minify.cli.options import gather, run_options
from minify.cli.place_options import output_options
from minify.cli.probe_options import WithDashes
from minify.cli.results import Wishes, deliver, result_of, wishes_of, with_context
from minify.codec import dumps
from minify.config.read import home_folder
from minify.errors import Exit, UsageError
from minify.intact import DamagedError
from minify.model import KeepLevel
from minify.options import Options
from minify.workspace import Home, running, write_document

if TYPE_CHECKING:  # slow to import, and --help needs none of it
    from minify.report import Report


@contextlib.contextmanager
def bench_for(options: Options, *, sweeping: bool = True) -> Iterator[Any]:
    """Open an engine and a run; what dead runs left behind is cleared on the way."""
    from minify.bench import Bench  # here: --help and completion stay quick
    from minify.outputs import access_of
    from minify.sweep import open_engine, sweep

    home = Home(home_folder())
    with running(home) as run, ThreadPoolExecutor(1) as beside:
        engine = open_engine(options.engine, run, home, access_of(options))
        try:
            # Nobody has to wait for what others left behind.
            swept = beside.submit(sweep, engine, home) if sweeping else None
            yield Bench(engine, home, run)
            if swept is not None:
                swept.result()
        finally:
            beside.shutdown()
            engine.close()


@contextlib.contextmanager
def _running(options: Options, flags: dict[str, Any]) -> Iterator[Any]:
    with (
        deadline(options.time_budget),
        console.progress(flags["quiet"]),
        bench_for(options) as bench,
    ):
        yield bench


@click.command("build", cls=WithDashes)
@click.argument("image", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--tag", "-t", metavar="NAME", help="Name of the output (default: IMAGE's name-min).")
@run_options
@click.option("--keep", multiple=True, metavar="GLOB", help="Keep these paths; repeatable.")
@click.option("--drop", multiple=True, metavar="GLOB", help="Drop these paths; repeatable.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A file with further keep and drop rules; repeatable.",
)
@click.option(
    "--policy-off",
    "policies_off",
    multiple=True,
    metavar="ID",
    help="Switch a shipped rule off; repeatable.",
)
@click.option(
    "--keep-level",
    type=click.Choice([k.value for k in KeepLevel]),
    help="exact: what was touched; reach (default): and what code could reach; "
    "package: and the whole package of each touched file.",
)
@click.option("--verify/--no-verify", default=None, help="Prove the output against the original.")
@click.option("--repairs", type=click.IntRange(0, 10), help="Rounds of repair after a failure (3).")
@click.option(
    "--evidence",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Use this evidence (of minify trace) instead of tracing; repeatable.",
)
@click.option(
    "--from-lock",
    "lock",
    type=click.Path(exists=True, dir_okay=False),
    help="Keep exactly what this minify.lock lists, without tracing.",
)
@click.option("--fresh", is_flag=True, default=None, help="Trace again, reuse nothing.")
@click.option("--force", is_flag=True, default=None, help="Move the output name if it is in use.")
@output_options
@ci_options
@click.option("--dry-run", is_flag=True, help="Show what would be run, run nothing.")
def build_command(image: str | None, command: tuple[str, ...], dry_run: bool, **flags: Any) -> int:
    """Minify IMAGE: observe it, keep what it needs, prove the result, tag it.

    COMMAND after -- replaces the image's CMD for the run. Where no IMAGE is named (it is in
    minify.yaml), the words after -- are a command for this host, as with --run.

    \b
    Examples:
      minify build shop:1                       GET / on every exposed port; makes shop:1-min
      minify build shop:1 --http-probe 'POST /items' --max-size 60MB
      minify build mytool:1 -- --version        a command that ends by itself
      minify build oci-archive:in.tar --output oci-archive:out.tar
    """
    options = gather(image, command, flags)
    wishes = wishes_of(flags)
    if dry_run:
        return _planned(options, flags)
    try:
        options, report = _built_once(options, wishes, flags)
    except DamagedError:
        # What ran on a damaged layer proves nothing; the store unpacks it again now.
        options, report = _built_once(replace(options, fresh=True), wishes, flags)
    return deliver(report, options, wishes)


def _planned(options: Options, flags: dict[str, Any]) -> int:
    from minify.building import prepare
    from minify.masking import plan_to_keep

    with _running(options, flags) as bench:
        plan = plan_to_keep(prepare(bench, with_context(bench, options)).plan)
        click.echo(dumps(plan, indent=1), nl=False)
    return Exit.OK


def _built_once(options: Options, wishes: Wishes, flags: dict[str, Any]) -> tuple[Options, Report]:
    with _running(options, flags) as bench:
        options = with_context(bench, options)
        return options, result_of(bench, options, wishes)


@click.command("trace", cls=WithDashes)
@click.argument("image", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@run_options
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True),
    default="evidence.json",
    show_default=True,
    help="Where to write the evidence.",
)
def trace_command(image: str | None, command: tuple[str, ...], output: str, **flags: Any) -> int:
    """Observe IMAGE and store the evidence, for: minify build --evidence FILE.

    minify trace IMAGE -- COMMAND replaces the image's CMD; minify trace -- COMMAND (IMAGE is in
    minify.yaml) runs COMMAND here, as your own tests, with MINIFY_URL, MINIFY_HOST and
    MINIFY_PORT_<N> set.

    \b
    Examples:
      minify trace shop:1 --output load.json --observe-for 60
      minify trace -- pytest tests/e2e          with `image: shop:1` in minify.yaml
    """
    options = gather(image, command, flags)
    from minify.pipeline import trace

    with _running(options, flags) as bench:
        evidence = trace(bench, with_context(bench, options))
    write_document(Path(output), dumps(evidence, indent=1), private=True)
    click.echo(f"{len(evidence.touches)} touches written to {output}")
    return Exit.OK if evidence.complete else Exit.INCOMPLETE


@click.command("verify")
@click.argument("original")
@click.argument("candidate")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@run_options
def verify_command(original: str, candidate: str, command: tuple[str, ...], **flags: Any) -> int:
    """Run ORIGINAL twice and CANDIDATE once under the same probes, and show every difference.

    \b
    Example:
      minify verify shop:1 shop:1-min --http-probe 'GET /other'
    """
    options = gather(original, command, flags)
    from minify.pipeline import verify_images
    from minify.reports.as_text import render_verdict

    with _running(options, flags) as bench:
        verdict = verify_images(bench, with_context(bench, options), candidate)
    click.echo(render_verdict(verdict), nl=False)
    return Exit.OK if verdict.passed else Exit.VERDICT


@click.command("lock")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True),
    help="Where to write it (minify.lock; with --shared minify.shared).",
)
@click.option("--shared", is_flag=True, help="Write the list of files that all IMAGES share.")
@click.option("--engine", type=click.Choice(["auto", "docker", "embedded"]), default="auto")
def lock_command(images: tuple[str, ...], output: str | None, shared: bool, engine: str) -> int:
    """Write the keep list of IMAGE's last build as a lock file to review and commit.

    With --shared: what the last builds of several images keep of the layers they have in common,
    for minify build --shared-with FILE.

    \b
    Examples:
      minify lock shop:1                   then: minify build shop:1 --from-lock minify.lock
      minify lock --shared shop:1 cart:1   then: minify build shop:1 --shared-with minify.shared
    """
    if len(images) > 1 and not shared:
        raise UsageError("a lock is of one image", hint="--shared takes several")
    with bench_for(Options(engine=engine)) as bench:
        built = [_built(bench, image) for image in images]
        text, count = _shared(bench, built, images) if shared else _lock(built[0][0])
    output = output or ("minify.shared" if shared else "minify.lock")
    write_document(Path(output), text)
    click.echo(f"{count} paths written to {output}")
    return Exit.OK


def _built(bench: Any, image: str) -> tuple[Any, str]:
    """The documents of an image's last build, and its digest; raises UsageError without one."""
    from minify.model import KeepSet

    shelf, digest = find_shelf(bench, image)
    if shelf.get("keep", KeepSet) is None:
        raise UsageError(f"{image} was not built here yet", hint=f"minify build {image}")
    return shelf, digest


def _lock(shelf: Any) -> tuple[str, int]:
    from minify.lock import write_lock
    from minify.model import KeepSet, OutputImage

    keep, packed = shelf.get("keep", KeepSet), shelf.get("output", OutputImage)
    return write_lock(keep, packed.size if packed else 0), len(keep.paths)


def _shared(bench: Any, built: list[tuple[Any, str]], names: tuple[str, ...]) -> tuple[str, int]:
    from minify.fleet import Member, fleet_of, write_fleet
    from minify.model import KeepSet

    members = [
        Member(name, bench.engine.load(digest), shelf.get("keep", KeepSet).paths)
        for name, (shelf, digest) in zip(names, built, strict=True)
    ]
    fleet = fleet_of(members)
    return write_fleet(fleet), len(fleet.paths)


def find_shelf(bench: Any, reference: str) -> tuple[Any, str]:
    """The documents of an image's last build, by the name of the original or of the output."""
    from minify.documents import Shelf
    from minify.images.transports import parse_location
    from minify.names import source_of

    image = bench.engine.find(reference)
    if image is None and parse_location(reference).transport.on_disk:
        image = bench.engine.load(reference).image
    if image is None:
        asked = bench.engine.name
        embedded = "no Docker engine was asked; see: minify doctor, or set DOCKER_HOST"
        raise UsageError(
            f"no such image in the {asked} engine: {reference}",
            hint="see: docker images" if asked == "docker" else embedded,
        )
    digest = source_of(image) or image.digest
    return Shelf(bench.home.work(digest)), digest
