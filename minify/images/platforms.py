"""Choose one of several platforms, as the runtimes do (containerd's platform rules)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from minify.errors import EngineError, UsageError
from minify.model import Platform

ALIASES = {
    "x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", "v8"),
    "i386": ("386", ""), "i686": ("386", ""), "armhf": ("arm", "v7"), "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
}  # fmt: skip
# What an architecture without a variant means.
DEFAULTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


def parse_platform(text: str) -> Platform:
    """Read OS/ARCHITECTURE[/VARIANT], or an architecture alone (of linux); raises UsageError."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise UsageError(
            f"not a platform: {text!r}", hint="write OS/ARCHITECTURE[/VARIANT], as linux/arm64"
        )
    if len(parts) == 1:
        parts = ["linux", *parts]
    architecture, variant = ALIASES.get(parts[1], (parts[1], ""))
    return Platform(parts[0], architecture, parts[2] if len(parts) == 3 else variant)


def host_platform() -> Platform:
    """The platform of this machine."""
    return parse_platform(f"linux/{os.uname().machine}")


def _rank(platform: Platform) -> int:
    """The variant as a number: v7 is 7; 0 for an unnumbered one."""
    variant = platform.variant or DEFAULTS.get(platform.architecture, "")
    digits = variant.removeprefix("v").partition(".")[0]
    return int(digits) if re.fullmatch("[0-9]{1,4}", digits) else 0


def runs_on(candidate: Platform, wanted: Platform) -> bool:
    """Whether a candidate's code runs on the wanted platform: a lower variant does too."""
    same = (candidate.os, candidate.architecture) == (wanted.os, wanted.architecture)
    return same and _rank(candidate) <= _rank(wanted)


def fits(found: Platform, wanted: str) -> bool:
    """Whether an image is for the platform asked for; any is when none was."""
    return not wanted or runs_on(found, parse_platform(wanted))


def check_platform(reference: str, found: Platform, wanted: str) -> None:
    """Raise EngineError when an image is for another platform than the one asked for."""
    if not fits(found, wanted):
        raise EngineError(
            f"{reference} is for {found}, not {wanted}",
            hint=f"choose with --platform: {found}; or pull the one for {wanted}",
        )


def best(candidates: Sequence[Platform | None], wanted: Platform) -> int | None:
    """The index of the best candidate: the highest variant that runs; None when there is none."""
    fit = [(i, p) for i, p in enumerate(candidates) if p is not None and runs_on(p, wanted)]
    if not fit:
        return None
    return max(fit, key=lambda pair: (_rank(pair[1]), -pair[0]))[0]
