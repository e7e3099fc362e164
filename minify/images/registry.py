"""Images in registries, through the `skopeo` program: it knows credentials, TLS and retries.

Credentials come from an auth file in Docker's format (credential helpers included): the one given,
else skopeo's own search, which ends at ~/.docker/config.json. Layers already present, in the folder
or in the registry, are not transferred again, so an interrupted transfer goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minify.errors import EngineError, MinifyError
from minify.images.config import image_of_config
from minify.images.platforms import parse_platform
from minify.model import Image
from minify.run import program, run

FATAL = re.compile(r'level=fatal msg="((?:[^"\\]|\\.)*)"')
HINTS = (
    ("unauthorized|authentication required|denied", "log in first: docker login HOST"),
    ("x509|certificate", "give the registry's CA with --cert-dir, or use --no-tls-verify"),
    ("server gave HTTP response to HTTPS", "the registry has no TLS: use --no-tls-verify"),
    ("manifest unknown|name unknown|not found", "check the name and the tag"),
    ("no image found in (manifest list|image index)", "choose another --platform"),
    ("no such host|connection refused|timeout|unreachable", "check the host name and the network"),
)


@dataclass(frozen=True)
class Access:
    """How to talk to a registry. `timeout` in seconds, for one whole transfer."""

    auth_file: str = ""
    cert_dir: str = ""
    tls_verify: bool = True
    retries: int = 3
    timeout: float = 3600.0

    def flags(self, side: str = "") -> list[str]:
        """The command-line flags for one side of a copy (`src-`, `dest-`), or for inspect."""
        found = [f"--{side}tls-verify={str(self.tls_verify).lower()}"]
        if self.auth_file:
            found.append(f"--{side}authfile={self.auth_file}")
        if self.cert_dir:
            found.append(f"--{side}cert-dir={self.cert_dir}")
        return found


@dataclass(frozen=True)
class Remote:
    """An image in a registry: the digest of its manifest (or index), and what it says it is."""

    manifest_digest: str
    image: Image


def pull(
    reference: str, folder: Path, tag: str, *, platform: str = "", access: Access = Access()
) -> None:
    """Copy an image for one platform from a registry into an OCI layout folder, under a tag.

    Raises EngineError naming the registry's reason.
    """
    _skopeo(
        [*_overrides(platform), "copy", "--quiet", f"--retry-times={access.retries}",
         *access.flags("src-"), f"docker://{reference}", f"oci:{folder}:{tag}"],
        f"cannot pull {reference}", access.timeout,
    )  # fmt: skip


def push(folder: Path, tag: str, reference: str, *, access: Access = Access()) -> None:
    """Copy an image from an OCI layout folder to a registry, unchanged; raises EngineError."""
    _skopeo(
        ["copy", "--quiet", "--preserve-digests", f"--retry-times={access.retries}",
         *access.flags("dest-"), f"oci:{folder}:{tag}", f"docker://{reference}"],
        f"cannot push {reference}", access.timeout,
    )  # fmt: skip


def inspect(reference: str, *, platform: str = "", access: Access = Access()) -> Remote:
    """Ask a registry what an image is, without its layers; raises EngineError."""
    common = [f"--retry-times={access.retries}", *access.flags(), f"docker://{reference}"]
    what = f"cannot inspect {reference}"
    raw = _skopeo(["inspect", "--raw", *common], what, access.timeout)
    config = _skopeo(
        [*_overrides(platform), "inspect", "--config", "--raw", *common], what, access.timeout
    )
    digest = "sha256:" + hashlib.sha256(raw.encode()).hexdigest()
    return Remote(digest, image_of_config(reference, config.encode(), ()))


def _overrides(platform: str) -> list[str]:
    if not platform:
        return []
    wanted = parse_platform(platform)
    found = [f"--override-os={wanted.os}", f"--override-arch={wanted.architecture}"]
    return [*found, f"--override-variant={wanted.variant}"] if wanted.variant else found


def _skopeo(arguments: Sequence[str], what: str, timeout: float) -> str:
    argv = [program("skopeo"), *arguments]
    try:
        return run(argv, timeout=timeout).stdout
    except MinifyError as error:
        reason = _reason(error.message)
        hint = next((h for pattern, h in HINTS if re.search(pattern, reason, re.IGNORECASE)), "")
        raise EngineError(f"{what}: {reason}", hint=hint) from error


def _reason(text: str) -> str:
    """The message of skopeo's last log line, or the text itself, as one line."""
    found = FATAL.findall(text)
    words = json.loads(f'"{found[-1]}"') if found else text
    return " ".join(str(words).split())[:600]
