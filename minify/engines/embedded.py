"""The embedded engine: no daemon. Layers from a store, overlayfs, an OCI runtime program.

What needs the kernel (namespaces, mounts, the network) is done by probes/run_container.py, one
process beside each container; everything vanishes with it. See docs/adr/0006-embedded-engine.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minify.engines import OUTPUT_LIMIT, Launch, Loaded
from minify.engines.embedded_container import EmbeddedContainer, Place
from minify.engines.embedded_layers import complete
from minify.engines.embedded_rootless import NOTE, check_root
from minify.engines.embedded_runs import claimed, sweep
from minify.engines.embedded_runtime import this_machine, working_runtime
from minify.engines.embedded_source import load_into, name_of
from minify.engines.embedded_spec import (
    FILES,
    OWN,
    SYSCTLS,
    Machine,
    Sources,
    files_of,
    specification,
    volume_source,
    volumes_of,
)
from minify.engines.embedded_users import identity
from minify.errors import EngineError, TraceError, UsageError
from minify.images.archive import full_tag
from minify.images.config import image_of_config, parse_config
from minify.images.overlay import read_overlay
from minify.images.platforms import check_platform, fits
from minify.images.registry import Access
from minify.images.span import Span
from minify.model import Entry, Image, Kind, Layer, OutputImage, Plan
from minify.probe import probing
from minify.store.layers import DIGEST, Store
from minify.tree import Tree


@dataclass
class EmbeddedEngine:
    """Engine over a layer store and a runtime program."""

    store: Store
    runs: Path
    runtime: str
    machine: Machine
    name: str = "embedded"
    local: bool = True
    access: Access = field(default_factory=Access)
    ways: tuple[str, ...] = ("overlay", "tmpfs", "copy")
    _images: dict[str, tuple[tuple[Path, ...], Tree]] = field(default_factory=dict)
    _loaded: dict[str, Loaded] = field(default_factory=dict)
    _live: dict[str, EmbeddedContainer] = field(default_factory=dict)
    _aborted: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be observed with this engine here, in words for people."""
        return (NOTE,) if self.machine.rootless else ()

    def load(self, reference: str, platform: str = "") -> Loaded:
        """Find an image in the store, else where its name says; unpack what is not unpacked yet."""
        known = self._loaded.get(reference)
        if known and not name_of(reference) and fits(known.image.platform, platform):
            return known
        image, manifest = self._stored(reference, platform), ""
        if image is None or not all(self.store.find(layer.diff_id) for layer in image.layers):
            opened = load_into(self.store, reference, platform, self.access)
            image, manifest = opened.image, opened.manifest
        check_platform(reference, image.platform, platform)
        directories, tree = self._known(image)
        # Layers as stored are compressed, or their sizes not known any more: count the content.
        image = replace(image, size=tree.content_bytes)
        # A registry's image is asked for its manifest once only: the same answer every time.
        manifest = "" if name_of(reference) else manifest

        def base(count: int) -> Tree:
            return self._checked(image, read_overlay(directories[:count]))

        self._loaded[reference] = Loaded(image, tree, base, manifest)
        return self._loaded[reference]

    def find(self, reference: str) -> Image | None:
        """Look an image up that was saved or loaded once: by name or by digest."""
        known = self._loaded.get(reference)
        return known.image if known else self._stored(reference, "")

    def _stored(self, reference: str, platform: str) -> Image | None:
        """An image of the store for a platform (any, when empty); else of whatever platform."""
        names = self.store.names()
        digests = [reference]
        with contextlib.suppress(UsageError):
            known = (names.get(name_of(reference, platform)), names.get(name_of(reference)))
            digests = [d for d in known if d] or digests
        found = [image for digest in digests if (image := self._remembered(reference, digest))]
        fit = (i for i in found if fits(i.platform, platform))
        return next(fit, None)

    def _remembered(self, reference: str, digest: str) -> Image | None:
        config = self.store.image(digest) if DIGEST.fullmatch(digest) else None
        if config is None:
            return None
        layers = [Layer(d) for d in parse_config(config.encode())["rootfs"]["diff_ids"]]
        # The configuration is kept in canonical form, so that its own digest may be another one.
        return replace(image_of_config(reference, config.encode(), layers), digest=digest)

    def _tree(self, image: Image) -> Tree:
        return self._known(image)[1]

    def _known(self, image: Image) -> tuple[tuple[Path, ...], Tree]:
        """The directories an image is mounted from, bottom first, and its tree."""
        if image.digest not in self._images:
            found = [self.store.find(layer.diff_id) for layer in image.layers]
            if not all(found):
                raise EngineError(
                    f"layers of {image.reference} are not in the layer store", hint="load it again"
                )
            directories, tree = complete(self.store, image, [p for p in found if p])
            self._images[image.digest] = directories, self._checked(image, tree)
        return self._images[image.digest]

    def _checked(self, image: Image, tree: Tree) -> Tree:
        """The tree, whose files are held against their digests when they are packed."""

        def check(entry: Entry, digest: bytes) -> None:
            self.store.check(image.layers[entry.layer].diff_id, entry.path, digest)

        return replace(tree, check=check)

    @contextlib.contextmanager
    def create(self, plan: Plan, image: Image, launch: Launch) -> Iterator[EmbeddedContainer]:
        """Create a container for a plan; it is removed when the context is left."""
        if not plan.command(image.config):
            raise TraceError("the image has no command", hint="name one after --")
        with claimed(self.runs) as folder, probing("run_container") as probe:
            request = self._prepare(folder, plan, image, launch)
            ignored = (*FILES, *(m["destination"] for m in request.pop("mounts")))
            place = Place(folder, tuple(request["runtime"]), ignored)
            container = EmbeddedContainer(request["id"], place, probe)
            self._live[container.id] = container
            try:
                container.create(request)
                if self._aborted:  # while it was made: nobody would end it
                    raise EngineError("the run was aborted")
                yield container
            finally:
                self._live.pop(container.id, None)
                container.close()

    def _prepare(self, folder: Path, plan: Plan, image: Image, launch: Launch) -> dict[str, Any]:
        """Write the bundle; returns the supervisor's request."""
        tree = self._tree(image)
        files, volumes = folder / "files", list[dict[str, str]]()
        files.mkdir()
        for name, text in files_of(plan).items():
            (files / name).write_text(text)
        for number, target in enumerate(volumes_of(plan, image, launch)):
            to = folder / f"volume-{number}"
            to.mkdir(mode=0o755)
            volumes.append({"path": target, "from": volume_source(tree, target), "to": str(to)})
        root = tree.get("/") or Entry("/", Kind.DIR, 0o755)
        for name in ("rootfs", "state", "writable"):
            (folder / name).mkdir(mode=0o755)
        sources = Sources(
            str(folder / "rootfs"), str(files), tuple((v["path"], v["to"]) for v in volumes)
        )
        who = identity(tree, plan.user or image.config.user)
        spec = specification(plan, image, launch, who, sources, self.machine)
        container_id = f"minify-{folder.name}"
        if not self.machine.rootless:
            spec["linux"]["cgroupsPath"] = f"/{container_id}"
        for name, data in (("config.json", json.dumps(spec).encode()), ("stdin", plan.stdin)):
            (folder / name).touch(mode=0o600)  # what a run is given is nobody else's business
            (folder / name).write_bytes(data)
        return {
            "id": container_id,
            "bundle": str(folder),
            "runtime": [self.runtime, "--root", str(folder / "state")],
            "lower": [str(path) for path in self._known(image)[0]],
            "ways": self.ways,
            "links": str(folder / "links"),
            "writable": str(folder / "writable"),
            "rootfs": str(folder / "rootfs"),
            "root": {"uid": root.uid, "gid": root.gid, "mode": root.mode},
            "userxattr": self.store.rootless,
            "volumes": volumes,
            "own": OWN,
            "empty_files": ["/.dockerenv"],
            "sysctls": SYSCTLS,
            "stdin": str(folder / "stdin"),
            "log": str(folder / "output"),
            "log_limit": OUTPUT_LIMIT,
            "mounts": spec["mounts"],
        }  # fmt: skip

    def save(self, output: OutputImage, *, tag: str = "") -> str:
        """Put an output image into the store; returns its ID."""
        for one in output.packed:
            path = Path(one.file)
            self.store.renewed(one.diff_id, Span(path, 0, path.stat().st_size))
        self.store.add_image(output.digest, output.config)
        if tag:
            self.tag(output.digest, tag)
        return output.digest

    def tag(self, image_id: str, reference: str) -> None:
        """Give a saved image a name (moving the name if another image has it)."""
        self.store.settle()  # nothing but the store has this image
        self.store.set_name(full_tag(reference), image_id)

    def layer_commands(self, image: Image) -> tuple[str, ...]:
        """What made each layer, bottom first: its configuration has the history."""
        return tuple(layer.created_by for layer in image.layers)

    def remove_image(self, image_id: str) -> None:
        """Forget an image that was saved and not tagged."""
        self.store.remove_image(image_id)

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        """Nothing: a container vanishes with its owner, its folder is swept when we open."""
        return {}

    def remove_container(self, container_id: str) -> None:
        """Nothing to do, see `leftovers`."""

    def abort(self) -> None:
        """End every container still there, so that threads waiting on them end."""
        self._aborted = True
        for container in list(self._live.values()):
            container.probe.finish()

    def close(self) -> None:
        """Let go of the layers."""
        self.abort()
        self.store.close()


def make(cache: Path, runtime: str = "", access: Access | None = None) -> EmbeddedEngine:
    """Open the engine on a cache folder; raises Unsupported without root or a runtime that works.

    `runtime` names one instead of the first that works; `access` is how to talk to registries.
    """
    check_root()
    machine = this_machine()
    runs = cache / "containers"
    store = Store(cache, rootless=machine.rootless)
    store.prepare()
    sweep(runs)
    program = working_runtime(cache, machine, runtime)
    return EmbeddedEngine(store, runs, program, machine, access=access or Access())
