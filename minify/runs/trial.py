"""One plan, once, on one engine: create, watch, start, wait until ready, drive, stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from minify.engines import Container, Engine
from minify.errors import TraceError
from minify.extras import needs_packages
from minify.model import (
    Behaviour,
    Evidence,
    Image,
    Observation,
    Plan,
    Watch,
)
from minify.probe import Probe, probing
from minify.ready import (
    Ready,
    Wanted,
    command_lines,
    cpu_seconds,
    handles_signal,
    listening,
    pause,
    wait_ready,
    wait_until,
)
from minify.runs.drive import Tools, expand, play, program_of
from minify.runs.kit import MOUNT, Kit
from minify.runs.silent import silent_ports
from minify.runs.watch import INSIDE, Seen, Watching, watching
from minify.signals import signal_number

SETTLE = 0.1  # seconds of idleness after the last drive before the stop
NOT_FILES = ("/proc", "/sys", "/dev", INSIDE)
LOG_TAIL = 12
DEFAULT_SIGNAL = "SIGTERM"
SILENT = "only that it is open was compared; give a request that it answers (minify build --help)"


@dataclass(frozen=True)
class Trial:
    """What one run showed: the evidence of its watchers, and its behaviour."""

    evidence: Evidence
    behaviour: Behaviour


@dataclass(frozen=True)
class Stage:
    """Where trials run: the engine, the tracing kit (None: never watch) and a scratch folder.

    `driven` is called when a watched trial has been driven and only its stop is to come.
    """

    engine: Engine
    kit: Kit | None
    folder: Path
    driven: Callable[[], None] = lambda: None


def run_trial(stage: Stage, image: Image, plan: Plan, name: str) -> Trial:
    """Run a plan once; `name` tells its scratch folder. Raises TraceError when it fails."""
    began = time.monotonic()
    folder = stage.folder / name
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(
            watching(
                plan.watch, stage.kit, folder, environment(image, plan), local=stage.engine.local
            )
        )
        container = stack.enter_context(stage.engine.create(plan, image, watch.launch))
        probes = _network_probes(stack, plan, container)
        watch.equip(container)
        container.start()
        watch.open_gate(container)
        ready = wait_ready(container, _wanted(plan, image))
        _check(ready, container, image, plan)
        observations = tuple(_drive(container, plan, image, ready, (probes, watch)))
        if plan.watch is not Watch.NONE:
            stage.driven()
            _settle(container)
        ports = _listened(container) or ready.ports
        running = _running(container) if plan.watch is not Watch.NONE else frozenset()
        cut = container.cut()  # while its control groups are there
        exit_code = _stop(container, plan, image)
        behaviour = Behaviour(
            observations=observations,
            ready=ready.up,
            exit_code=exit_code,
            exited_alone=ready.ended,
            ports=ports,
            log=container.log(),
            written=tuple(p for p in container.written() if _is_file_path(p)),
            seconds_ready=ready.seconds,
            seconds=time.monotonic() - began,
        )
        cut = tuple(dict.fromkeys((*cut, *container.cut())))
        seen = watch.collect(container)
    notes = seen.notes | frozenset(stage.engine.notes) | frozenset(cut)
    seen = replace(seen, lost=seen.lost + len(cut))
    if behaviour.exited_alone and _wanted(plan, image).expected:
        notes |= {"it ended by itself before any exposed port opened: no probe was played"}
    if mute := silent_ports(observations):
        notes |= {f"nothing was answered on port {', '.join(map(str, mute))}: {SILENT}"}
    if (sent := _stop_signal(image)) != (asked := image.config.stop_signal):
        notes |= {f"the image's STOPSIGNAL {asked!r} is no signal: it is stopped with {sent}"}
    argvs = running | {plan.command(image.config)}
    return Trial(_evidence(image, plan, replace(seen, notes=notes), argvs, behaviour), behaviour)


def _network_probes(
    stack: contextlib.ExitStack, plan: Plan, container: Container
) -> dict[str, Probe]:
    """Start the programs for the kinds of drive there are, before the container needs them."""
    return {
        kind: stack.enter_context(
            probing(
                f"drive_{kind}",
                container.beside,
                packages=needs_packages(d for d in plan.drives if program_of(d) == kind),
            )
        )
        for kind in sorted({program_of(d) for d in plan.drives} - {""})
    }


def _wanted(plan: Plan, image: Image) -> Wanted:
    # A default drive has no port of its own; a drive with a port was asked for by the user.
    required = {port for d in plan.drives if (port := getattr(d, "port", 0))}
    return Wanted(
        required=tuple(sorted(required)),
        expected=() if plan.ends else plan.ports or image.config.tcp_ports,
        log=plan.ready_log,
        timeout=plan.limits.ready,
    )


def _check(ready: Ready, container: Container, image: Image, plan: Plan) -> None:
    """Raise TraceError for a service that is not up; a command that ends by itself is fine."""
    wanted = _wanted(plan, image)
    if ready.up or (plan.ends and ready.ended):
        return
    tail = "\n".join(f"  | {line}" for line in container.log()[-LOG_TAIL:])
    tail = f"\nlast log lines:\n{tail}" if tail else "\n(it logged nothing)"
    tail += "".join(f"\n{words}" for words in container.cut())
    if not ready.ended:
        ports = ", ".join(str(p) for p in ready.missing or wanted.expected) or "any"
        raise TraceError(
            f"{image.reference} was not ready after {plan.limits.ready:g} s: "
            f"port {ports} never open{tail}",
            hint="name the right port (--http-probe 'GET :8080/'), wait longer (--ready-timeout) "
            "or for a log line (--ready-log)",
        )
    code = container.exit_code() or 0
    if code in (126, 127) or wanted.required or (code and wanted.expected):
        raise TraceError(
            f"{image.reference} ended with exit status {code} before it was ready{tail}",
            hint="run it by hand; it may need --env, --mount or a command after --",
        )


def _drive(
    container: Container,
    plan: Plan,
    image: Image,
    ready: Ready,
    tools: tuple[dict[str, Probe], Watching],
) -> Iterator[Observation]:
    probes, watch = tools
    if ready.ended:
        return
    exposed = plan.ports or image.config.tcp_ports
    ports = [p for p in exposed if p in ready.ports] or list(ready.ports)
    hands = Tools(probes, watch.exec_prefix, ports)
    yield from play(container, expand(plan.drives, ports), hands)
    _observe(container, plan)


def _listened(container: Container) -> tuple[int, ...]:
    """The ports now that all drives were played: when it was ready not all may have been open."""
    pid = container.pid
    return listening(pid) if pid is not None else ()


def _running(container: Container) -> frozenset[tuple[str, ...]]:
    """The command lines of what runs in it, less the kit's."""
    lines = command_lines(container.pid) if container.pid is not None else ()
    return frozenset(line for line in lines if not line[0].startswith(MOUNT))


