"""Read a compose file: the service to trace, and what has to be up before it.

Compose specification: services with image, build, command, entrypoint, environment, env_file,
volumes, depends_on, healthcheck, user, working_dir, extra_hosts; `${NAME:-default}` is put in.
Every trial gets companions of its own, in a network of its own, so that no run sees another's data.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from minify.config.compose_build import recipe_from
from minify.errors import UsageError
from minify.model import Companion, Healthcheck, Mount
from minify.options import Options, Recipe

_VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)(?:(:?[-?])([^}]*))?\})")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6}


@dataclass(frozen=True)
class File:
    """A compose file that was read: its services by name, and where it is."""

    path: Path
    services: Mapping[str, Mapping[str, Any]]
    project: str


def with_compose(options: Options, variables: Mapping[str, str]) -> Options:
    """Take from a compose file what options leave open; raises UsageError.

    `variables` are what ${NAME} is looked up in, after the file .env beside.
    """
    file = read_compose(Path(options.compose), variables)
    name = _chosen(file, options.compose_service)
    service = _companion(file, name)
    needed = _needed(file, name)
    own = () if options.image or options.context else (name,)
    around = replace(
        options.surroundings,
        companions=tuple(_companion(file, n, file.services[name]) for n in needed),
        alias=name,
        hosts=(*options.surroundings.hosts, *_hosts(file.services[name])),
    )
    given = {item.partition("=")[0] for item in options.env}
    env = tuple(e for e in service.env if e.partition("=")[0] not in given)
    return replace(
        options,
        image=options.image or service.image,
        argv=options.argv or service.argv,
        entrypoint=options.entrypoint or service.entrypoint,
        env=(*env, *options.env),
        user=options.user or service.user,
        workdir=options.workdir or service.workdir,
        mounts=(*service.mounts, *options.mounts),
        builds=tuple(_recipes(file, (*needed, *own))),
        surroundings=around,
    )


def read_compose(path: Path, variables: Mapping[str, str]) -> File:
    """Read a file with its variables put in; raises UsageError."""
    try:
        text = path.read_text(encoding="utf-8")
        known = {**_env_file(path.parent / ".env"), **variables}
        data = _filled(yaml.safe_load(text) or {}, known)
        services = dict(data["services"])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not a compose file", hint="it needs services:") from error
    if not all(isinstance(service, Mapping) for service in services.values()):
        raise UsageError(f"{path} is not a compose file", hint="a service is a mapping")
    project = re.sub(
        r"[^a-z0-9_-]", "", str(data.get("name") or path.resolve().parent.name).lower()
    )
    return File(path, services, project)


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found, known), value)
    if isinstance(value, dict):
        return {k: _filled(v, known) for k, v in value.items()}
    return [_filled(v, known) for v in value] if isinstance(value, list) else value


def _value(found: re.Match[str], known: Mapping[str, str]) -> str:
    """One variable, as the specification's "Interpolation" has it."""
    name, operator, other = found[1] or found[2], found[3] or "", found[4] or ""
    if not name:
        return "$"
    missing = not known.get(name) if operator.startswith(":") else name not in known
    if missing and operator.endswith("?"):
        raise UsageError(f"the compose file wants {name}: {other or 'it is not set'}")
    return other if missing and operator else known.get(name, "")


def _env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.removeprefix("export ").partition("=") for line in lines if line[:1] not in "#")
    return {k.strip(): v.strip().strip("'\"") for k, equals, v in pairs if equals}


def _chosen(file: File, name: str) -> str:
    """The service to trace: the one named, else the only one that no other depends on."""
    if name:
        if name not in file.services:
            known = ", ".join(sorted(file.services))
            raise UsageError(f"{file.path} has no service {name}", hint=f"it has: {known}")
        return name
    needed = {d for s in file.services.values() for d in _depends(s)}
    tops = sorted(set(file.services) - needed)
    if len(tops) != 1:
        raise UsageError(
            f"{file.path} has {len(tops)} services that could be traced: {', '.join(tops)}",
            hint="name one: --compose-service NAME",
        )
    return tops[0]


def _depends(service: Mapping[str, Any]) -> dict[str, str]:
    """What a service depends on, each with the condition that is waited for."""
    given = service.get("depends_on") or ()
    if isinstance(given, Mapping):
        return {n: str((v or {}).get("condition", "service_started")) for n, v in given.items()}
    return dict.fromkeys(map(str, given), "service_started")


