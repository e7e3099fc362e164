"""Containers that a traced one depends on, in a network of their own, up for one trial."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from docker.errors import APIError, NotFound

from minify.engines.docker_image import image_of
from minify.engines.docker_output import run_inside
from minify.errors import EngineError, TraceError
from minify.model import Companion, Plan
from minify.ready import wait_until

READY = 120.0  # seconds a companion may take
LOOK = 0.1
STALE = "1h"  # age after which an unused network is a killed run's
LOG_TAIL = 12
PIDS = 4096  # no companion takes the machine's processes


@contextlib.contextmanager
def accompanied(client: Any, plan: Plan, labels: dict[str, str]) -> Iterator[Plan]:
    """Bring up a plan's companions; yields the plan with their network. Raises EngineError."""
    around = plan.surroundings
    if not around.companions:
        yield plan
        return
    with contextlib.suppress(APIError):
        client.prune_networks(filters={"label": sorted(labels), "until": STALE})
    name = f"minify-{uuid.uuid4().hex[:12]}"
    made: list[str] = []
    # In a thread: an interrupt would come between the engine and its answer.
    maker = ThreadPoolExecutor(1)
    try:
        client.create_network(name, labels=labels)
        for companion in around.companions:
            maker.submit(
                lambda c: made.append(_create(client, c, name, labels)), companion
            ).result()
            client.start(made[-1])
            _await(client, made[-1], companion)
        yield replace(plan, surroundings=replace(around, network=name))
    except APIError as error:
        raise EngineError(f"cannot bring up what is depended on: {error.explanation}") from error
    finally:
        maker.shutdown()
        for container_id in reversed(made):
            with contextlib.suppress(APIError):
                client.remove_container(container_id, force=True, v=True)
        with contextlib.suppress(APIError):
            client.remove_network(name)


def _create(client: Any, companion: Companion, network: str, labels: dict[str, str]) -> str:
    _have(client, companion)
    endpoint = client.create_endpoint_config(aliases=[companion.name])
    host = client.create_host_config(
        binds=[
            f"{m.source}:{m.target}:{'ro' if m.read_only else 'rw'}"
            for m in companion.mounts
            if m.source
        ]
        or None,
        tmpfs={m.target: "" for m in companion.mounts if not m.source} or None,
        network_mode=network,
        pids_limit=PIDS,
        log_config={"Type": "json-file", "Config": {"max-size": "16m", "max-file": "1"}},
    )
    made = client.create_container(
        image=companion.image,
        host_config=host,
        entrypoint=list(companion.entrypoint) or None,
        command=list(companion.argv) or None,
        environment=list(companion.env) or None,
        user=companion.user or None,
        working_dir=companion.workdir or None,
        hostname=companion.name,
        labels=labels,
        healthcheck={"test": ["NONE"]},  # run below until it passes, and never again
        networking_config=client.create_networking_config({network: endpoint}),
    )
    return str(made["Id"])


def _have(client: Any, companion: Companion) -> None:
    """Pull the image if it is not there."""
    try:
        client.inspect_image(companion.image)
    except NotFound:
        try:
            name, colon, tag = companion.image.rpartition(":")
            whole = not colon or "/" in tag
            client.pull(companion.image if whole else name, tag="latest" if whole else tag)
        except APIError as error:
            raise EngineError(
                f"no image {companion.image} for the service {companion.name}",
                hint="build or pull it first: docker compose build, docker compose pull",
            ) from error


def _await(client: Any, container_id: str, companion: Companion) -> None:
    """Wait for the condition its dependents name; raises TraceError when it cannot come true."""
    completed = companion.condition == "service_completed_successfully"
    state: dict[str, Any] = {}
    checks = _checks(client, container_id, companion)

    def settled() -> bool:
        healthy = not completed and next(checks, True)
        state.clear()
        state.update(client.inspect_container(container_id)["State"])
        return healthy or not state["Running"]

    came = wait_until(settled, READY, tick=LOOK)
    good = state["ExitCode"] == 0 if completed else state["Running"]
    if companion.condition == "service_started" and state["Running"]:
        return  # a health check of its own is worth waiting for, but nobody insists on it
    if not (came and good):
        text = client.logs(container_id, tail=LOG_TAIL).decode(errors="replace").rstrip()
        raise TraceError(
            f"the service {companion.name} did not come up ({companion.condition}):\n{text}",
            hint=f"try it by hand: docker compose up {companion.name}",
        )


def _checks(client: Any, container_id: str, companion: Companion) -> Iterator[bool]:
    """Run the health check, the service's own or its image's, each time it is asked for.

    Not left to the engine: how often that had looked is a matter of time, and a service that
    counts or logs its visitors would answer differently in each trial.
    """
    image = image_of(companion.image, client.inspect_image(companion.image)).config
    check = companion.healthcheck or image.healthcheck
    command = check.command(image.shell) if check else ()
    while check and command:
        try:
            yield run_inside(client, container_id, command, check.timeout)[0] == 0
        except APIError:  # it has not started it, or the container has ended
            yield False
    yield True
