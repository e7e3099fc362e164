"""A provenance statement of an output: in-toto Statement 1 with a SLSA 1.0 predicate.

It has no dates and no values of variables, headers or bodies: the same input gives the same bytes,
and a secret that a probe needs stays where it is. https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from minify.codec import to_plain
from minify.errors import UsageError
from minify.options import Options
from minify.report import Report

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:minify:build:1"
BUILDER = "urn:minify:cli"
TOLD = ("platform", "keep", "drop", "policies_off", "keep_level", "verify", "repairs", "light",
        "epoch", "forbid", "require", "max_size", "min_reduction", "max_growth")  # fmt: skip


def statement(report: Report, options: Options) -> str:
    """Write the statement about a report's output as JSON text."""
    document = {
        "_type": STATEMENT,
        "subject": _subjects(report),
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(report, options),
                "internalParameters": {"engine": report.engine, "watchers": report.watchers},
                "resolvedDependencies": _dependencies(report, options),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"minify": report.version}},
                "metadata": {},
                "byproducts": [_evidence(report)],
            },
        },
    }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _subjects(report: Report) -> list[dict[str, Any]]:
    """The output at every place it was written to, by the digest it has there."""
    places = {**report.outputs} or {report.minified.reference: report.minified.digest}
    return [{"name": place, "digest": _digest(digest)} for place, digest in places.items()]


def _parameters(report: Report, options: Options) -> dict[str, Any]:
    told = {name: to_plain(getattr(options, name)) for name in TOLD}
    return {
        **{k: v for k, v in told.items() if v not in (None, "", [])},
        "image": report.original.reference,
        "probes": [drive.drive for drive in report.drives],
        "environmentNames": sorted(item.partition("=")[0] for item in options.env),
        "verified": report.verdict.passed,
    }


def _dependencies(report: Report, options: Options) -> list[dict[str, Any]]:
    source = {
        "name": f"source image {report.original.reference}",
        "digest": _digest(report.original.digest),
    }
    named = [("policy", p) for p in options.policies]
    named += [("evidence", p) for p in options.evidence]
    named += [("lock", p) for p in (options.lock,) if p]
    named += [("shared list", p) for p in (options.shared_with,) if p]
    return [source, *(_file(kind, path) for kind, path in named)]


def _file(kind: str, path: str) -> dict[str, Any]:
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return {"name": f"{kind} {Path(path).name}", "digest": {"sha256": digest}}


def _evidence(report: Report) -> dict[str, Any]:
    return {"name": "evidence", "digest": _digest(report.evidence_digest)}


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.rpartition(":")
    return {algorithm or "sha256": value}
