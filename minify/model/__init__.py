"""The nouns. Frozen, without behaviour beyond answering questions about themselves.

Paths are absolute POSIX paths inside the container ("/usr/bin/env"), normalised, without a trailing
slash; names that are not UTF-8 are kept by surrogate escapes (PEP 383).
"""

from minify.model.evidence import Access, Behaviour, Evidence, Observation, Outcome, Touch
from minify.model.image import Entry, Healthcheck, Image, ImageConfig, Kind, Layer, Platform
from minify.model.keep import Difference, Finding, KeepLevel, KeepSet, OutputImage, Reason, Verdict
from minify.model.plan import (
    HEALTHCHECK,
    Drive,
    ExecDrive,
    HttpDrive,
    Limits,
    Mount,
    Plan,
    SignalDrive,
    TcpDrive,
    Watch,
)

__all__ = [
    "HEALTHCHECK",
    "Access",
    "Behaviour",
    "Difference",
    "Drive",
    "Entry",
    "Evidence",
    "ExecDrive",
    "Finding",
    "Healthcheck",
    "HttpDrive",
    "Image",
    "ImageConfig",
    "KeepLevel",
    "KeepSet",
    "Kind",
    "Layer",
    "Limits",
    "Mount",
    "Observation",
    "Outcome",
    "OutputImage",
    "Plan",
    "Platform",
    "Reason",
    "SignalDrive",
    "TcpDrive",
    "Touch",
    "Verdict",
    "Watch",
]
