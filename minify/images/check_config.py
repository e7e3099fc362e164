"""What may be wrong in an image configuration (image-spec, config.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")

Test = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _word(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _date(value: Any) -> bool:
    return isinstance(value, str) and DATE.fullmatch(value) is not None


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_text, value)))


def _set(value: Any) -> bool:
    """A set as Go writes it: an object of empty objects."""
    return value is None or (isinstance(value, dict) and all(v == {} for v in value.values()))


def _labels(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(map(_text, value.values())))


def _diff_id(value: Any) -> bool:
    return isinstance(value, str) and DIFF_ID.fullmatch(value) is not None


def _diff_ids(value: Any) -> bool:
    return isinstance(value, list) and all(
        _text(v) and DIFF_ID.fullmatch(v) is not None for v in value
    )


def _layers(value: Any) -> bool:
    return isinstance(value, str) and value == "layers"


REQUIRED = ("architecture", "os", "rootfs")
TOP: dict[str, Test] = {
    "architecture": _word,
    "os": _word,
    "variant": _text,
    "author": _text,
    "created": _date,
}
RUN: dict[str, Test] = {
    "User": _text,
    "ExposedPorts": _set,
    "Env": _texts,
    "Entrypoint": _texts,
    "Cmd": _texts,
    "Volumes": _set,
    "WorkingDir": _text,
    "Labels": _labels,
    "StopSignal": _text,
}
ROOTFS: dict[str, Test] = {"type": _layers, "diff_ids": _diff_ids}
STEP: dict[str, Test] = {"created": _date, "created_by": _text, "empty_layer": _flag}


def config_violations(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for everything the specification does not allow."""
    for key in REQUIRED:
        if key not in config:
            yield key, "is missing"
    yield from _object("", config, TOP)
    yield from _object("config/", config.get("config") or {}, RUN)
    if "rootfs" in config:
        yield from _object("rootfs/", config["rootfs"], ROOTFS)
    history = config.get("history") or []
    if not isinstance(history, list):
        yield "history", "is not a list"
        return
    for number, step in enumerate(history):
        yield from _object(f"history/{number}/", step, STEP)
    made = [step for step in history if isinstance(step, dict) and not step.get("empty_layer")]
    rootfs = config.get("rootfs")
    layers = rootfs.get("diff_ids") if isinstance(rootfs, dict) else []
    if history and isinstance(layers, list) and len(made) != len(layers):
        yield "history", f"has {len(made)} layers, not {len(layers)}"


def _object(where: str, value: Any, tests: Mapping[str, Test]) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield where.rstrip("/"), "is not an object"
        return
    for key, test in tests.items():
        if key in value and not test(value[key]):
            yield where + key, f"has an impossible value: {value[key]!r:.120}"
