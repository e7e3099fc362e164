"""Build an image through the Docker API, for machines without the docker command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from docker.errors import APIError, BuildError, DockerException

from minify.engines.docker_connect import connect
from minify.errors import EngineError

TIMEOUT = 3600  # seconds without a word from the engine


def build_classic(
    context: Path,
    dockerfile: Path,
    settings: Mapping[str, object],
    name: str = "",
    *,
    tell: Callable[[str], None] = lambda _line: None,
) -> str:
    """Build with the classic builder; returns the image's name, or its ID where it has none.

    `settings` are those of the API's /build. The context's .dockerignore holds; `tell` gets each
    line. Raises EngineError with the end of the build's output.
    """
    client = connect(TIMEOUT)
    told: list[str] = []
    image = ""
    try:
        for line in client.build(
            path=str(context), dockerfile=str(dockerfile), tag=name or None, rm=True, forcerm=True,
            decode=True, **settings,
        ):  # fmt: skip
            if "error" in line:
                raise _failed(dockerfile, told, line["error"])
            told.append(str(line.get("stream", "")).strip())
            tell(told[-1])
            image = _image_of(line, image)
    except (APIError, BuildError, DockerException, TypeError, OSError) as error:
        raise _failed(dockerfile, told, str(error)) from error
    finally:
        client.close()
    if not image:
        raise _failed(dockerfile, told, "the engine named no image")
    return name or image


def _image_of(line: Mapping[str, Any], before: str) -> str:
    return str((line.get("aux") or {}).get("ID") or before)


def _failed(dockerfile: Path, told: list[str], reason: str) -> EngineError:
    tail = "\n".join([t for t in told if t][-20:])
    return EngineError(f"cannot build {dockerfile}: {reason.strip()}\n{tail}".rstrip())
