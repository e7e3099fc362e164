"""Calls of the Docker API that say which platform is meant, where one name stands for several.

An image of containerd's store may have many platforms; the SDK cannot name one in these calls, so
they are made with its own request methods. Docker Engine API: ImageInspect has `platform` since
1.49, ImageGet since 1.48.
"""

from __future__ import annotations

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

    Raises ImageNotFound, APIError.
    """
    if not platform or not version_gte(client.api_version, INSPECT_SINCE):
        return dict(client.inspect_image(reference))
    try:
        return dict(_asked(client, reference, parse_platform(platform)))
    except NotFound:
        # Without the platform: what is there is named then, and not called missing.
        return dict(client.inspect_image(reference))


def _asked(client: Any, reference: str, platform: Platform) -> Any:
    url = client._url("/images/{0}/json", reference)
    return client._result(client._get(url, params={"platform": _json(platform)}), True)


def save_image(client: Any, image_id: str, platform: Platform) -> Iterator[bytes]:
    """The image for a platform as `docker save` writes it, piece by piece."""
    many = version_gte(client.api_version, SAVE_SINCE)
    params = {"platform": _json(platform)} if many else {}
    answer = client._get(client._url("/images/{0}/get", image_id), params=params, stream=True)
    yield from client._stream_raw_result(answer, CHUNK, False)


def _json(platform: Platform) -> str:
    known = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return json.dumps({key: value for key, value in known.items() if value})
