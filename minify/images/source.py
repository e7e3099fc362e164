"""Open an image by its location in a file or a registry, for an engine that has not got it."""

from __future__ import annotations

from pathlib import Path

from minify.images.archive import read_docker_archive
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.registry import Access, pull
from minify.images.transports import Location, Transport

PULLED = "pulled"  # the tag inside a pull's own layout


def open_source(place: Location, spool: Path, platform: str, access: Access) -> OpenedImage:
    """Open an image in a file or a registry; a bare name is the registry's.

    What is fetched or unpacked goes into `spool`, which must stay as long as the image is used.
    Raises EngineError, UsageError.
    """
    path, choice = Path(place.path), Choice(place.tag, platform)
    if place.transport is Transport.OCI:
        return read_oci_layout(path, spool=spool, choice=choice)
    if place.transport is Transport.OCI_ARCHIVE:
        return read_oci_archive(path, spool=spool, choice=choice)
    if place.transport is Transport.DOCKER_ARCHIVE:
        return read_docker_archive(path, spool=spool, tag=place.tag)
    pull(place.reference, spool / PULLED, PULLED, platform=platform, access=access)
    return read_oci_layout(spool / PULLED, spool=spool, choice=Choice(PULLED, platform))
