"""The nouns. Frozen, without behaviour beyond answering questions about themselves.

Paths are absolute POSIX paths inside the container ("/usr/bin/env"), normalised, without a trailing
slash; names that are not UTF-8 are kept by surrogate escapes (PEP 383).
"""

from minify.model.drives import (
    NETWORK,
    Capture,
    CrawlDrive,
    Drive,
    Exchange,
    ExecDrive,
    FindingDrive,
    GraphqlDrive,
    GrpcDrive,
    HttpDrive,
    HttpExpect,
    OpenApiDrive,
    RunDrive,
    SignalDrive,
    SqlDrive,
    TcpDrive,
    Tls,
    WebSocketDrive,
)
from minify.model.evidence import Access, Behaviour, Evidence, Observation, Outcome, Touch
from minify.model.image import Entry, Healthcheck, Image, ImageConfig, Kind, Layer, Platform
from minify.model.keep import Difference, Finding, KeepLevel, KeepSet, OutputImage, Reason, Verdict
from minify.model.plan import (
    HEALTHCHECK,
    Limits,
    Mount,
    Plan,
    Watch,
)

__all__ = [
    "Access",
    "Behaviour",
    "Capture",
    "CrawlDrive",
    "Difference",
    "Drive",
    "Entry",
    "Evidence",
    "Exchange",
    "ExecDrive",
    "Finding",
    "FindingDrive",
    "GraphqlDrive",
    "GrpcDrive",
    "HEALTHCHECK",
    "Healthcheck",
    "HttpDrive",
    "HttpExpect",
    "Image",
    "ImageConfig",
    "KeepLevel",
    "KeepSet",
    "Kind",
    "Layer",
    "Limits",
    "Mount",
    "NETWORK",
    "Observation",
    "OpenApiDrive",
    "Outcome",
    "OutputImage",
    "Plan",
    "Platform",
    "Reason",
    "RunDrive",
    "SignalDrive",
    "SqlDrive",
    "TcpDrive",
    "Tls",
    "Touch",
    "Verdict",
    "Watch",
    "WebSocketDrive",
]
