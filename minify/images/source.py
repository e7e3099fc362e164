"""Open an image by its location, wherever that is, for an engine that has not got it."""

from __future__ import annotations

from pathlib import Path

from minify.images.archive import read_docker_archive
from minify.images.oci import Choice, read_oci_archive, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.registry import Access, fetch_daemon, pull
from minify.images.transports import Location, Transport

PULLED = "pulled"  # the tag inside a pull's own layout


def open_source(place: Location, spool: Path, platform: str, access: Access) -> OpenedImage:
    """Open an image in a file, a registry or another engine; a bare name is the registry's.

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
    if place.transport is Transport.DAEMON:
        fetch_daemon(place.reference, spool / "daemon.tar", access=access)
        return read_docker_archive(spool / "daemon.tar", spool=spool)
    pull(place.reference, spool / PULLED, PULLED, platform=platform, access=access)
    return read_oci_layout(spool / PULLED, spool=spool, choice=Choice(PULLED, platform))
