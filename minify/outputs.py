"""Write the output image to every place it is wanted: all of them prepared, checked, then shown.

Files appear by rename(2) when everything else is done: a failure or an interrupt leaves no part of
one behind. Formats: docs/transports.md.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minify.below import remove
from minify.bench import Bench
from minify.engines import Engine
from minify.errors import BuildError, UsageError
from minify.images.archive import full_tag, write_docker_archive
from minify.images.check import validate
from minify.images.oci_write import Packed, archive_layout, copy_layout, write_oci_layout
from minify.images.registry import Access, push
from minify.images.transports import IMAGE_ID, Location, Transport, full_reference, parse_location
from minify.model import Image, OutputImage
from minify.names import check_tag, default_tag
from minify.options import Options
from minify.run import program
from minify.steps import step
from minify.workspace import forget_staging, remember_staging

ENGINES = (Transport.ANY, Transport.DAEMON)
LAYOUTS = (Transport.OCI, Transport.OCI_ARCHIVE, Transport.REGISTRY)
SHOWN = 10
INNER = "image"  # the tag inside the layout that others are made of


@dataclass(frozen=True)
class Wanted:
    """Where an output shall go; `name` is what an archive calls it when nothing else does."""

    places: tuple[Location, ...]
    name: str
    access: Access

    @property
    def by_name(self) -> bool:
        """Whether the engine in use has to name the image and nothing is to be written."""
        return all(place.transport is Transport.ANY for place in self.places)

    @property
    def compressed(self) -> bool:
        """Whether any place wants the image as a layout with compressed layers."""
        return any(place.transport in LAYOUTS for place in self.places)

    @property
    def title(self) -> str:
        """What the output is called in reports: its name in the engine, else its first place."""
        named = [p.reference for p in self.places if p.transport is Transport.ANY]
        return named[0] if named else str(self.places[0])


def wanted_of(options: Options) -> Wanted:
    """Where options want the output; the engine, under the default name, when they do not say.

    Raises UsageError listing every place that could not be written to.
    """
    name = options.tag or default_tag(options.image)
    places, wrong = list[Location](), list[str]()
    for text in options.output:
        try:
            places.append(parse_location(text))
            wrong += _complaints(places[-1])
        except UsageError as error:
            wrong.append(error.message)
    same = {str(p) for p in places if places.count(p) > 1}
    wrong += [f"named twice: --output {text}" for text in sorted(same)]
    if wrong:
        raise UsageError(
            "\n".join(wrong),
            hint="write oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG], "
            "docker-daemon:NAME or docker://NAME (docs/transports.md)",
        )
    if options.tag or not places:
        places.insert(0, Location(Transport.ANY, reference=name))
    return Wanted(tuple(dict.fromkeys(places)), name, access_of(options))


def access_of(options: Options) -> Access:
    """How options want registries to be talked to."""
    return Access(options.auth_file, options.cert_dir, options.tls_verify)


def _complaints(place: Location) -> Iterator[str]:
    """What keeps a place from being written to, as far as can be told beforehand."""
    if not place.transport.on_disk:
        if IMAGE_ID.fullmatch(place.reference) or "@" in place.reference:
            yield f"not a name that can be given: {place}"
        return
    path = Path(place.path)
    if not path.parent.is_dir():
        yield f"no such folder: {path.parent} (for --output {place})"
    if place.transport is Transport.OCI:
        if path.exists() and not path.is_dir():
            yield f"not a folder: {path} (for --output {place})"
        elif path.is_dir() and any(path.iterdir()) and not (path / "index.json").is_file():
            yield f"neither empty nor an OCI layout: {path} (for --output {place})"
    elif path.exists() and not path.is_file():
        yield f"not a file: {path} (for --output {place})"


def check_outputs(bench: Bench, wanted: Wanted, source: Image, *, force: bool) -> None:
    """Raise UsageError for a name that is not ours to move, Unsupported for a missing program."""
    for place in wanted.places:
        if place.transport in ENGINES:
            with _engine(bench, place) as engine:
                check_tag(engine, place.reference, source, force=force)
        elif place.transport is Transport.REGISTRY:
            program("skopeo")


@dataclass(frozen=True)
class Product:
    """An output image, which the engine has as `image_id`; `layout` waits for it as a layout."""

    output: OutputImage
    image_id: str
    layout: Callable[[], Path] | None = None


def lay_out(bench: Bench, output: OutputImage) -> Path:
    """Write an output as a checked layout of its own in the run's folder; compresses its layers.

    The tag inside is INNER. It can be done long before `deliver`, beside other work.
    """
    folder = bench.run.folder / f"layout-{secrets.token_hex(4)}"
    packed = Packed(_layers(output), output.config, annotations=output.annotations)
    write_oci_layout(folder, packed, INNER)
    check(folder, bench)
    return folder


def deliver(bench: Bench, wanted: Wanted, product: Product) -> dict[str, str]:
    """Write an output to all places.

    Returns the digest by place: that of the manifest where there is one, else the image's ID.
    Raises BuildError, EngineError; no file is there then that was not there before.
    """
    files = [p for p in wanted.places if p.transport is not Transport.ANY]
    with contextlib.ExitStack() as stack:
        stack.callback(forget_staging, bench.run)
        if files:
            progress = stack.enter_context(step("Writing", outputs=len(files)))
            progress.count("places", len(files))
        layout = None
        if wanted.compressed:
            layout = product.layout() if product.layout else lay_out(bench, product.output)
            stack.callback(_remove, layout)
        job = _Job(bench, wanted, product, _folder(stack, bench), layout)
        ready = [job.staged(stack, place) for place in wanted.places]
        ordered = sorted(ready, key=lambda r: ORDER.index(r.place.transport))
        shown = {one.place: job.show(one) for one in ordered}
    return {str(one.place): shown[one.place] for one in ready}


# What is likeliest to fail comes first; renaming files hardly ever does.
ORDER = (Transport.REGISTRY, Transport.DAEMON, Transport.OCI, Transport.OCI_ARCHIVE,
         Transport.DOCKER_ARCHIVE, Transport.ANY)  # fmt: skip


@dataclass(frozen=True)
class _Ready:
    """An output that needs nothing but to be shown: `file` is renamed to its place."""

    place: Location
    digest: str
    file: Path | None = None


@dataclass(frozen=True)
class _Job:
    """One output image on its way out; `folder` is for what is made on the way."""

    bench: Bench
    wanted: Wanted
    product: Product
    folder: Path
    layout: Path | None

    @property
    def output(self) -> OutputImage:
        """The image."""
        return self.product.output

    def staged(self, stack: contextlib.ExitStack, place: Location) -> _Ready:
        """Make and check what is to be shown at a place."""
        if place.transport in ENGINES:
            return _Ready(place, self.product.image_id)
        manifest = manifest_of(self._layout()) if place.transport in LAYOUTS else ""
        if place.transport is Transport.REGISTRY:
            return _Ready(place, manifest)
        path = Path(place.path)
        if place.transport is Transport.OCI and path.is_dir():
            return _Ready(place, manifest)  # it may be a mount point, so nothing can take its place
        staging = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}")
        remember_staging(self.bench.run, staging)
        stack.callback(_remove, staging)
        if place.transport is Transport.OCI:
            copy_layout(self._layout(), staging, place.tag)
        elif place.transport is Transport.OCI_ARCHIVE:
            tagged = self.folder / secrets.token_hex(6)
            copy_layout(self._layout(), tagged, place.tag)
            archive_layout(tagged, staging)
            check(staging, self.bench)
        else:
            name = full_tag(place.tag or self.wanted.name)
            write_docker_archive(staging, _layers(self.output), self.output.config, [name])
            check(staging, self.bench)
        return _Ready(place, manifest or self.output.digest, staging)

    def show(self, one: _Ready) -> str:
        """Make an output appear at its place; returns its digest there."""
        place = one.place
        if place.transport in ENGINES:
            return self._named(place)
        if place.transport is Transport.REGISTRY:
            name = full_reference(place.reference)
            push(self._layout(), INNER, name, access=self.wanted.access)
        elif one.file is None:
            copy_layout(self._layout(), Path(place.path), place.tag)
        else:
            try:
                one.file.rename(place.path)
            except OSError as error:
                raise BuildError(f"cannot write {place}: {error.strerror}") from error
        return one.digest

    def _named(self, place: Location) -> str:
        """Give the image its name in an engine; returns what that calls it."""
        with _engine(self.bench, place) as engine:
            known = engine is self.bench.engine
            image_id = self.product.image_id if known else engine.save(self.output)
            engine.tag(image_id, place.reference)
            return image_id

    def _layout(self) -> Path:
        assert self.layout is not None  # there is a place that wants one
        return self.layout


def _layers(output: OutputImage) -> list[tuple[Path, str]]:
    return [(Path(one.file), one.diff_id) for one in output.packed]


def manifest_of(layout: Path) -> str:
    """The digest of the manifest of a layout's only image."""
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return str(entry["digest"])


def check(path: Path, bench: Bench) -> None:
    """Re-read an image file; raises BuildError listing what is wrong with it."""
    found: Sequence[object] = validate(path, folder=bench.run.folder)
    if found:
        shown = "\n".join(f"  {v}" for v in found[:SHOWN])
        raise BuildError(
            f"what was written to {path} is not a valid image:\n{shown}",
            hint="this is a fault of minify, or of the disk",
        )


def _folder(stack: contextlib.ExitStack, bench: Bench) -> Path:
    folder = bench.run.folder / f"output-{secrets.token_hex(4)}"
    folder.mkdir()
    stack.callback(_remove, folder)
    return folder


def _remove(path: Path) -> None:
    remove(path)


@contextlib.contextmanager
def _engine(bench: Bench, place: Location) -> Iterator[Engine]:
    """The engine a place belongs to: the one in use, or Docker beside it."""
    if place.transport is Transport.ANY or bench.engine.name == "docker":
        yield bench.engine
        return
    from minify.engines.docker_api import make  # here: only where it is used

    engine = make(bench.run.token, bench.run.folder)
    try:
        yield engine
    finally:
        engine.close()
