"""What `unprobed.toml` says: scenarios, each a fresh container, each with steps.

::

    [[scenario]]
    name = "…"
    port = 80                     # wait until it listens; none: run the image to its end
    env = { TZ = "Asia/Tokyo" }   # and user, command, entrypoint, stdin, tmpfs
    mask = ['id \\d+']             # patterns blanked out of every answer before comparing
    [[scenario.step]]
    name = "…"
    http = "GET /path"            # with headers, body or repeat_body = ["text", times]
    # or one of
    tcp = "PING\\r\\n"              # read until quiet or closed
    exec = ["program", "argument"]  # inside the container, with exec_user
    signal = "HUP"                # to PID 1; until_log: a pattern to wait for in the new log
    restart = true                # stop, start, wait for the port
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One request; `kind` says which of the fields count."""

    name: str
    kind: str
    target: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    argv: tuple[str, ...] = ()
    user: str = ""
    until_log: str = ""
    mask: tuple[str, ...] = ()
    port: int = 0


@dataclass(frozen=True)
class Scenario:
    """One container and what is asked of it; without a port it runs to its end."""

    name: str
    port: int = 0
    steps: tuple[Step, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    command: tuple[str, ...] = ()
    entrypoint: str = ""
    stdin: bytes = b""
    tmpfs: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()

    @property
    def requests(self) -> int:
        """How many answers are compared: its steps, or its one run."""
        return len(self.steps) or 1


KINDS = ("http", "tcp", "exec", "signal", "restart")
STEP_KEYS = {*KINDS, "name", "headers", "body", "repeat_body", "exec_user", "until_log", "mask",
             "port"}  # fmt: skip
SCENARIO_KEYS = {"name", "port", "step", "env", "user", "command", "entrypoint", "stdin", "tmpfs",
                 "mask"}  # fmt: skip


def load(path: Path) -> tuple[Scenario, ...]:
    """Read a file of scenarios; raises ValueError on anything it does not know."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = set(data) - {"scenario"}
    if unknown:
        raise ValueError(f"{path}: unknown key {sorted(unknown)}")
    return tuple(_scenario(raw, path) for raw in data["scenario"])


def _scenario(raw: dict[str, Any], path: Path) -> Scenario:
    if unknown := set(raw) - SCENARIO_KEYS:
        raise ValueError(f"{path}: {raw.get('name')}: unknown key {sorted(unknown)}")
    return Scenario(
        name=raw["name"],
        port=raw.get("port", 0),
        steps=tuple(_step(step, path) for step in raw.get("step", ())),
        env=tuple(sorted(raw.get("env", {}).items())),
        user=raw.get("user", ""),
        command=tuple(raw.get("command", ())),
        entrypoint=raw.get("entrypoint", ""),
        stdin=raw.get("stdin", "").encode(),
        tmpfs=tuple(raw.get("tmpfs", ())),
        mask=tuple(raw.get("mask", ())),
    )


def _step(raw: dict[str, Any], path: Path) -> Step:
    kinds = [kind for kind in KINDS if kind in raw]
    unknown = set(raw) - STEP_KEYS
    if unknown or len(kinds) != 1:
        raise ValueError(f"{path}: {raw.get('name')}: one of {KINDS}; unknown {sorted(unknown)}")
    kind = kinds[0]
    text, times = raw.get("repeat_body", (raw.get("body", ""), 1))
    body = raw["tcp"] if kind == "tcp" else text * times
    return Step(
        name=raw["name"],
        kind=kind,
        target=raw[kind] if kind in ("http", "signal") else "",
        headers=tuple(raw.get("headers", {}).items()),
        body=body.encode(),
        argv=tuple(raw.get("exec", ())),
        user=raw.get("exec_user", ""),
        until_log=raw.get("until_log", ""),
        mask=tuple(raw.get("mask", ())),
        port=raw.get("port", 0),
    )
