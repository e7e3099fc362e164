"""The `build:` of a compose service, as a build for the engine's own builder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minify.options import Recipe

UNDERSTOOD = {"context", "dockerfile", "args", "target", "network"}
# What decides where layers come from or what is noted about the image, not what is in it.
HARMLESS = {"cache_from", "cache_to", "labels", "no_cache", "provenance", "pull", "sbom", "tags"}


def recipe_from(given: Any, name: str, base: Path) -> Recipe:
    """Read `build:` of a service whose image is called `name`; paths start at `base`.

    What only compose's own builder can do is named in the recipe's `beyond`.
    """
    said: Mapping[str, Any] = given if isinstance(given, Mapping) else {"context": given}
    context = str(said.get("context") or ".")
    beyond = sorted(set(said) - UNDERSTOOD - HARMLESS)
    if "://" in context or context.startswith("git@"):
        beyond.append("a context that is no folder")
    folder = (base / Path(context).expanduser()).resolve()
    return Recipe(
        context=folder,
        dockerfile=folder / str(said.get("dockerfile") or "Dockerfile"),
        arguments=_arguments(said.get("args") or {}),
        target=str(said.get("target") or ""),
        network=str(said.get("network") or ""),
        name=name,
        beyond=tuple(beyond),
    )


def _arguments(given: Any) -> tuple[str, ...]:
    """Build arguments as NAME=VALUE, or NAME: then the environment has the value."""
    if not isinstance(given, Mapping):
        return tuple(str(item) for item in given)
    return tuple(k if v is None else f"{k}={_text(v)}" for k, v in given.items())


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
