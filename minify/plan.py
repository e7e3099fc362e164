"""Image and options become a plan: what runs, as whom, with which drives and limits."""

from __future__ import annotations

import os
import posixpath
from dataclasses import replace

from minify.engines import Loaded
from minify.errors import EngineError
from minify.extras import check_extras
from minify.model import (
    DEFAULT_PATH,
    HEALTHCHECK,
    NETWORK,
    Drive,
    ExecDrive,
    HttpDrive,
    Image,
    Kind,
    Plan,
    Surroundings,
    Watch,
)
from minify.options import Options

PIDS = 4096  # a JVM or a database with hundreds of threads has room
LEAST_MEMORY = 512 << 20


def make_plan(loaded: Loaded, options: Options, *, memory: int = 0) -> Plan:
    """Decide everything a trial will do; raises EngineError for an image that cannot start.

    `memory` is the bytes of the machine the containers run on, 0 where that is not known.
    """
    image = loaded.image
    plan = Plan(
        image=image.digest,
        argv=options.argv,
        entrypoint=options.entrypoint,
        env=options.env,
        user=options.user,
        workdir=options.workdir,
        mounts=options.mounts,
        drives=_drives(image, options),
        ready_log=options.ready_log,
        limits=options.limits,
        watch=Watch.LIGHT if options.light else Watch.FULL,
        platform=options.platform,
        surroundings=bounded(options.surroundings, memory),
        ports=options.ports,
        cases=options.cases,
    )
    _check_command(loaded, plan)
    check_extras(plan.drives)
    return plan


def bounded(around: Surroundings, memory: int) -> Surroundings:
    """Limits where none were asked for, so that no image takes the machine.

    `memory` is the machine's in bytes (0: not known, it is somebody else's). Two containers may run
    at once; a page cache counts as theirs and is given back.
    """
    share = max(memory * 2 // 5 >> 20 << 20, LEAST_MEMORY) if memory else 0
    return replace(around, memory=around.memory or share, pids=around.pids or PIDS)


def machine_memory() -> int:
    """This machine's memory in bytes (sysconf(3)); 0 where that cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _drives(image: Image, options: Options) -> tuple[Drive, ...]:
    """The user's drives, or `GET /` on every exposed port; and always the health check."""
    drives: tuple[Drive, ...] = options.drives
    if options.cases and not drives:
        return ()  # a program that is run for each case, no service
    if not any(d.KIND in NETWORK for d in drives) and options.default_drives:
        # A port that accepts and stays silent is not HTTP: no need to wait long to know.
        drives = (HttpDrive(id="GET /", timeout=10.0), *drives)
    check = image.config.healthcheck
    if check:
        argv = image.config.health_command
        drives = (*drives, ExecDrive(HEALTHCHECK, argv, timeout=max(check.timeout, 1.0)))
    return drives


def _check_command(loaded: Loaded, plan: Plan) -> None:
    """Find the command before anything starts, as the runtime will (PATH of the image)."""
    image, tree = loaded.image, loaded.tree
    argv = plan.command(image.config)
    if not argv:
        raise EngineError(
            f"{image.reference} names no command to run",
            hint="give one: minify build IMAGE -- COMMAND",
        )
    name = argv[0]
    if plan.mounts:
        return  # the command may come from a mount
    environment = {**image.config.environment, **dict(e.partition("=")[::2] for e in plan.env)}
    path = environment.get("PATH") or DEFAULT_PATH
    workdir = plan.workdir or image.config.workdir
    folders = [""] if "/" in name else path.split(":")
    candidates = [posixpath.join(workdir, f, name) for f in folders]
    found = [tree.resolve(c).entry for c in candidates]
    if not any(e is not None and e.kind is Kind.FILE for e in found):
        raise EngineError(
            f"{image.reference} has no such command: {name}",
            hint="look at its ENTRYPOINT and CMD: docker image inspect "
            f"--format '{{{{.Config}}}}' {image.reference}",
        )
