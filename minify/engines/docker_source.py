"""Images that the Docker engine has not got: loaded into it for as long as a run takes.

Each run gives the image a name of its own, so that of several runs over one file the last to end
removes it. One the engine had under another name, or under none, is left as it was.
"""

from __future__ import annotations

import contextlib
from typing import Any

from docker.errors import APIError

from minify.errors import EngineError
from minify.images.archive import docker_archive_stream
from minify.images.opened import OpenedImage
from minify.workspace import Run, key_of, remember_image

INPUT = "minify-input"


def bring(client: Any, source: OpenedImage, run: Run) -> str:
    """Load an image under a name of this run's, unless the engine has it; returns that name.

    Empty: the engine had it. Raises EngineError when the engine refuses it.
    """
    digest = source.image.digest
    name = f"{INPUT}:{run.token}-{key_of(digest)[:12]}"
    try:
        names = client.inspect_image(digest).get("RepoTags") or []
    except APIError:
        names = None
    if names is not None and not (names and all(is_input(n) for n in names)):
        return ""
    remember_image(run, name)
    try:
        if names is None:
            _load(client, source, name)
        else:  # another run brought it
            client.tag(digest, *name.split(":"))
    except (APIError, OSError) as error:
        raise EngineError(f"cannot load {source.image.reference}: {error}") from error
    return name


def _load(client: Any, source: OpenedImage, name: str) -> None:
    diff_ids = [layer.diff_id for layer in source.image.layers]
    layers = list(zip(source.layers, diff_ids, strict=True))
    stream = docker_archive_stream(layers, source.config, [name])
    for answer in client.load_image(stream, quiet=True):
        if "error" in answer:
            raise EngineError(f"the engine refused {source.image.reference}: {answer['error']}")


def is_input(name: str) -> bool:
    """Whether a name is one that `bring` gave."""
    return name.removeprefix("localhost/").startswith(f"{INPUT}:")


def send_back(client: Any, name: str) -> None:
    """Take a name of `bring` away; the image goes with its last name."""
    with contextlib.suppress(APIError):
        client.remove_image(name)
