"""Every knob of a build, with its default: one definition for flag, configuration key and help."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from minify.model import Case, Drive, KeepLevel, Limits, Mount, Surroundings


@dataclass(frozen=True)
class Recipe:
    """An image to build: its folder, its Dockerfile, and what `docker build` calls the rest.

    `name`: what the image is called; `beyond`: wishes that the engine's builder cannot be told.
    """

    context: Path
    dockerfile: Path
    arguments: tuple[str, ...] = ()
    target: str = ""
    network: str = ""
    name: str = ""
    beyond: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What a build is asked to do. Empty means: as the image says, or the default named here."""

    image: str = ""
    tag: str = ""
    output: tuple[str, ...] = ()
    layers: str = "single"
    shared_with: str = ""
    auth_file: str = ""
    cert_dir: str = ""
    tls_verify: bool = True
    engine: str = "auto"
    platform: str = ""
    argv: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    mounts: tuple[Mount, ...] = ()
    drives: tuple[Drive, ...] = ()
    default_drives: bool = True
    ready_log: str = ""
    surroundings: Surroundings = field(default_factory=Surroundings)
    ports: tuple[int, ...] = ()
    cases: tuple[Case, ...] = ()
    compose: str = ""
    compose_service: str = ""
    builds: tuple[Recipe, ...] = ()
    limits: Limits = field(default_factory=Limits)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    policies_off: tuple[str, ...] = ()
    keep_level: KeepLevel = KeepLevel.REACH
    verify: bool = True
    repairs: int = 3
    fresh: bool = False
    force: bool = False
    light: bool = False
    epoch: int | None = None
    evidence: tuple[str, ...] = ()
    lock: str = ""
    max_size: int | None = None
    min_reduction: float | None = None
    max_growth: float | None = None
    baseline: str = "minify.lock"
    forbid: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    time_budget: float = 0.0
    context: str = ""
    dockerfile: str = ""
    build_args: tuple[str, ...] = ()
    build_target: str = ""
    build_network: str = ""
    build_secrets: tuple[str, ...] = ()
    build_ssh: tuple[str, ...] = ()
    build_cache_from: tuple[str, ...] = ()
    build_cache_to: tuple[str, ...] = ()
