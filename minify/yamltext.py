"""YAML text to plain values: the only file that knows PyYAML."""

from __future__ import annotations

from typing import Any

import yaml

from minify.errors import UsageError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster


def parse_yaml(text: str, name: str) -> Any:
    """Parse one YAML 1.1 document into dicts, lists and scalars; `name` is for the message.

    Raises UsageError with the line and column of a syntax error.
    """
    try:
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{where}: {problem}", hint="the file has to be valid YAML") from error
