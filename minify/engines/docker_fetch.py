"""Images of the Docker engine for somebody else: the embedded engine's `docker-daemon:NAME`.

Through the SDK, as everything asked of that engine: skopeo speaks an API that engines from 29 on
no longer answer, and knows neither contexts nor DOCKER_HOST.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException

from minify.engines.docker_connect import connect
from minify.engines.docker_platform import save_image
from minify.errors import EngineError
from minify.images.archive import full_tag
from minify.images.platforms import host_platform, parse_platform
from minify.images.transports import IMAGE_ID
from minify.model import Platform

PATIENCE = 600  # seconds without a byte: the engine may pack layers before it sends any


def fetch_daemon(reference: str, sink: Path, platform: str = "") -> None:
    """Save an image of the Docker engine as a docker-archive; raises EngineError.

    `platform` chooses where a name stands for several; without it, this machine's is taken where
    there is one.
    """
    # Of a name without a tag older engines save every image there is of it.
    name = reference if IMAGE_ID.fullmatch(reference) else full_tag(reference)
    client = connect(PATIENCE)
    try:
        _save(client, name, sink, platform)
    except (DockerException, RequestException, OSError) as error:
        why = getattr(error, "explanation", "") or str(error)
        hint = f"docker pull {reference}, or check the name with: docker images"
        raise EngineError(
            f"cannot fetch {reference} from the Docker engine: {why}",
            hint=hint if _unknown(error) else "",
        ) from error
    finally:
        client.close()


def _unknown(error: Exception) -> bool:
    return isinstance(error, APIError) and error.status_code == 404


def _save(client: Any, reference: str, sink: Path, platform: str) -> None:
    wanted = parse_platform(platform) if platform else host_platform()
    # An image of one platform is taken as it is: who asked for another is told so later.
    with contextlib.suppress(APIError):
        _write(client, reference, sink, wanted)
        return
    _write(client, reference, sink, None)


def _write(client: Any, reference: str, sink: Path, platform: Platform | None) -> None:
    with sink.open("wb") as stream:
        stream.writelines(save_image(client, reference, platform))
