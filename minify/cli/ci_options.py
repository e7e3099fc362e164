"""The flags of the CI step: gates, reports, the cache, and building the image first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from minify.errors import UsageError
from minify.sizes import bytes_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FORMATS = ("text", "json", "sarif", "junit", "markdown")
PERCENT = click.FloatRange(min=0)
FILE = click.Path(dir_okay=False, writable=True)

BUILDKIT = ("build_secrets", "build_ssh", "build_cache_from", "build_cache_to")

_CI: tuple[Decorator, ...] = (
    click.option("--max-size", metavar="SIZE",
                 help="Gate: the output is at most this large, as in 10MB or 50MiB."),
    click.option("--min-reduction", type=click.FloatRange(0, 100), metavar="PERCENT",
                 help="Gate: the output is at least so much smaller than the original."),
    click.option("--max-growth", type=PERCENT, metavar="PERCENT",
                 help="Gate: the output is at most so much larger than the lock says."),
    click.option("--baseline", metavar="LOCK",
                 help="The lock --max-growth looks at (minify.lock)."),
    click.option("--forbid", multiple=True, metavar="WORD[,WORD]",
                 help="Gate: nothing of this kind is in the output: shell, setuid, "
                 "package-manager, world-writable, ... (docs/ci.md); repeatable."),
    click.option("--require", multiple=True, metavar="PATH",
                 help="Gate: this path (or glob) is in the output; repeatable."),
    click.option("--report", "reports", multiple=True, type=FILE, metavar="FILE",
                 help="Write a report: .json, .sarif, .xml (JUnit), .md or .txt; repeatable."),
    click.option("--report-format", type=click.Choice(FORMATS),
                 help="The format of report files with another suffix."),
    click.option("--provenance", type=FILE, metavar="FILE",
                 help="Write a provenance statement (in-toto, SLSA 1.0)."),
    click.option("--cache-dir", type=click.Path(file_okay=False), metavar="DIR",
                 help="Keep results here: the same input gives the former result at once."),
    click.option("--context", metavar="DIR", help="Build the image from this folder first."),
    click.option("--dockerfile", "-f", metavar="FILE",
                 help="The Dockerfile of that build (DIR/Dockerfile)."),
    click.option("--build-arg", "build_args", multiple=True, metavar="K=V",
                 help="An argument of that build; repeatable."),
    click.option("--build-target", "--target", metavar="STAGE",
                 help="Stop that build at this stage."),
    click.option("--build-network", metavar="MODE",
                 help="The network of that build's RUN instructions."),
    click.option("--build-secret", "build_secrets", multiple=True, metavar="SPEC",
                 help="A secret of that build, as in id=token,src=FILE or id=token,env=NAME "
                 "(BuildKit); repeatable."),
    click.option("--build-ssh", multiple=True, metavar="SPEC",
                 help="SSH for that build: default, or ID=SOCKET, ID=KEY (BuildKit); repeatable."),
    click.option("--build-cache-from", multiple=True, metavar="SPEC",
                 help="Where that build's cache comes from, as docker build has it; repeatable."),
    click.option("--build-cache-to", multiple=True, metavar="SPEC",
                 help="Where that build's cache goes (BuildKit); repeatable."),
)  # fmt: skip


def ci_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of the CI step."""
    return functools.reduce(lambda made, option: option(made), reversed(_CI), command)


def ci_given(flags: dict[str, Any]) -> dict[str, Any]:
    """The options these flags set; None for what was not given."""
    size = flags.get("max_size")
    arguments = flags.get("build_args") or ()
    if wrong := [a for a in arguments if not a.partition("=")[0]]:
        raise UsageError(f"not K=V: {', '.join(wrong)}", hint="as in: --build-arg VERSION=1")
    named = ("min_reduction", "max_growth", "baseline", "context", "dockerfile", "build_target")
    return {
        "max_size": None if size is None else bytes_of(size),
        "forbid": flags.get("forbid") or None,
        "require": flags.get("require") or None,
        "build_args": tuple(arguments) or None,
        "build_network": flags.get("build_network"),
        **{key: tuple(flags.get(key) or ()) or None for key in BUILDKIT},
        "time_budget": flags.get("time_budget"),
        **{k: flags.get(k) for k in named},
    }
