"""Which Docker engine the user means, by the rules of the `docker` command line.

DOCKER_HOST before DOCKER_CONTEXT before the current context of config.json; `default` is the
engine of DOCKER_HOST or of the default socket. The contexts are read here, not by the SDK: it does
not look at DOCKER_CONTEXT in all its releases, and finds no context where there is no config.json.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from minify.errors import WrongEngineError
from minify.run import environment

DEFAULT = "default"
ENDPOINT = "docker"  # of several that a context may have


def settings() -> dict[str, Any]:
    """Arguments for the SDK's client: `base_url` unless it is the default socket's, `tls`.

    Raises WrongEngineError for a context there is none of, DockerException for wrong TLS settings.
    """
    env = environment()
    folder = _folder(env)
    name, said_by = _name(env, folder)
    if name != DEFAULT:
        return _of_context(folder, name, said_by)
    if env.get("DOCKER_TLS_VERIFY"):
        env = {"DOCKER_CERT_PATH": str(folder), **env}
    return dict(kwargs_from_env(env))


def _folder(env: Mapping[str, str]) -> Path:
    """The folder of Docker's command line settings."""
    return Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "/root", ".docker"))


def _name(env: Mapping[str, str], folder: Path) -> tuple[str, str]:
    """The name of the context, and who says so."""
    if env.get("DOCKER_HOST"):
        return DEFAULT, ""
    if env.get("DOCKER_CONTEXT"):
        return env["DOCKER_CONTEXT"], "DOCKER_CONTEXT"
    config = folder / "config.json"
    try:
        said = _document(config).get("currentContext")
    except (OSError, ValueError):  # the command line warns, and goes on without
        said = None
    return (
        (said, f"currentContext in {config}") if isinstance(said, str) and said else (DEFAULT, "")
    )


def _of_context(folder: Path, name: str, said_by: str) -> dict[str, Any]:
    key = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    path = folder / "contexts" / "meta" / key / "meta.json"
    try:
        endpoint = _document(path)["Endpoints"][ENDPOINT]
        host, unchecked = str(endpoint.get("Host") or ""), bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError as error:
        raise WrongEngineError(
            f"no such Docker context: {name!r} ({said_by}); known: {', '.join(known(folder))}",
            hint="see: docker context ls",
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WrongEngineError(
            f"the Docker context {name!r} ({said_by}) cannot be read: {path}: {error!r}",
            hint=f"see: docker context inspect {name}",
        ) from error
    found: dict[str, Any] = {"base_url": host} if host else {}
    tls = _tls(folder / "contexts" / "tls" / key / ENDPOINT, unchecked)
    if tls is not None and host.startswith(("tcp://", "http://", "https://")):
        found["tls"] = tls
    return found


def _tls(folder: Path, unchecked: bool) -> TLSConfig | None:
    """The keys of a context; any of the three files may be missing, then TLS does without."""
    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if not (unchecked or ca.is_file() or cert.is_file()):
        return None
    return TLSConfig(
        client_cert=(str(cert), str(key)) if cert.is_file() else None,
        ca_cert=str(ca) if ca.is_file() else None,
        verify=not unchecked,
    )


def known(folder: Path) -> tuple[str, ...]:
    """The names of the contexts there are, `default` first."""
    names = set()
    for path in (folder / "contexts" / "meta").glob("*/meta.json"):
        try:
            names.add(str(_document(path)["Name"]))
        except (OSError, ValueError, LookupError):
            continue
    return (DEFAULT, *sorted(names - {DEFAULT}))


def _document(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{os.fspath(path)} is no JSON object")
    return found