def _needed(file: File, name: str) -> list[str]:
    """All a service depends on, directly or not, in the order to start them; raises UsageError."""
    order: list[str] = []

    def visit(one: str, path: tuple[str, ...]) -> None:
        if one in path:
            raise UsageError(f"{file.path}: {' needs '.join([*path, one])}")
        if one not in file.services:
            raise UsageError(f"{file.path}: {path[-1]} depends on {one}, which is no service")
        for other in _depends(file.services[one]):
            visit(other, (*path, one))
        if one not in order:
            order.append(one)

    visit(name, ())
    return order[:-1]


def _companion(file: File, name: str, wanted_by: Mapping[str, Any] | None = None) -> Companion:
    service = file.services[name]
    base = file.path.resolve().parent
    dependents = [wanted_by or {}, *file.services.values()]
    conditions = {c for s in dependents for n, c in _depends(s).items() if n == name}
    return Companion(
        name=name,
        image=_image(file, name),
        argv=_words(service.get("command")),
        entrypoint=_words(service.get("entrypoint")),
        env=_environment(service, base),
        mounts=tuple(_mounts(service, base)),
        user=str(service.get("user") or ""),
        workdir=str(service.get("working_dir") or ""),
        healthcheck=_healthcheck(service.get("healthcheck") or {}),
        condition=next(iter(sorted(conditions)), "service_started"),
    )


def _recipes(file: File, names: Sequence[str]) -> Iterator[Recipe]:
    """What has to be built for services, each image once."""
    base, seen = file.path.resolve().parent, set[str]()
    for name in names:
        given, image = file.services[name].get("build"), _image(file, name)
        if given and image not in seen:
            seen.add(image)
            yield recipe_from(given, image, base)


def _image(file: File, name: str) -> str:
    """What compose calls a service's image."""
    return str(file.services[name].get("image") or f"{file.project}-{name}")


def _words(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(str(v) for v in value)


def _environment(service: Mapping[str, Any], base: Path) -> tuple[str, ...]:
    files = service.get("env_file") or ()
    found: dict[str, str] = {}
    for one in [files] if isinstance(files, str) else files:
        found |= _env_file(base / (one["path"] if isinstance(one, Mapping) else one))
    given = service.get("environment") or {}
    if not isinstance(given, Mapping):
        given = dict(item.partition("=")[::2] for item in given)
    found |= {str(k): _text(v) for k, v in given.items() if v is not None}
    return tuple(f"{k}={v}" for k, v in found.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mounts(service: Mapping[str, Any], base: Path) -> list[Mount]:
    """Bind mounts and tmpfs; a named volume begins empty, as the image's own volumes do."""
    out = []
    for given in service.get("volumes") or ():
        if isinstance(given, Mapping):
            source = str(given.get("source", "")) if given.get("type") == "bind" else ""
            target, read_only = str(given["target"]), bool(given.get("read_only"))
        else:
            source, _, rest = str(given).rpartition(":")
            mode = rest if source and not rest.startswith("/") else ""
            source, _, target = source.rpartition(":") if mode else (source, "", rest)
            read_only = "ro" in mode.split(",")
        if source.startswith((".", "/", "~")):
            host = Path(source).expanduser()
            out.append(Mount(target, str((base / host).resolve()), read_only=read_only))
    given = service.get("tmpfs") or ()
    out += [Mount(str(t).partition(":")[0]) for t in ([given] if isinstance(given, str) else given)]
    return out


def _hosts(service: Mapping[str, Any]) -> tuple[str, ...]:
    given = service.get("extra_hosts") or ()
    if isinstance(given, Mapping):
        return tuple(f"{name}:{address}" for name, address in given.items())
    return tuple(str(line).replace("=", ":", 1) for line in given)


def _healthcheck(given: Mapping[str, Any]) -> Healthcheck | None:
    test = given.get("test")
    if given.get("disable") or not test:
        return None
    words: Sequence[str] = ["CMD-SHELL", test] if isinstance(test, str) else [str(t) for t in test]
    return Healthcheck(
        test=tuple(words),
        interval=_seconds(given.get("interval", "30s")),
        timeout=_seconds(given.get("timeout", "30s")),
        start_period=_seconds(given.get("start_period", "0s")),
        retries=int(given.get("retries", 3)),
    )


def _seconds(text: Any) -> float:
    """A duration as compose writes it: "1m30s", "500ms"."""
    parts = re.findall(r"([\d.]+)(ms|us|h|m|s)", str(text))
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
