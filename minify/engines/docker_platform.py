"""Calls of the Docker API that say which platform is meant, where one name stands for several.

An image of containerd's store may have many platforms; the SDK cannot name one in these calls, so
they are made with its own request methods. Docker Engine API: ImageInspect has `platform` since
1.49, ImageGet since 1.48.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from docker.errors import NotFound
from docker.utils import version_gte

from minify.images.platforms import parse_platform
from minify.model import Platform

INSPECT_SINCE, SAVE_SINCE = "1.49", "1.48"
CHUNK = 1 << 20


def inspect_image(client: Any, reference: str, platform: str = "") -> dict[str, Any]:
    """Inspect an image, that for a platform where the engine tells several apart.

    Its ID is that of the whole, by which the engine finds it. Where there is none for the platform,
    the one that is there is told. Raises ImageNotFound, APIError.
    """
    whole = dict(client.inspect_image(reference))
    if not platform or not version_gte(client.api_version, INSPECT_SINCE):
        return whole
    try:
        return {**_asked(client, reference, parse_platform(platform)), "Id": whole["Id"]}
    except NotFound:
        return whole


def _asked(client: Any, reference: str, platform: Platform) -> Any:
    url = client._url("/images/{0}/json", reference)
    return client._result(client._get(url, params={"platform": _json(platform)}), True)


def save_image(client: Any, image: str, platform: Platform | None) -> Iterator[bytes]:
    """An image as `docker save` writes it, piece by piece, that for a platform where that is told.

    Raises APIError.
    """
    many = platform is not None and version_gte(client.api_version, SAVE_SINCE)
    params = {"platform": _json(platform)} if platform and many else {}
    url = client._url("/images/{0}/get", image)
    with contextlib.closing(client._get(url, params=params, stream=True)) as answer:
        client._raise_for_status(answer)
        yield from answer.iter_content(CHUNK)


def _json(platform: Platform) -> str:
    known = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return json.dumps({key: value for key, value in known.items() if value})
