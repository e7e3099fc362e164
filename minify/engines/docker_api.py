"""The Docker engine, through the Docker SDK: Docker itself, and Podman's compatible socket.

No SDK type leaves this package folder. Images are read straight from the engine's overlay2 layers
when they are readable here (local engine, root), else from `docker save`, spooled to disk.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from minify.engines import Launch, Loaded
from minify.engines.docker_container import DockerContainer, Place
from minify.engines.docker_image import image_of, layer_dirs
from minify.errors import BuildError, EngineError
from minify.images.archive import docker_archive_stream
from minify.images.overlay import read_overlay
from minify.model import Image, OutputImage, Plan
from minify.tree import Tree

RUN_LABEL = "io.minify.run"
HINT_START = "start Docker (or set DOCKER_HOST, or use --engine embedded); see: minify doctor"


def connect(timeout: int = 120) -> Any:
    """Open the SDK's client on DOCKER_HOST, else the current context, else the default socket."""
    try:
        settings: dict[str, Any] = dict(kwargs_from_env())
        if "base_url" not in settings:
            settings.update(_context_settings())
        return docker.APIClient(version="auto", timeout=timeout, **settings)
    except DockerException as error:
        reason = str(error).removeprefix("Error while fetching server API version: ")
        raise EngineError(
            f"no Docker engine answers: {reason.splitlines()[0][:160]}", hint=HINT_START
        ) from error


def _context_settings() -> dict[str, Any]:
    try:
        context = docker.ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError):
        return {}
    if context is None or context.Name == "default":
        return {}
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


class DockerEngine:
    """Engine over one API connection; `token` labels everything it makes."""

    name = "docker"
    notes: tuple[str, ...] = ()

    def __init__(self, client: Any, token: str, spool: Path) -> None:
        self._client = client
        self._token = token
        self._spool = spool
        self._live: set[DockerContainer] = set()
        self._lock = threading.Lock()
        self._reaper = ThreadPoolExecutor(2, thread_name_prefix="reaper")
        self.local = _is_local(client)
        # A rootless engine, or its user, cannot reach the containers' network nor read layers.
        self._direct = self.local and os.geteuid() == 0

    @property
    def _place(self) -> Place:
        return Place(self.local, self._direct)

    def load(self, reference: str, platform: str = "") -> Loaded:
        """Find an image in the engine and index its tree."""
        try:
            found = self._client.inspect_image(reference)
        except ImageNotFound as error:
            raise EngineError(
                f"image not found in the Docker engine: {reference}",
                hint=f"docker pull {reference}, or check the name with: docker images",
            ) from error
        except APIError as error:
            raise EngineError(f"cannot inspect {reference}: {error.explanation}") from error
        image = image_of(reference, found)
        wanted = platform.split("/") if platform else []
        if wanted and wanted != str(image.platform).split("/")[: len(wanted)]:
            raise EngineError(
                f"{reference} is for {image.platform}, not {platform}",
                hint=f"docker pull --platform {platform} {reference}",
            )
        return Loaded(image, self._tree(image, found))

    def find(self, reference: str) -> Image | None:
        """Look an image up by name or ID."""
        try:
            return image_of(reference, self._client.inspect_image(reference))
        except APIError:
            return None

    def _tree(self, image: Image, found: dict[str, Any]) -> Tree:
        directories = layer_dirs(found) if self._direct else ()
        if directories and len(directories) >= len(image.layers):
            with contextlib.suppress(PermissionError):
                return read_overlay(directories)
        return self._saved_tree(image)

    def _saved_tree(self, image: Image) -> Tree:
        target = self._spool / f"{image.digest.rpartition(':')[2]}.tar"
        try:
            with target.open("wb") as spool:
                for chunk in self._client.get_image(image.digest, chunk_size=1 << 20):
                    spool.write(chunk)
        except (APIError, OSError) as error:
            raise EngineError(f"cannot save {image.reference}: {error}") from error
        from minify.images.archive import read_docker_archive

        return read_docker_archive(target, spool=self._spool).tree

    @contextlib.contextmanager
    def create(self, plan: Plan, image: Image, launch: Launch) -> Iterator[DockerContainer]:
        """Create a container for a plan; it is removed when the context is left."""
        labels = {RUN_LABEL: self._token}
        container = DockerContainer.create(self._client, plan, image, launch, labels, self._place)
        with self._lock:
            self._live.add(container)
        try:
            yield container
        finally:
            # Removing takes the engine a tenth of a second that nobody has to wait for.
            self._reaper.submit(self._remove, container)

    def _remove(self, container: DockerContainer) -> None:
        container.close()
        with self._lock:
            self._live.discard(container)

    def abort(self) -> None:
        """Remove every container still there, so that threads waiting on them end."""
        with self._lock:
            live = list(self._live)
        for container in live:
            container.close()

    def save(self, output: OutputImage, *, tag: str = "") -> str:
        """Load an output image into the engine; returns its ID."""
        layers = [(Path(output.layer_file), output.diff_id)]
        stream = docker_archive_stream(layers, output.config, [tag] if tag else [])
        try:
            for answer in self._client.load_image(stream, quiet=True):
                if "error" in answer:
                    raise BuildError(f"the engine refused the image: {answer['error']}")
            return str(self._client.inspect_image(output.digest)["Id"])
        except (APIError, OSError) as error:
            raise BuildError(f"cannot load the image into the engine: {error}") from error

    def tag(self, image_id: str, reference: str) -> None:
        """Give a saved image a name (moving the name if another image has it)."""
        name, _, tag = reference.rpartition(":")
        if not name or "/" in tag:
            name, tag = reference, "latest"
        try:
            self._client.tag(image_id, name, tag)
        except APIError as error:
            raise BuildError(
                f"cannot tag {reference}: {error.explanation}", hint="choose another --tag"
            ) from error

    def remove_image(self, image_id: str) -> None:
        """Remove an image that was saved and not tagged; silent when it is gone or in use."""
        with contextlib.suppress(APIError):
            if not self._client.inspect_image(image_id).get("RepoTags"):
                self._client.remove_image(image_id)

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
        self._reaper.shutdown()
        self._client.close()


def _is_local(client: Any) -> bool:
    """Whether the engine runs on this very kernel (and not in a virtual machine or elsewhere)."""
    unix = str(client.base_url).startswith(("http+docker://", "http+unix://"))
    try:
        return unix and bool(client.info().get("KernelVersion") == os.uname().release)
    except APIError:
        return False


def make(token: str, spool: Path) -> DockerEngine:
    """Connect to the Docker engine; raises EngineError when none answers."""
    return DockerEngine(connect(), token, spool)
