"""Options from a configuration file, the environment and the command line, in that order.

The file is checked against one published JSON Schema (schema.json); all errors are told at
once, each with its line and, for an unknown key, the key that was probably meant.
"""

from __future__ import annotations

import difflib
import importlib.resources
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from minify.config.buildkit import BUILDKIT, buildkit_spec
from minify.config.drives import KINDS, drives_from, unique
from minify.config.found import drives_found
from minify.config.layers import Layer, read_variables, unknown_variables
from minify.config.surroundings import cases_from, secrets_from, surroundings_from
from minify.errors import UsageError
from minify.images.transports import located
from minify.model import Drive, KeepLevel, Mount
from minify.options import Options
from minify.sizes import bytes_of

SIMPLE = {
    "image", "tag", "engine", "platform", "workdir", "ready_log", "keep_level", "verify", "repairs",
    "min_reduction", "max_growth", "time_budget", "build_target", "build_network",
    "compose_service",
    "light", "fresh", "force", "layers", "tls_verify",
}  # fmt: skip
LISTS = ("keep", "drop", "policies_off", "forbid", "require")
PATHS = (
    "shared_with",
    "baseline",
    "context",
    "dockerfile",
    "from_lock",
    "compose",
    "auth_file",
    "cert_dir",
)
RENAMED = {"from_lock": "lock"}
TYPES = {"object": "a mapping (NAME: VALUE)", "array": "a list", "string": "text",
         "number": "a number", "integer": "a whole number", "boolean": "true or false"}  # fmt: skip
STRUCTURED = ("sql_probes", "probes")  # never plain text
TIMES = {"ready_timeout": "ready", "stop_timeout": "stop", "observe_for": "observe"}


def home_folder() -> Path:
    """minify's home: MINIFY_HOME, else the XDG cache folder."""
    given = os.environ.get("MINIFY_HOME")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "minify"


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH (reproducible-builds.org), seconds; None when unset."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is not a number of seconds: {text}")
    return int(text)


def schema() -> dict[str, Any]:
    """The JSON Schema of the configuration file."""
    text = importlib.resources.files(__package__).joinpath("schema.json").read_text()
    return dict(json.loads(text))


def read_options(path: Path) -> Options:
    """Read a configuration file; raises UsageError listing everything that is wrong with it."""
    data = read_config(path)
    return options_from(data, path.parent)


def find_config(given: str | None = None) -> Path | None:
    """The file that is read: the one named, else MINIFY_CONFIG, else ./minify.yaml if it exists."""
    named = given or os.environ.get("MINIFY_CONFIG")
    if named:
        return Path(named)
    found = Path("minify.yaml")
    return found if found.is_file() else None


def base_options(given: str | None = None, flags: Mapping[str, Any] | None = None) -> Options:
    """What file, environment and `flags` (by key, weakest first) say. Raises UsageError."""
    path = find_config(given)
    in_file = read_config(path) if path else {}
    stronger = {**environment_layer().data, **(flags or {})}
    folder = path.resolve().parent if path else Path.cwd()
    return options_from({**in_file, **stronger}, folder, dict.fromkeys(stronger, Path.cwd()))


def file_layer(path: Path) -> Layer:
    """The settings of a file, each with its line."""
    data = read_config(path)
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return Layer(data, {k: f"{path}:{_line(node, [k])}" for k in data})


def environment_layer() -> Layer:
    """The settings in MINIFY_… variables; raises UsageError listing all that is wrong with them."""
    layer, complaints = read_variables(os.environ, schema()["properties"], _wrong)
    if complaints:
        raise UsageError("\n".join(complaints), hint="the schema: minify config --schema")
    return layer


def strange_variables() -> tuple[str, ...]:
    """MINIFY_… variables that are no settings."""
    return unknown_variables(os.environ, schema()["properties"])


def _wrong(value: Any, wanted: Mapping[str, Any]) -> str:
    import jsonschema  # here: it is slow to import

    whole = {**wanted, "$defs": schema()["$defs"]}
    found = sorted(jsonschema.Draft202012Validator(whole).iter_errors(value), key=str)
    return _message(found[0]) if found else ""


def checked_items(key: str, texts: Sequence[str]) -> list[Any]:
    """Read what a repeatable flag was given, each as text or as a YAML mapping or list in it.

    Raises UsageError naming what does not fit the schema.
    """
    items = [_flow(text) for text in texts]
    if any(not isinstance(item, str) for item in items) or key in STRUCTURED:
        wrong = _wrong(items, schema()["properties"][key])
        if wrong:
            raise UsageError(f"{key}: {wrong}", hint="the schema: minify config --schema")
    return items


