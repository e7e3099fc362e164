"""Open an image by its name for the embedded engine, unpacking only layers the store lacks."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from minify.errors import EngineError
from minify.images.archive import full_tag, read_docker_archive
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.registry import Access, pull
from minify.images.transports import IMAGE_ID, Location, Transport, parse_location
from minify.model import Image, Platform
from minify.store import FETCHED, Store
from minify.workspace import key_of

AT_ONCE = 4
PULLED = "pulled"  # the tag inside a pull's own layout


def name_of(reference: str) -> str:
    """The name the store keeps an image under, empty for one that is read from a file each time."""
    place = parse_location(reference)
    if place.transport not in (Transport.ANY, Transport.REGISTRY):
        return ""
    return "" if IMAGE_ID.fullmatch(place.reference) else full_tag(place.reference)


def load_into(store: Store, reference: str, platform: str, access: Access) -> Image:
    """Bring an image into the store from where its name says; raises EngineError, UsageError.

    One from a registry keeps its name there, so that it is not fetched again.
    """
    with _opened(store, parse_location(reference), platform, access) as source:
        check_platform(reference, source.image.platform, platform)
        tars = dict(zip((x.diff_id for x in source.image.layers), source.layers, strict=True))
        # Making files is mostly waiting for the kernel, so layers go side by side.
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(store.layer, tars, tars.values()))
        store.add_image(source.image.digest, source.image.config.raw, kind=FETCHED)
        if name := name_of(reference):
            store.set_name(name, source.image.digest)
            return replace(source.image, reference=reference)
        return source.image


@contextlib.contextmanager
def _opened(store: Store, place: Location, platform: str, access: Access) -> Iterator[OpenedImage]:
    """Open an image; layers in the store are not spooled (their span is empty)."""
    with store.scratch() as spool:
        for name in store.layer_names():
            # The readers take a spooled layer of that name as it is, in place of unpacking it.
            (spool / f"{name}.tar").touch()
        path, choice = Path(place.path), Choice(place.tag, platform)
        if place.transport is Transport.OCI:
            yield read_oci_layout(path, spool=spool, choice=choice)
        elif place.transport is Transport.OCI_ARCHIVE:
            yield read_oci_archive(path, spool=spool, choice=choice)
        elif place.transport is Transport.DOCKER_ARCHIVE:
            yield read_docker_archive(path, spool=spool, tag=place.tag)
        elif place.transport is Transport.DAEMON or IMAGE_ID.fullmatch(place.reference):
            raise EngineError(
                f"the embedded engine has no image {place.reference}",
                hint="use --engine docker, or name a file or a registry's image",
            )
        else:
            with _pulled(store, place.reference, platform, access) as layout:
                yield read_oci_layout(layout, spool=spool, choice=Choice(PULLED, platform))


@contextlib.contextmanager
def _pulled(store: Store, reference: str, platform: str, access: Access) -> Iterator[Path]:
    """Fetch an image; the layout stays where it is until it was used, so a pull can be resumed."""
    key = key_of(reference, platform)
    layout = store.home / "pulls" / key
    with store.locked(key):
        pull(reference, layout, PULLED, platform=platform, access=access)
        yield layout
        shutil.rmtree(layout, ignore_errors=True)


def check_platform(reference: str, found: Platform, wanted: str) -> None:
    """Raise EngineError when an image is for another platform than the one asked for."""
    parts = wanted.split("/") if wanted else []
    if parts and parts != str(found).split("/")[: len(parts)]:
        raise EngineError(
            f"{reference} is for {found}, not {wanted}", hint="leave --platform out, or pull again"
        )
