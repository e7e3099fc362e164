"""The flags that say how a service is exercised."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from minify.config.read import checked_items

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
KINDS = ("http", "tcp", "websocket", "sql", "grpc", "exec", "run", "signal")
FOUND = ("har", "postman", "openapi", "graphql", "crawl")
PROBE_KEYS = {
    **{f"{kind}_probe": f"{kind}_probes" for kind in KINDS},
    "ordered_probe": "probes",
    **{key: key for key in FOUND},
    **{key: key for key in ("runs", "hosts", "secrets")},
}

PROBES: tuple[Decorator, ...] = (
    click.option("--http-probe", "--drive", "--probe", multiple=True, metavar="'GET /path'",
                 help="Send this HTTP request; repeatable. Default: GET / on every exposed port. "
                 "Every probe may also be a mapping as in minify.yaml: '{path: /, status: 404}'."),
    click.option("--tcp-probe", multiple=True, metavar="PORT[:SEND]",
                 help=r"Connect to a port and send this (\r \n \xNN are understood); repeatable."),
    click.option("--websocket-probe", multiple=True, metavar="/PATH",
                 help="Open a WebSocket; repeatable."),
    click.option("--sql-probe", multiple=True, metavar="'{dialect: ..., statements: ...}'",
                 help="Run SQL statements (dialect postgresql or mysql); repeatable."),
    click.option("--grpc-probe", multiple=True, metavar="PORT",
                 help="Call what gRPC server reflection names on a port; repeatable."),
    click.option("--exec-probe", multiple=True, metavar="CMD",
                 help="Run this command inside the container, again while the service may be "
                 "starting; repeatable."),
    click.option("--run", "--run-probe", "run_probe", multiple=True, metavar="CMD",
                 help="Run this command here, as your own tests, with MINIFY_URL, MINIFY_HOST and "
                 "MINIFY_PORT_<N> set; repeatable."),
    click.option("--signal-probe", multiple=True, metavar="NAME",
                 help="Send this signal to PID 1 (a reload), then go on; repeatable."),
    click.option("--ordered-probe", multiple=True, metavar="'{KIND: PROBE}'",
                 help="A probe of any kind, after the others and in this order; repeatable."),
    click.option("--har", multiple=True, metavar="FILE",
                 help="Replay a HAR file recorded in a browser; repeatable."),
    click.option("--postman", multiple=True, metavar="FILE",
                 help="Send the requests of a Postman collection; repeatable."),
    click.option("--openapi", multiple=True, metavar="FILE|/PATH",
                 help="Generate requests from an OpenAPI document, a file or one the service "
                 "serves; repeatable."),
    click.option("--graphql", multiple=True, metavar="/PATH",
                 help="Introspect a GraphQL endpoint and query it; repeatable."),
    click.option("--run-args", "runs", multiple=True, metavar="'ARGS'",
                 help="Run a program that ends by itself with these arguments, in a container of "
                 "its own; repeatable."),
    click.option("--crawl", multiple=True, metavar="/PATH",
                 help="Visit the site from this page on; repeatable."),
)  # fmt: skip


class WithDashes(click.Command):
    """A command whose words after -- belong to the container when an IMAGE is named before it.

    Where none is (it is in minify.yaml), they are a command for this host, as with --run.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words after -- apart before click does."""
        if "--" not in args:
            return super().parse_args(ctx, args)
        place = args.index("--")
        after = args[place + 1 :]
        rest = super().parse_args(ctx, args[:place])
        if ctx.params.get("image"):
            ctx.params["command"] = (*(ctx.params.get("command") or ()), *after)
        elif after:
            ctx.params["run_probe"] = (*(ctx.params.get("run_probe") or ()), shlex.join(after))
        return rest


def probes_given(flags: dict[str, Any]) -> dict[str, list[Any]]:
    """The probes among the flags, by configuration key; each replaces that key's in the file."""
    given = {key: flags[name] for name, key in PROBE_KEYS.items() if flags.get(name)}
    return {key: checked_items(key, values) for key, values in given.items()}
