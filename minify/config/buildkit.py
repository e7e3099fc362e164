"""What a build by BuildKit is given, in Docker's own words, with paths that start at a folder."""

from __future__ import annotations

from pathlib import Path

BUILDKIT = ("build_secrets", "build_ssh", "build_cache_from", "build_cache_to")
FILES = ("src", "source", "dest")


def buildkit_spec(text: str, base: Path) -> str:
    """Let the paths in `id=NAME,src=FILE`, `type=local,dest=DIR` or `ID=KEY` start at `base`.

    What is quoted stays as it is, and so does whatever has no path.
    """
    if '"' in text:
        return text
    parts = [part.partition("=") for part in text.split(",")]
    keys = {key.strip().lower(): value for key, _, value in parts}
    if not keys.keys() & {"id", "type", "ref"}:  # SSH: ID=PATH[,PATH]; or the name of an image
        name, equal, paths = text.partition("=")
        placed = ",".join(str(base / path) for path in paths.split(","))
        return f"{name}={placed}" if equal and paths else text
    if keys.get("type") == "env":
        return text
    based = (
        (key, equal, str(base / value) if value and key.strip().lower() in FILES else value)
        for key, equal, value in parts
    )
    return ",".join("".join(part) for part in based)
