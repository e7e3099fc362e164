"""The Docker engine, through the Docker SDK: Docker itself, and Podman's compatible socket.

No SDK type leaves this package folder. Images are read straight from the engine's overlay2 layers
when they are readable here (local engine, root), else from `docker save`, spooled to disk.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from docker.errors import APIError, ImageNotFound

from minify.engines import Launch, Loaded
from minify.engines.docker_companions import accompanied
from minify.engines.docker_connect import connect, is_local
from minify.engines.docker_container import DockerContainer, Place
from minify.engines.docker_disk import Disk, disk_of
from minify.engines.docker_image import image_of, manifest_of
from minify.engines.docker_platform import inspect_image, save_image
from minify.engines.docker_source import bring, is_lent, lend, retire, take_back
from minify.errors import BuildError, EngineError, Unsupported, UsageError
from minify.images.archive import read_docker_archive
from minify.images.opened import OpenedImage
from minify.images.platforms import check_platform, fits
from minify.images.registry import Access
from minify.images.source import open_source
from minify.images.transports import IMAGE_ID, Location, Transport, parse_location
from minify.intact import digest_of
from minify.model import Image, OutputImage, Plan
from minify.steps import step
from minify.tree import Tree
from minify.workspace import Run

MAKERS = 8  # containers created at once
RUN_LABEL = "io.minify.run"
OURS = "io.minify.source"  # a label on every output


class DockerEngine:
    """Engine over one API connection; `token` labels everything it makes."""

    name = "docker"
    notes: tuple[str, ...] = ()

    def __init__(self, client: Any, token: str, spool: Path, access: Access | None = None) -> None:
        self._client = client
        self._token = token
        self._spool = spool
        self._access = access or Access()
        self._run = Run(token, spool)
        self._lent: dict[str, str] = {}  # names that go when we do, by the engine's ID
        self._loaded: dict[str, Loaded] = {}
        self._live: set[DockerContainer] = set()
        self._lock = threading.Lock()
        self._aborted = False
        self._makers = ThreadPoolExecutor(MAKERS, thread_name_prefix="maker")
        self._reaper = ThreadPoolExecutor(2, thread_name_prefix="reaper")
        self._leaving: list[Future[None]] = []
        self.local = is_local(client)
        # A rootless engine, or its user, cannot reach the containers' network nor read layers.
        self._direct = self.local and os.geteuid() == 0

    @cached_property
    def _disk(self) -> Disk:
        return disk_of(self._client, local=self._direct)

    @property
    def _place(self) -> Place:
        return Place(self.local, self._direct, self._disk)

    def load(self, reference: str, platform: str = "") -> Loaded:
        """Find an image in the engine, or bring it in from where its name says; index its tree."""
        place = parse_location(reference)
        if place.transport in (Transport.ANY, Transport.DAEMON):
            return self._own(place.reference, platform)
        known = self._loaded.get(reference)
        if known and fits(known.image.platform, platform):
            return known
        return self._foreign(place, platform)

    def _foreign(self, place: Location, platform: str) -> Loaded:
        """Bring in an image that is not the engine's."""
        reference = str(place)
        with step("Fetching", image=reference):
            source = open_source(place, self._folder(), platform, self._access)
        check_platform(reference, source.image.platform, platform)
        name = bring(self._client, source, self._run)
        try:
            found = inspect_image(self._client, name or source.image.digest)
        except APIError as error:
            raise EngineError(f"cannot inspect {reference}: {error.explanation}") from error
        if name:
            self._lent[found["Id"]] = name
        # What the file says is what is meant, however the engine tells it.
        image = image_of(reference, found, source.config)
        directories = self._directories(image, found)
        tree = (directories and self._overlay(directories)) or source.tree
        manifest = reference.partition("@")[2]
        if place.transport is not Transport.REGISTRY:
            manifest = source.manifest
        image = self._sized(image, directories, source)
        self._loaded[reference] = Loaded(image, tree, source.base, manifest)
        return self._loaded[reference]

    def _folder(self) -> Path:
        """A folder for one image's spooled layers."""
        return Path(tempfile.mkdtemp(prefix="input-", dir=self._spool))

    def _own(self, reference: str, platform: str) -> Loaded:
        found = self._inspected(reference, platform)
        image = image_of(reference, found, self._disk.config(found))
        check_platform(reference, image.platform, platform)
        manifest = manifest_of(reference, found)
        manifest = manifest if self._disk.pulled(manifest) else ""
        directories = self._directories(image, found)
        if directories and (tree := self._overlay(directories)):
            image = self._sized(image, directories, None)
            return Loaded(image, tree, lambda count: self._disk.tree(directories[:count]), manifest)
        saved = self._saved(image)
        image = self._sized(image_of(reference, found, saved.config), (), saved)
        return Loaded(image, saved.tree, saved.base, manifest)

    def _inspected(self, reference: str, platform: str) -> dict[str, Any]:
        try:
            return inspect_image(self._client, self._known_as(reference), platform)
        except ImageNotFound as error:
            raise EngineError(
                f"image not found in the Docker engine: {reference}",
                hint=f"docker pull {reference}, or check the name with: docker images",
            ) from error
        except APIError as error:
            raise EngineError(f"cannot inspect {reference}: {error.explanation}") from error

    def _known_as(self, reference: str) -> str:
        """What the engine calls an image that is asked for by its configuration's digest."""
        if not (IMAGE_ID.fullmatch(reference) and self._disk.containerd):
            return reference
        with contextlib.suppress(APIError):
            self._client.inspect_image(reference)
            return reference
        wanted = reference.removeprefix("sha256:")
        for image_id in {str(item["Id"]) for item in self._client.images(all=True)}:
            with contextlib.suppress(APIError):
                config = self._disk.config(self._client.inspect_image(image_id))
                if config and digest_of(config).removeprefix("sha256:").startswith(wanted):
                    return image_id
        return reference

    def _sized(
        self, image: Image, directories: tuple[Path, ...], opened: OpenedImage | None
    ) -> Image:
        """With its size as opened: containerd's store counts compressed bytes."""
        if directories or not (opened and self._disk.containerd):
            return replace(image, size=self._disk.size(directories, image.size))
        return replace(image, size=sum(span.size for span in opened.layers))

    def find(self, reference: str) -> Image | None:
        """Look an image up by name or ID, or one from elsewhere that was loaded before."""
        if reference in self._loaded:
            return self._loaded[reference].image
        try:
            place = parse_location(reference)
            if place.transport not in (Transport.ANY, Transport.DAEMON):
                return None
            found = self._client.inspect_image(self._known_as(place.reference))
            return image_of(reference, found, self._disk.config(found))
        except (APIError, UsageError):
            return None

    def _directories(self, image: Image, found: dict[str, Any]) -> tuple[Path, ...]:
        directories = self._disk.layers(found)
        return directories if len(directories) >= len(image.layers) else ()

    def _overlay(self, directories: tuple[Path, ...]) -> Tree | None:
        """The tree of the engine's layer folders, None where only the kernel can follow them."""
        with contextlib.suppress(PermissionError, Unsupported):
            return self._disk.tree(directories)
        return None

    def _saved(self, image: Image) -> OpenedImage:
        target = self._spool / f"{image.digest.rpartition(':')[2]}.tar"
        try:
            with target.open("wb") as spool:
                for chunk in save_image(self._client, image.handle, image.platform):
                    spool.write(chunk)
        except (APIError, OSError) as error:
            raise EngineError(f"cannot save {image.reference}: {error}") from error
        return read_docker_archive(target, spool=self._spool)

    @contextlib.contextmanager
    def create(self, plan: Plan, image: Image, launch: Launch) -> Iterator[DockerContainer]:
        """Create a container for a plan; it is removed when the context is left."""
        labels = {RUN_LABEL: self._token}
        with accompanied(self._client, plan, labels) as around:
            made = self._makers.submit(self._make, around, image, launch, labels)
            container = made.result()
            try:
                yield container
            finally:
                if plan.surroundings.companions:
                    self._remove(container)  # before the network it is in
                else:
                    # It takes the engine a tenth of a second that nobody has to wait for.
                    self._leaving.append(self._reaper.submit(self._remove, container))

    def _make(
        self, plan: Plan, image: Image, launch: Launch, labels: dict[str, str]
    ) -> DockerContainer:
        """Create a container, known to `abort` from its first moment.

        In a thread: an interrupt of the main one would come between the engine and its answer.
        """
        container = DockerContainer.create(self._client, plan, image, launch, labels, self._place)
        with self._lock:
            self._live.add(container)
            aborted = self._aborted
        if aborted:  # while it was made: nobody would end it
            self._remove(container)
            raise EngineError("the run was aborted")
        return container

    def _remove(self, container: DockerContainer) -> None:
        container.close()
        with self._lock:
            self._live.discard(container)

    def abort(self) -> None:
        """Remove every container still there, so that threads waiting on them end."""
        with self._lock:
            self._aborted = True
            live = list(self._live)
        for container in live:
            container.close()

    def save(self, output: OutputImage, *, tag: str = "") -> str:
        """Load an output image into the engine; returns what the engine calls it."""
        name, image_id = lend(self._client, output, self._run, [tag] if tag else [])
        self._lent[image_id] = name
        return image_id

    def tag(self, image_id: str, reference: str) -> None:
        """Give a saved image a name (moving the name if another image has it)."""
        name, _, tag = reference.rpartition(":")
        if not name or "/" in tag:
            name, tag = reference, "latest"
        former = self.find(reference)
        try:
            self._client.tag(image_id, name, tag)
        except APIError as error:
            raise BuildError(
                f"cannot tag {reference}: {error.explanation}", hint="choose another --tag"
            ) from error
        # A former result of ours is not left behind without a name; of others we know nothing.
        if former and former.handle != image_id and OURS in former.config.raw:
            retire(self._client, former.handle)

    def layer_commands(self, image: Image) -> tuple[str, ...]:
        """What made each layer, bottom first; empty where the engine's answer is not clear."""
        if any(layer.created_by for layer in image.layers):
            return tuple(layer.created_by for layer in image.layers)
        try:
            steps = self._client.history(image.handle)
        except APIError:
            return ()
        # Steps that made no layer are not marked, but have no size.
        made = [str(step["CreatedBy"]) for step in reversed(steps) if step["Size"]]
        return tuple(made) if len(made) == len(image.layers) else ()

    def remove_image(self, image_id: str) -> None:
        """Remove an image that was saved and not tagged; silent when it is gone or in use."""
        # The engine does not remove an image of which there is still a container.
        wait(list(self._leaving))
        name = self._lent.pop(image_id, image_id)
        if is_lent(name):
            take_back(self._client, name)
        retire(self._client, image_id)

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        """Container IDs by the token of the run that made them."""
        found: dict[str, tuple[str, ...]] = {}
        for item in self._client.containers(all=True, filters={"label": RUN_LABEL}):
            token = item["Labels"][RUN_LABEL]
            found[token] = (*found.get(token, ()), item["Id"])
        return found

    def remove_container(self, container_id: str) -> None:
        """Remove a container a dead run left behind."""
        with contextlib.suppress(APIError):
            self._client.remove_container(container_id, force=True, v=True)

    def close(self) -> None:
        """Remove what is left and close the connection."""
        self.abort()
        self._makers.shutdown()
        self._reaper.shutdown()
        for name in self._lent.values():
            take_back(self._client, name)
        self._client.close()


def make(token: str, spool: Path, access: Access | None = None) -> DockerEngine:
    """Connect to the Docker engine; raises EngineError when none answers.

    `access` is how to talk to registries.
    """
    return DockerEngine(connect(), token, spool, access)