def _observe(container: Container, plan: Plan) -> None:
    """Keep watching for as long as the user asked, or until the container ends."""
    deadline = time.monotonic() + plan.limits.observe
    while time.monotonic() < deadline and container.running():
        pause(min(0.1, plan.limits.observe))


def _settle(container: Container) -> None:
    """Let work that the last drive started come to rest (a second at most)."""
    pid = container.pid
    if pid is None:
        return
    last = [-1.0, time.monotonic()]

    def idle() -> bool:
        used = cpu_seconds(pid)
        if used != last[0]:
            last[:] = [used, time.monotonic()]
        return time.monotonic() - last[1] >= SETTLE

    wait_until(idle, 1.0)


def _stop(container: Container, plan: Plan, image: Image) -> int | None:
    """Stop with the image's own signal; None when it had to be killed."""
    if not container.running():
        return container.exit_code()
    name = _stop_signal(image)
    pid = container.pid
    # PID 1 never receives a signal it has no handler for: waiting for it would be waiting in vain.
    number = signal_number(name)
    if pid is None or number is None or handles_signal(pid, number):
        container.signal(name)
        if container.wait(plan.limits.stop):
            return container.exit_code()
    container.kill()
    container.wait(plan.limits.stop)
    return None


def _stop_signal(image: Image) -> str:
    """The image's stop signal; SIGTERM where what it says is no signal."""
    name = image.config.stop_signal
    return name if signal_number(name) is not None else DEFAULT_SIGNAL


def _is_file_path(path: str) -> bool:
    return not any(path == p or path.startswith(p + "/") for p in NOT_FILES)


def _evidence(
    image: Image,
    plan: Plan,
    seen: Seen,
    argvs: frozenset[tuple[str, ...]],
    behaviour: Behaviour,
) -> Evidence:
    return Evidence(
        image=image.digest,
        touches=frozenset(t for t in seen.touches if _is_file_path(t.path)),
        lost=seen.lost,
        watchers=seen.watchers,
        argvs=argvs,
        env=frozenset(plan.env),
        notes=seen.notes,
        failed_drives=frozenset(
            f"{o.drive}: {o.error or o.status}" for o in behaviour.observations if not o.ok
        ),
    )


def environment(image: Image, plan: Plan) -> dict[str, str]:
    """The environment the application gets."""
    return {**image.config.environment, **dict(e.partition("=")[::2] for e in plan.env)}


def unwatched(plan: Plan) -> Plan:
    """The same plan, without watchers."""
    return replace(plan, watch=Watch.NONE)
