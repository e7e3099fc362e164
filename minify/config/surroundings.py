"""Read what surrounds a container, and its cases, from configuration data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minify.config.httpform import read_file
from minify.errors import UsageError
from minify.model import Case, Mount, Surroundings
from minify.sizes import bytes_of

SECRETS = "/run/secrets"


def surroundings_from(data: Mapping[str, Any]) -> Surroundings:
    """Read hosts, memory, cpus, pids and network; raises UsageError."""
    return Surroundings(
        hosts=tuple(_hosts(data.get("hosts") or ())),
        memory=bytes_of(data["memory"]) if "memory" in data else 0,
        cpus=float(data.get("cpus", 0)),
        pids=int(data.get("pids", 0)),
        network=str(data.get("network", "")),
    )


def _hosts(value: Mapping[str, Any] | Sequence[str]) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = [f"{name}:{address}" for name, address in value.items()]
    for line in value:
        name, colon, address = line.partition(":")
        if not (name and colon and address):
            raise UsageError(f"not NAME:ADDRESS: {line!r}", hint="as in: --add-host db:10.0.0.7")
        yield line


def secrets_from(value: Mapping[str, Any] | Sequence[str], base: Path) -> tuple[Mount, ...]:
    """Mounts of secret files below /run/secrets; the file itself never enters an image."""
    if not isinstance(value, Mapping):
        value = dict(_pair(item) for item in value)
    mounts = []
    for name, file in value.items():
        path = (base / str(file)).resolve()
        if not path.is_file():
            raise UsageError(f"no such secret file: {path}", hint="NAME=FILE, or NAME: FILE")
        target = name if name.startswith("/") else f"{SECRETS}/{name}"
        mounts.append(Mount(target, str(path)))
    return tuple(mounts)


def _pair(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    return (name, file) if equals else (Path(text).name, text)


def cases_from(values: Sequence[Any], base: Path) -> tuple[Case, ...]:
    """Read the items of `runs`: arguments, or mappings with args, stdin and what to expect."""
    seen: dict[str, int] = {}
    out = []
    for value in values:
        given = value if isinstance(value, Mapping) else {"args": value}
        argv = _words(given.get("args", ()))
        name = str(given.get("name") or "run " + shlex.join(argv)).strip()
        seen[name] = seen.get(name, 0) + 1
        stdin = str(given.get("stdin", "")).encode()
        if "stdin_file" in given:
            stdin = read_file(base / given["stdin_file"])
        out.append(
            Case(
                id=name if seen[name] == 1 else f"{name} ({seen[name]})",
                argv=argv,
                stdin=stdin,
                expect_exit=int(given.get("exit", 0)),
                expect=str(given.get("expect", "")),
                timeout=float(given.get("timeout", 60.0)),
            )
        )
    return tuple(out)


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)
