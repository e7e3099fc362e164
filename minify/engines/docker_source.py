"""Images that the Docker engine has only for as long as a run takes: inputs, unproved outputs.

Each run gives such an image a name of its own, so that of several runs over one image the last to
end removes it, and that it can be found at all: an engine with containerd's store calls an image
by another digest than the one it was loaded with, and leaves one without a name lying about.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from docker.errors import APIError

from minify.errors import BuildError, EngineError
from minify.images.archive import docker_archive_stream
from minify.images.opened import OpenedImage
from minify.model import OutputImage
from minify.workspace import Run, key_of, remember_image

INPUT = "minify-input"
OUTPUT = "minify-output"


def bring(client: Any, source: OpenedImage, run: Run) -> str:
    """Load an image under a name of this run's, unless the engine has it; returns that name.

    Empty: the engine had it, under its configuration's digest. Raises EngineError when the engine
    refuses it.
    """
    digest = source.image.digest
    name = _name(INPUT, run, digest)
    try:
        names = client.inspect_image(digest).get("RepoTags") or []
    except APIError:
        names = None
    if names is not None and not (names and all(is_lent(n) for n in names)):
        return ""
    remember_image(run, name)
    try:
        if names is None:
            diff_ids = [layer.diff_id for layer in source.image.layers]
            layers = list(zip(source.layers, diff_ids, strict=True))
            if reason := _load(client, docker_archive_stream(layers, source.config, [name])):
                raise EngineError(f"the engine refused {source.image.reference}: {reason}")
        else:  # another run brought it
            client.tag(digest, *name.split(":"))
    except (APIError, OSError) as error:
        raise EngineError(f"cannot load {source.image.reference}: {error}") from error
    return name


def _load(client: Any, archive: Iterator[bytes]) -> str:
    """Load a docker-archive; returns why the engine refuses it, or nothing."""
    answers = client.load_image(archive, quiet=True)
    return next((str(answer["error"]) for answer in answers if "error" in answer), "")


def lend(client: Any, output: OutputImage, run: Run, tags: Sequence[str]) -> tuple[str, str]:
    """Load an output under a name of this run's, and `tags`: that name, and the engine's ID.

    Raises BuildError.
    """
    name = _name(OUTPUT, run, output.digest)
    # Noted before: it may be there although we are interrupted before we hear of it.
    remember_image(run, name)
    layers = [(Path(one.file), one.diff_id) for one in output.packed]
    stream = docker_archive_stream(layers, output.config, [name, *tags])
    try:
        if reason := _load(client, stream):
            raise BuildError(f"the engine refused the image: {reason}")
        return name, str(client.inspect_image(name)["Id"])
    except (APIError, OSError) as error:
        raise BuildError(f"cannot load the image into the engine: {error}") from error


def _name(kind: str, run: Run, digest: str) -> str:
    return f"{kind}:{run.token}-{key_of(digest)[:12]}"


def is_lent(name: str) -> bool:
    """Whether a name is one that a run gave for its own time."""
    return name.removeprefix("localhost/").startswith((f"{INPUT}:", f"{OUTPUT}:"))


def take_back(client: Any, name: str) -> None:
    """Take a name of a run away; the image goes with its last name."""
    with contextlib.suppress(APIError):
        client.remove_image(name)


def retire(client: Any, image_id: str) -> None:
    """Remove an image that has just lost its name to another, unless somebody still uses it."""
    with contextlib.suppress(APIError):
        if not client.inspect_image(image_id).get("RepoTags"):
            client.remove_image(image_id)
