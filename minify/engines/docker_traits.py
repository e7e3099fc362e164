"""What a Docker engine is like, as far as minify's work depends on it: store, cgroups, users.

Read from the answer to GET /info, which says it in the same words for Docker and Podman.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CONTAINERD = "io.containerd.snapshotter"
# Whose layer folders are read as they are.
DRIVERS, SNAPSHOTTERS = ("overlay2", "overlay"), ("overlayfs",)
LIMITS = {"--memory": "MemoryLimit", "--cpus": "CpuCfsQuota", "--pids": "PidsLimit"}
SAVED = "images are read through `docker save`"
SHIFTED = f"{SAVED}, for the owners in layer folders are not those in the image"
WITHOUT = (
    "needed only where a container is to run under such limits; rootless engines need cgroup "
    "version 2 with the controllers delegated to the user"
)


@dataclass(frozen=True)
class Trait:
    """One trait: what was found and what follows from it; `hint` where something is missing."""

    name: str
    detail: str
    hint: str = ""


def traits(info: Mapping[str, Any], *, root: bool) -> tuple[Trait, ...]:
    """The traits of an engine that says `info` of itself; `root`: whether minify runs as root."""
    users = _users(info)
    return (
        Trait("docker store", _store(info, root=root and not users)),
        _cgroups(info),
        Trait("docker users", users or "no user namespace: owners of files are as in the image"),
    )


def _store(info: Mapping[str, Any], *, root: bool) -> str:
    driver = str(info.get("Driver") or "unknown")
    containerd = _pairs(info).get("driver-type", "").startswith(CONTAINERD)
    in_place = root and driver in (SNAPSHOTTERS if containerd else DRIVERS)
    read = "layers are read where they lie" if in_place else SAVED
    if containerd:
        return (
            f"containerd's, snapshotter {driver}: {read}; the ID of an image is its manifest's "
            "digest here, another than in a classic store, and a name may have several platforms"
        )
    return f"classic, graph driver {driver}: {read}"


def _pairs(info: Mapping[str, Any]) -> dict[str, str]:
    rows = info.get("DriverStatus")
    found = rows if isinstance(rows, list) else []
    return {str(r[0]): str(r[1]) for r in found if isinstance(r, list) and len(r) == 2}


def _cgroups(info: Mapping[str, Any]) -> Trait:
    version = str(info.get("CgroupVersion") or "1")  # engines before 20.10 know no other
    lacking = [flag for flag, key in LIMITS.items() if info.get(key) is False]
    if not lacking:
        return Trait("docker cgroups", f"version {version}: all limits can be set")
    flags = ", ".join(lacking)
    return Trait("docker cgroups", f"version {version}: {flags} cannot be set", WITHOUT)


def _users(info: Mapping[str, Any]) -> str:
    """The user namespaces containers run in, and what follows; empty where there are none."""
    options = set(_options(info))
    if "rootless" in options:
        return f"rootless: root in a container is the engine's user outside; {SHIFTED}"
    if "userns" in options:
        return f"userns-remap: users in a container are others outside; {SHIFTED}"
    return ""


def _options(info: Mapping[str, Any]) -> Iterator[str]:
    """The names of the security options: "name=seccomp,profile=builtin", or the name alone."""
    rows = info.get("SecurityOptions")
    for row in rows if isinstance(rows, list) else ():
        yield str(row).partition(",")[0].removeprefix("name=")
