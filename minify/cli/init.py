"""The command that writes a first minify.yaml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from minify.cli import console
from minify.cli.build import bench_for
from minify.cli.options import gather, run_options
from minify.cli.results import with_context
from minify.errors import Exit, UsageError
from minify.workspace import write_document


@click.command("init")
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@run_options
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    default="minify.yaml",
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, default=None, help="Write over a file that is there.")
@click.option("--no-run", is_flag=True, help="Only look at the image, do not run it.")
def init_command(
    image: str, command: tuple[str, ...], output: str, no_run: bool, **flags: Any
) -> int:  # fmt: skip
    """Write a commented minify.yaml for IMAGE: from its configuration and a short trial run.

    \b
    Examples:
      minify init shop:1
      minify init shop:1 --env DATABASE=none -- serve --port 80
    """
    if Path(output).exists() and not flags["force"]:
        raise UsageError(f"{output} is there already", hint="--force writes over it")
    # What it is going to write over says nothing about this image.
    read = flags["config_file"] or os.environ.get("MINIFY_CONFIG") or os.devnull
    options = gather(image, command, {**flags, "config_file": read})
    from minify.init import look, render

    with console.progress(flags["quiet"]), bench_for(options) as bench:
        seen = look(bench, with_context(bench, options), run=not no_run)
    write_document(Path(output), render(seen))
    click.echo(f"{output} written; see what is in force with: minify config")
    return Exit.OK
