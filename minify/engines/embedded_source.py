"""Open an image by its name for the embedded engine, unpacking only layers the store lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from minify.below import remove
from minify.errors import EngineError
from minify.images.archive import full_tag, read_docker_archive
from minify.images.oci import Choice, read_oci_layout
from minify.images.opened import OpenedImage
from minify.images.platforms import check_platform, host_platform, parse_platform, runs_on
from minify.images.registry import Access, pull
from minify.images.source import PULLED, open_source
from minify.images.transports import IMAGE_ID, Location, Transport, parse_location
from minify.model import Image
from minify.store.layers import FETCHED, Store
from minify.workspace import key_of

AT_ONCE = 4


def name_of(reference: str, platform: str = "") -> str:
    """The name the store keeps an image under, empty for one that is read from a file each time.

    An image for another platform than this machine's has a name of its own.
    """
    place = parse_location(reference)
    if place.transport not in (Transport.ANY, Transport.REGISTRY):
        return ""
    if IMAGE_ID.fullmatch(place.reference):
        return ""
    wanted = parse_platform(platform) if platform else host_platform()
    foreign = "" if runs_on(host_platform(), wanted) else f" {wanted}"
    return full_tag(place.reference) + foreign


@dataclass(frozen=True)
class Opened:
    """An image brought into the store, and the digest of its manifest where a layout named one."""

    image: Image
    manifest: str = ""


def load_into(store: Store, reference: str, platform: str, access: Access) -> Opened:
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
        if name := name_of(reference, platform):
            store.set_name(name, source.image.digest)
        return Opened(replace(source.image, reference=reference), source.manifest)


@contextlib.contextmanager
def _opened(store: Store, place: Location, platform: str, access: Access) -> Iterator[OpenedImage]:
    """Open an image; layers in the store are not spooled (their span is empty)."""
    with store.scratch() as spool:
        for name in store.layer_names():
            # The readers take a spooled layer of that name as it is, in place of unpacking it.
            (spool / f"{name}.tar").touch()
        if place.transport.on_disk:
            yield open_source(place, spool, platform, access)
        elif place.transport is Transport.DAEMON:
            yield _of_docker(place.reference, spool, platform)
        elif IMAGE_ID.fullmatch(place.reference):
            raise EngineError(
                f"the embedded engine has no image {place.reference}",
                hint="use --engine docker, or name a file or a registry's image",
            )
        else:
            with _pulled(store, place.reference, platform, access) as layout:
                yield read_oci_layout(layout, spool=spool, choice=Choice(PULLED, platform))


def _of_docker(reference: str, spool: Path, platform: str) -> OpenedImage:
    from minify.engines.docker_fetch import fetch_daemon  # here: only where it is used

    saved = spool / "daemon.tar"
    fetch_daemon(reference, saved, platform)
    return read_docker_archive(saved, spool=spool)


@contextlib.contextmanager
def _pulled(store: Store, reference: str, platform: str, access: Access) -> Iterator[Path]:
    """Fetch an image; the layout stays where it is until it was used, so a pull can be resumed."""
    key = key_of(reference, platform)
    layout = store.home / "pulls" / key
    with store.locked(key):
        layout.mkdir(parents=True, exist_ok=True)
        pull(reference, layout, PULLED, platform=platform, access=access)
        yield layout
        remove(layout)
