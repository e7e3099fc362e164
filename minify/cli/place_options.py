"""The flags that say where images come from and go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FILE = click.Path(exists=True, dir_okay=False)

REGISTRY: tuple[Decorator, ...] = (
    click.option("--auth-file", type=FILE, metavar="FILE",
                 help="Credentials for registries (default: those of docker login)."),
    click.option("--cert-dir", type=click.Path(exists=True, file_okay=False), metavar="DIR",
                 help="Certificates of registries: ca.crt, and client.cert with client.key."),
    click.option("--tls-verify/--no-tls-verify", default=None,
                 help="Trust verified registries only (the default), or any, also without TLS."),
)  # fmt: skip
OUTPUTS: tuple[Decorator, ...] = (
    click.option("--output", "-o", "outputs", multiple=True, metavar="LOCATION",
                 help="Write the result here instead of the engine: oci:DIR[:TAG], "
                 "oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], docker-daemon:NAME, or push "
                 "it to docker://NAME; repeatable."),
    click.option("--layers", type=click.Choice(["single", "shared"]),
                 help="One layer (the default, smallest), or layers that minified images of the "
                 "same base share."),
    click.option("--shared-with", type=FILE, metavar="FILE",
                 help="Layers to share, the first of them the files this list names (it is "
                 "written by minify lock --shared)."),
)  # fmt: skip


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how and where the result is written."""
    for option in reversed(OUTPUTS):
        command = option(command)
    return command


def places_given(flags: dict[str, Any]) -> dict[str, Any]:
    """The options these flags set; None for what was not given."""
    named = ("layers", "shared_with", "auth_file", "cert_dir", "tls_verify")
    return {"output": flags.get("outputs") or None, **{k: flags.get(k) for k in named}}
