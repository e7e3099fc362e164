"""What a Docker engine keeps of images on this very disk, for whoever may read it there.

The classic store names its layer folders in the inspect answer, and keeps configurations by digest;
containerd's is asked itself (`containerd_store`). Whatever is not found here is had from the API.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError

from minify.engines.containerd_store import DIGEST, ContainerdStore, document
from minify.engines.podman_store import is_podman, with_root
from minify.images.overlay import read_overlay
from minify.tree import Tree

SHARED = Path("/var/lib/containerd")  # the machine's own containerd
CLASSIC = ("overlay2", "overlay")
MAPPED = ("userns", "rootless")


@dataclass(frozen=True)
class Disk:
    """The engine's stores. `mapped`: file owners on disk are not those of the image."""

    root: Path = Path("/nonexistent")
    driver: str = ""
    containerd: bool = False
    mapped: bool = False
    readable: bool = False

    def config(self, found: Mapping[str, Any]) -> bytes | None:
        """The configuration, as stored, of the image an inspect answer is about; None: unknown."""
        if not self.readable:
            return None
        image_id, layers = str(found["Id"]), _diff_ids(found)
        if not self.containerd:
            return self._classic_config(image_id)
        architecture = str(found.get("Architecture") or "")
        stores = (store.config(image_id, layers, architecture) for store in self.stores)
        return next((config for config in stores if config is not None), None)

    def layers(self, found: Mapping[str, Any]) -> tuple[Path, ...]:
        """The image's layer folders, bottom first, or nothing where files are not as in it."""
        if not self.readable or self.mapped:
            return ()
        if not self.containerd:
            return layer_dirs(found)
        if self.driver != "overlayfs":
            return ()
        told = (store.layer_folders(_diff_ids(found)) for store in self.stores)
        return next((folders for folders in told if folders), ())

    def written(self, state: Mapping[str, Any]) -> Path | None:
        """The folder with what a container wrote, by its inspect answer; None: ask the engine."""
        if not self.readable:
            return None
        if self.containerd:
            container = str(state.get("Id") or "")
            told = (store.written_folder(container) for store in self.stores)
            upper = next((str(folder) for folder in told if folder), "")
        else:
            driver = state.get("GraphDriver") or {}
            data = driver.get("Data") or {}
            upper = str(data.get("UpperDir") or "") if driver.get("Name") == "overlay2" else ""
        return Path(upper) if upper and os.access(upper, os.R_OK | os.X_OK) else None

    def tree(self, folders: tuple[Path, ...]) -> Tree:
        """The squashed tree of layer folders; raises as `read_overlay` does."""
        tree = read_overlay(folders)
        return with_root(tree, self.root, folders) if self.podman else tree

    def size(self, folders: tuple[Path, ...], told: int) -> int:
        """The bytes of an image opened; `told` by the engine, which may count others."""
        return bytes_in(folders) if folders and (self.containerd or self.podman) else told

    def pulled(self, digest: str) -> bool:
        """Whether a manifest is a registry's. Every image of containerd's store has one."""
        return not self.containerd or any(store.pulled(digest) for store in self.stores)

    @property
    def podman(self) -> bool:
        """Whether it is a store of Podman's."""
        return is_podman(self.root)

    @property
    def stores(self) -> tuple[ContainerdStore, ...]:
        """Where containerd may keep the engine's images: what is found is checked by digest."""
        return (ContainerdStore(self.root / "containerd" / "daemon"), ContainerdStore(SHARED))

    def _classic_config(self, image_id: str) -> bytes | None:
        match = DIGEST.fullmatch(image_id)
        if match is None:
            return None
        # Podman keeps data of a name that is no plain file name under its Base64 text.
        coded = "=" + base64.b64encode(image_id.encode()).decode()
        places = (
            self.root / "image" / self.driver / "imagedb" / "content" / "sha256" / match[1],
            self.root / f"{self.driver}-images" / match[1] / coded,
        )
        known = (document(place, image_id) for place in places)
        return next((data for data in known if data is not None), None)


def disk_of(client: Any, *, local: bool) -> Disk:
    """Where the engine keeps its images, as it says itself; `local`: on this machine."""
    try:
        info = client.info()
    except APIError:
        return Disk()
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    kinds = [str(pair[1]) for pair in info.get("DriverStatus") or () if len(pair) > 1]
    root = Path(str(info.get("DockerRootDir") or "/nonexistent"))
    return Disk(
        root=root,
        driver=str(info.get("Driver") or ""),
        containerd=any(kind.startswith("io.containerd.snapshotter") for kind in kinds),
        mapped=any(f"name={kind}" in option.split(",") for option in options for kind in MAPPED),
        readable=local and os.geteuid() == 0 and root.is_dir(),
    )


def bytes_in(folders: tuple[Path, ...]) -> int:
    """The bytes of all regular files of layers, each counted once: the size of the image opened."""
    total, todo = 0, [os.fsencode(folder) for folder in folders]
    seen: set[tuple[int, int]] = set()
    while todo:
        with os.scandir(todo.pop()) as listing:
            for item in listing:
                if item.is_dir(follow_symlinks=False):
                    todo.append(item.path)
                    continue
                found = item.stat(follow_symlinks=False)
                key = (found.st_dev, found.st_ino)
                if stat.S_ISREG(found.st_mode) and (found.st_nlink == 1 or key not in seen):
                    seen.add(key)
                    total += found.st_size
    return total


def layer_dirs(found: Mapping[str, Any]) -> tuple[Path, ...]:
    """The engine's own layer directories, bottom first; empty when they can't be read here."""
    driver = found.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if driver.get("Name") not in CLASSIC:
        return ()
    lower = [p for p in (data.get("LowerDir") or "").split(":") if p]
    upper = data.get("UpperDir")
    directories = tuple(Path(p) for p in [*reversed(lower), *([upper] if upper else [])])
    return directories if all(d.is_dir() for d in directories) else ()


def _diff_ids(found: Mapping[str, Any]) -> list[str]:
    return list((found.get("RootFS") or {}).get("Layers") or ())
