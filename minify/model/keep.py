"""What is kept and why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class KeepLevel(StrEnum):
    """How far beyond the touched files to keep."""

    EXACT = "exact"
    REACH = "reach"
    PACKAGE = "package"

    @property
    def rank(self) -> int:
        """The order of levels, narrowest first."""
        return list(KeepLevel).index(self)


@dataclass(frozen=True, slots=True, order=True)
class Reason:
    """Why a path is kept: the rule, and the path (or touch) because of which it fired."""

    rule: str
    because: str
    detail: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something a resolver or a policy could not analyse, or that a reader should know.

    `left_out` are paths it says were left out.
    """

    rule: str
    path: str
    message: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeepSet:
    """The paths to keep, each with at least one reason; `dropped` names policy drops."""

    image: str
    level: KeepLevel
    paths: Mapping[str, tuple[Reason, ...]]
    dropped: Mapping[str, Reason] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class PackedLayer:
    """A layer of a packed image: the file that holds its tar."""

    diff_id: str
    file: str


@dataclass(frozen=True)
class OutputImage:
    """A packed image: the file that holds its layer, its identity, and its sizes in bytes.

    Of several layers, `layers` has all, bottom first, and `diff_id` and `layer_file` are the last.
    `annotations` are for the manifest, in formats that have one.
    """

    digest: str
    diff_id: str
    config: str
    layer_file: str
    size: int
    files: int
    layers: tuple[PackedLayer, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def packed(self) -> tuple[PackedLayer, ...]:
        """All layers, bottom first."""
        return self.layers or (PackedLayer(self.diff_id, self.layer_file),)


@dataclass(frozen=True, order=True)
class Difference:
    """Where the minified image behaves otherwise: which drive, which field, both values."""

    subject: str
    field: str
    original: str
    minified: str


@dataclass(frozen=True)
class Verdict:
    """The outcome of A/A/B. `noise` lists what already differed between the two originals."""

    passed: bool
    differences: tuple[Difference, ...] = ()
    noise: tuple[str, ...] = ()
    compared: int = 0
    repaired: tuple[str, ...] = ()
    unexplained: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def counted(self) -> str:
        """How many differences there are, for people."""
        count = len(self.differences)
        return f"{count} difference{'s' * (count != 1)}"
