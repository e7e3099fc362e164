"""Settings in layers: default, file, environment, flag; a later layer wins, key by key. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

PREFIX = "MINIFY_"
# Variables of this prefix that are no settings: where minify keeps things, which file it reads, and
# what it tells the tests it runs.
NO_SETTINGS = ("HOME", "CONFIG", "URL", "HOST", "PORT")

Check = Callable[[Any, Mapping[str, Any]], str]


@dataclass(frozen=True)
class Setting:
    """One key with the value in force and the place it comes from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Layer:
    """Some settings and, for each, where it was read: "minify.yaml:3", "MINIFY_TAG", "--tag"."""

    data: Mapping[str, Any]
    origins: Mapping[str, str]


def variable(key: str) -> str:
    """The environment variable of a key."""
    return PREFIX + key.upper()


def read_variables(
    variables: Mapping[str, str], properties: Mapping[str, Any], check: Check
) -> tuple[Layer, tuple[str, ...]]:
    """Read settings out of environment variables; returns them and all complaints.

    A value is taken as YAML, as plain text, or as a list with one item per line: whichever the
    key's schema accepts first. An empty variable is as good as none. `check` says what is wrong
    with a value under a schema, or nothing.
    """
    data: dict[str, Any] = {}
    complaints = []
    for key, wanted in properties.items():
        text = variables.get(variable(key), "")
        if not text:
            continue
        readings = _readings(text)
        found = [(value, check(value, wanted)) for value in readings]
        good = [value for value, wrong in found if not wrong]
        if good:
            data[key] = good[0]
        else:
            complaints.append(f"{variable(key)}: {found[0][1]}")
    return Layer(data, {k: variable(k) for k in data}), tuple(complaints)


def _readings(text: str) -> list[Any]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return [yaml.safe_load(text), text, lines]
    except yaml.YAMLError:
        return [text, lines]


def unknown_variables(variables: Mapping[str, str], keys: Iterable[str]) -> tuple[str, ...]:
    """Variables that look like settings and are none, each with the one that may be meant."""
    known = [variable(k) for k in keys]
    ours = {PREFIX + name for name in NO_SETTINGS}
    wrong = [
        v
        for v in sorted(variables)
        if v.startswith(PREFIX) and v not in known and v not in ours
        and not v.startswith(PREFIX + "PORT_")
    ]  # fmt: skip
    return tuple(v + _meant(v, known) for v in wrong)


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def effective(properties: Mapping[str, Any], layers: Sequence[Layer]) -> tuple[Setting, ...]:
    """Say for every key which value is in force and why; `layers` from the weakest up."""
    settings = []
    for key, wanted in properties.items():
        setting = Setting(key, wanted.get("default"), "default")
        for layer in layers:
            if key in layer.data:
                setting = Setting(key, layer.data[key], layer.origins.get(key, ""))
        settings.append(setting)
    return tuple(settings)
