"""The commands that look: why, gc, doctor, config."""

from __future__ import annotations

import json

import click

from minify.cli import console
from minify.cli.build import bench_for, find_shelf
from minify.config.read import home_folder
from minify.errors import Exit, UsageError
from minify.options import Options
from minify.workspace import Home

NOT_HERE = "minify build does not work here: it takes strace, and Docker or an OCI runtime"
ENGINES = click.Choice(["auto", "docker", "embedded"])


@click.command("why")
@click.argument("image")
@click.argument("path")
@click.option("--engine", type=ENGINES, default="auto")
def why_command(image: str, path: str, engine: str) -> int:
    """Say why PATH of IMAGE is in the minified image, back to the touch that began it, or why not.

    IMAGE is the original or the output of an earlier build.

    \b
    Example:
      minify why shop:1 /usr/lib/x86_64-linux-gnu/libssl.so.3
    """
    from minify.model import KeepSet
    from minify.why import explain

    with bench_for(Options(image=image, engine=engine)) as bench:
        shelf, digest = find_shelf(bench, image)
        keep = shelf.get("keep", KeepSet)
        if keep is None:
            raise UsageError(f"{image} was not built here yet", hint=f"minify build {image}")
        tree = bench.engine.load(digest).tree
    found = explain(keep, tree, path)
    console.show("\n".join(found.lines))
    return Exit.OK if found.exists else Exit.FAILED


@click.command("gc")
@click.option(
    "--all", "everything", is_flag=True, help="Remove stored evidence, kits and layers too."
)
@click.option("--engine", type=ENGINES, default="auto")
def gc_command(everything: bool, engine: str) -> int:
    """Remove what killed runs left behind: containers, unnamed images, scratch folders."""
    from minify.sweep import clear, sweep

    with bench_for(Options(engine=engine), sweeping=False) as bench:
        swept = sweep(bench.engine, bench.home)
    freed = clear(Home(home_folder()), everything=everything)
    click.echo(
        f"removed {swept.containers} containers, {swept.images} images, {swept.folders} folders"
        + (f"; freed {freed / 1e6:.1f} MB" if freed else "")
    )
    return Exit.OK


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor_command(as_json: bool) -> int:
    """Say what this machine can do for minify, and how to get what is missing.

    The exit status is 4 when no image can be minified here.
    """
    from minify.doctor import engine_of, examine

    checks = examine(home_folder())
    engine = engine_of(checks)
    status = Exit.OK if engine else Exit.UNSUPPORTED
    if as_json:
        click.echo(json.dumps([vars(c) for c in checks], indent=1))
        return status
    width = max(len(c.name) for c in checks)
    for check in checks:
        mark = click.style("ok     ", fg="green") if check.ok else click.style("missing", fg="red")
        click.echo(f"{mark}  {check.name:{width}}  {check.detail}")
        if not check.ok and check.hint:
            click.echo(f"{'':9}{'':{width}}  -> {check.hint}")
    told = f"minify build works here, with the {engine} engine" if engine else NOT_HERE
    click.echo(f"\n{told}")
    return status
