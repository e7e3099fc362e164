"""Open an image by its name for the embedded engine, unpacking only layers the store lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from minify.errors import EngineError
from minify.images.archive import read_docker_archive
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.transports import Transport, parse_location
from minify.model import Platform
from minify.store import Store


@contextlib.contextmanager
def opened(store: Store, reference: str, platform: str) -> Iterator[OpenedImage]:
    """Open an image where its name says; layers in the store are not spooled (their span is empty).

    The spooled ones are gone when the context is left. Raises EngineError, UsageError.
    """
    place = parse_location(reference)
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
        else:
            raise EngineError(
                f"image not found: {reference}",
                hint="name a file: oci:DIR, oci-archive:FILE or docker-archive:FILE",
            )


def check_platform(reference: str, found: Platform, wanted: str) -> None:
    """Raise EngineError when an image is for another platform than the one asked for."""
    parts = wanted.split("/") if wanted else []
    if parts and parts != str(found).split("/")[: len(parts)]:
        raise EngineError(
            f"{reference} is for {found}, not {wanted}", hint="leave --platform out, or pull again"
        )
