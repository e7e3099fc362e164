"""Open an engine, and clear what runs left behind that were killed."""

from __future__ import annotations

import os
from dataclasses import dataclass

from minify.below import remove, size_of
from minify.engines import Engine
from minify.errors import EngineError, EnterNamespaceError
from minify.images.registry import Access
from minify.store.layers import collect
from minify.workspace import (
    Home,
    Run,
    alive,
    dead_runs,
    remembered_images,
    remove_run,
    this_boot,
)


@dataclass(frozen=True)
class Swept:
    """How much was cleared."""

    containers: int
    images: int
    folders: int


def open_engine(name: str, run: Run, home: Home, access: Access | None = None) -> Engine:
    """Open an engine by name; `auto` takes Docker when it answers, else the embedded one."""
    if name == "embedded":
        return _embedded(home, access)
    try:
        return _docker(run, access)
    except EngineError:
        if name == "docker":
            raise
        return _embedded(home, access)


def _docker(run: Run, access: Access | None) -> Engine:
    from minify.engines.docker_api import make as make_docker  # here: only where it is used

    return make_docker(run.token, run.folder, access)


def _embedded(home: Home, access: Access | None) -> Engine:
    from minify.engines.embedded import make as make_embedded  # here: only where it is used

    if os.geteuid() != 0:
        raise EnterNamespaceError
    return make_embedded(home.path, access=access)


def sweep(engine: Engine, home: Home) -> Swept:
    """Remove the containers, unnamed images and scratch folders of dead runs."""
    containers = images = folders = 0
    for token, ids in engine.leftovers().items():
        # On a remote engine, a run of another boot may be one of another machine.
        if not alive(token) and (engine.local or this_boot(token)):
            for container in ids:
                engine.remove_container(container)
                containers += 1
    for run in dead_runs(home):
        for image in remembered_images(run):
            engine.remove_image(image)
            images += 1
        remove_run(run)
        folders += 1
    return Swept(containers, images, folders)


def clear(home: Home, *, everything: bool) -> int:
    """Remove what dead unpackings left, and `everything` that can be had again.

    Returns the bytes freed.
    """
    freed = collect(home.path, keep_layers=not everything)
    for name in ("work", "kit") if everything else ():
        folder = home.folder(name)
        freed += size_of(folder)
        remove(folder)
    return freed