def _flow(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {text!r}: {' '.join(str(error).split())}") from error


def read_config(path: Path) -> dict[str, Any]:
    """Read and check a configuration file as plain data."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text) or {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise UsageError(f"{where}: not YAML: {problem}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8") from error
    complaints = _complaints(data, node, path)
    if complaints:
        raise UsageError("\n".join(complaints), hint="the schema: minify config --schema")
    return dict(data)


def _complaints(data: Any, node: Any, path: Path) -> list[str]:
    import jsonschema  # here: it is slow to import, and most builds have no file

    found = jsonschema.Draft202012Validator(schema()).iter_errors(data)
    lines = {
        f"{path}:{_line(node, list(error.absolute_path))}: {_message(error)}" for error in found
    }
    return sorted(lines)


def _message(error: Any) -> str:
    where = ".".join(str(p) for p in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [k for k in error.instance if k not in known]
        return "; ".join(f"unknown key {k!r}{_meant(k, known)}" for k in unknown)
    if error.validator == "oneOf" and error.context:
        deepest = max(error.context, key=lambda e: (len(e.absolute_path), e.validator != "type"))
        if deepest.validator != "type":
            return _message(deepest)
    told = str(error.message)
    if error.validator == "type" and error.validator_value in TYPES:
        told = f"{error.instance!r} is not {TYPES[error.validator_value]}"
    elif error.validator == "enum" and isinstance(error.instance, str):
        told += _meant(error.instance, [str(v) for v in error.validator_value])
    elif error.validator == "pattern" and not (
        what := error.schema.get("description", ".")
    ).endswith("."):
        told = f"{error.instance!r} is not {what}"
    return f"{where}: {told}" if where else told


def _meant(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(key), known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _line(node: Any, path: list[Any]) -> int:
    """The line (from 1) of the value a JSON Schema error points at."""
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {k.value: v for k, v in node.value}
            node = pairs.get(str(step), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
    return node.start_mark.line + 1 if node is not None else 1


def options_from(
    data: Mapping[str, Any], base: Path, bases: Mapping[str, Path] | None = None
) -> Options:
    """Turn checked configuration data into options.

    Relative paths start at `base`, those of a key in `bases` there.
    """

    def at(key: str) -> Path:
        return (bases or {}).get(key, base)

    options = replace(Options(), **{k: v for k, v in data.items() if k in SIMPLE})
    lists: dict[str, Any] = {k: tuple(data[k]) for k in LISTS if k in data}
    lists |= {RENAMED.get(k, k): str(at(k) / data[k]) for k in PATHS if k in data}
    lists["output"] = tuple(located(place, at("output")) for place in data.get("output", ()))
    lists |= {k: tuple(buildkit_spec(x, at(k)) for x in data.get(k, ())) for k in BUILDKIT}
    lists["image"] = located(options.image, at("image"))
    times = {name: float(data[key]) for key, name in TIMES.items() if key in data}
    return replace(
        options,
        **lists,
        keep_level=KeepLevel(data.get("keep_level", options.keep_level)),
        evidence=tuple(str(at("evidence") / p) for p in data.get("evidence", ())),
        max_size=bytes_of(data["max_size"]) if "max_size" in data else None,
        build_args=_env(data.get("build_args") or {}),
        policies=tuple(str(at("policies") / p) for p in data.get("policies", ())),
        argv=words(data.get("command", ())),
        entrypoint=words(data.get("entrypoint", ())),
        env=_env(data.get("env") or {}),
        user=str(data.get("user", "")),
        mounts=(
            *(mount_from(m, at("mounts")) for m in data.get("mounts", ())),
            *secrets_from(data.get("secrets") or {}, at("secrets")),
        ),
        surroundings=surroundings_from(data),
        ports=tuple(data.get("ports", ())),
        cases=cases_from(data.get("runs", ()), at("runs")),
        drives=_drives(data, at),
        default_drives=bool(data.get("default_probes", True)),
        limits=replace(options.limits, **times),
    )


def _drives(data: Mapping[str, Any], at: Callable[[str], Path]) -> tuple[Drive, ...]:
    """The probes by kind, then those of `probes` in their own order, then what is found."""
    made: list[Drive] = []
    for kind in KINDS:
        for value in data.get(key := f"{kind}_probes", ()):
            made += drives_from(kind, value, at(key))
    for item in data.get("probes", ()):
        kind, value = next(iter(item.items()))
        made += drives_from(kind, value, at("probes"))
    return unique((*made, *drives_found(data, at)))


def _env(value: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{k}={_text(v)}" for k, v in value.items())
    return tuple(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def words(value: str | Sequence[str]) -> tuple[str, ...]:
    """A command as a shell splits it, or as it stands when it is a list."""
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)


def mount_from(text: str, base: Path) -> Mount:
    """Read "HOST:CONTAINER[:rw|ro]" or "/PATH" (a tmpfs); raises UsageError."""
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not rest:
        return Mount(source)
    if not target.startswith("/") or mode not in ("", "ro", "rw"):
        raise UsageError(
            f"not a mount: {text!r}", hint="write HOST:CONTAINER[:rw], or /PATH for a tmpfs"
        )
    return Mount(target, str((base / source).resolve()), read_only=mode != "rw")
