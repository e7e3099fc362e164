"""The flags that several commands share, and how they become options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from minify.cli.ci_options import ci_given
from minify.cli.place_options import REGISTRY, places_given
from minify.cli.probe_options import PROBES, probes_given
from minify.config.compose import with_compose
from minify.config.read import base_options, mount_from, source_date_epoch
from minify.errors import UsageError
from minify.model import KeepLevel
from minify.options import Options
from minify.run import users_environment

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_RUN: tuple[Decorator, ...] = (
    *PROBES,
    click.option("--no-default-probes", "default_drives", flag_value=False, default=None,
                 help="Send no GET / when no probe is given."),
    click.option("--observe-for", type=click.FloatRange(min=0), metavar="SECONDS",
                 help="Keep observing for so long after the probes."),
    click.option("--ready-log", metavar="TEXT", help="Ready when a log line contains this."),
    click.option("--ready-timeout", type=click.FloatRange(min=0.1), metavar="SECONDS",
                 help="How long to wait until the service is ready (60)."),
    click.option("--stop-timeout", type=click.FloatRange(min=0), metavar="SECONDS",
                 help="How long to wait for a graceful stop (10)."),
    click.option("--env", "-e", multiple=True, metavar="K=V", help="Set a variable; repeatable."),
    click.option("--user", "-u", metavar="USER", help="Run as this user instead of the image's."),
    click.option("--workdir", "-w", metavar="DIR", help="Run in this directory."),
    click.option("--entrypoint", metavar="CMD", help="Run this instead of the ENTRYPOINT."),
    click.option("--mount", multiple=True, metavar="HOST:PATH[:rw]",
                 help="Bind-mount a host path, or /PATH for a tmpfs; repeatable."),
    click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE",
                 help="Mount a file read-only as /run/secrets/NAME; repeatable."),
    click.option("--add-host", "hosts", multiple=True, metavar="NAME:ADDRESS",
                 help="Add a line to /etc/hosts; repeatable."),
    click.option("--port", "ports", multiple=True, type=click.IntRange(1, 65535), metavar="PORT",
                 help="A port the service listens on, where EXPOSE does not say; repeatable."),
    click.option("--memory", metavar="SIZE",
                 help="Memory limit, as in 512MB (default: two fifths of the machine's)."),
    click.option("--cpus", type=click.FloatRange(min=0.01), help="Processor limit, as in 1.5."),
    click.option("--pids", type=click.IntRange(1), help="Limit of processes (4096)."),
    click.option("--network", metavar="NAME", help="Join this network of the engine."),
    click.option("--compose", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
                 help="Bring up what --compose-service depends on in this compose file."),
    click.option("--compose-service", metavar="NAME", help="The service of it that is traced."),
    click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False),
                 help="Read options from this file (default: MINIFY_CONFIG, ./minify.yaml)."),
    click.option("--engine", type=click.Choice(["auto", "docker", "embedded"]),
                 help="Where containers run; auto takes Docker when it answers."),
    click.option("--platform", metavar="OS/ARCH", help="Which platform of the image."),
    click.option("--light", is_flag=True, default=None,
                 help="Watch without slowing hot paths: fanotify sees opens, strace the rest."),
    click.option("--time-budget", type=click.FloatRange(min=0.1), metavar="SECONDS",
                 help="End, and clean up, when the whole run takes longer than this."),
    *REGISTRY,
    click.option("--quiet", "-q", is_flag=True, help="Show warnings and the result only."),
)  # fmt: skip


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say how a container is run and driven."""
    return functools.reduce(lambda made, option: option(made), reversed(_RUN), command)


def gather(image: str | None, command: tuple[str, ...], flags: dict[str, Any]) -> Options:
    """Options from the configuration file, overridden by flags; raises UsageError."""
    options = base_options(flags.get("config_file"), {**probes_given(flags), **_around(flags)})
    given = {
        "image": image,
        "argv": tuple(command) or None,
        "env": _env(flags["env"], options.env) if flags["env"] else None,
        "mounts": tuple(mount_from(m, Path.cwd()) for m in flags["mount"]) or None,
        "entrypoint": (flags["entrypoint"],) if flags["entrypoint"] else None,
        "epoch": source_date_epoch(),
        **{k: flags.get(k) for k in ("tag", "engine", "platform", "user", "workdir", "ready_log")},
        **{k: flags.get(k) for k in ("light", "fresh", "force", "verify", "repairs")},
        **{k: flags.get(k) for k in ("default_drives",)},
        **{k: flags.get(k) or None for k in ("keep", "drop", "policies", "policies_off")},
        **{k: flags.get(k) or None for k in ("evidence", "lock")},
        **ci_given(flags),
        **places_given(flags),
        "keep_level": KeepLevel(flags["keep_level"]) if flags.get("keep_level") else None,
        "limits": _limits(options, flags),
    }
    made = replace(options, **{k: v for k, v in given.items() if v is not None})
    if made.compose:
        made = with_compose(made, users_environment())
    if not made.image and not made.context:
        raise UsageError(
            "no image named", hint="minify build IMAGE, or --context DIR, or image: in minify.yaml"
        )
    return made


def _around(flags: dict[str, Any]) -> dict[str, Any]:
    """What surrounds the container, among the flags, by configuration key."""
    keys = ("memory", "cpus", "pids", "network", "compose", "compose_service")
    given = {key: flags[key] for key in keys if flags.get(key) is not None}
    return {**given, **({"ports": list(flags["ports"])} if flags.get("ports") else {})}


def _env(given: tuple[str, ...], base: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [item for item in given if not item.partition("=")[0] or "=" not in item]
    if wrong:
        raise UsageError(f"not K=V: {', '.join(wrong)}", hint="as in: --env TZ=Europe/Paris")
    names = {item.partition("=")[0] for item in given}
    return (*(b for b in base if b.partition("=")[0] not in names), *given)


def _limits(options: Options, flags: dict[str, Any]) -> Any:
    named = {"ready": "ready_timeout", "stop": "stop_timeout", "observe": "observe_for"}
    given = {k: flags[f] for k, f in named.items() if flags.get(f) is not None}
    return replace(options.limits, **given)
