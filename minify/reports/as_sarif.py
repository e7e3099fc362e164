"""The report as SARIF 2.1.0 (OASIS): what failed and what was found, for code scanning.

A result about a file of the image names it by its path within the image, relative to IMAGE; one
about the whole image names the image's configuration file.
"""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from minify.model import Finding
from minify.report import Report

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
WHOLE = "minify.yaml"
MAX_RESULTS = 5000  # what code scanning of GitHub takes
RULES = {
    "gate": ("GateFailed", "A gate that was set for the output is not met."),
    "difference": ("BehavesDifferently", "The output answers otherwise than the original."),
    "probe": ("ProbeFailed", "A probe failed on the original image."),
    "dropped": ("DroppedButUsed", "A program used this file, and a policy dropped it."),
    "incomplete": ("EvidenceIncomplete", "Events were lost: a used file may be missing."),
    "unverified": ("NotVerified", "The output was not compared with the original."),
    "finding": ("Finding", "Something that could not be analysed, or that should be known."),
}


@dataclass(frozen=True)
class _Result:
    """A result: `path` within the image, or empty."""

    rule: str
    level: str
    message: str
    path: str = ""


def render(report: Report) -> bytes:
    """Render as a SARIF log in UTF-8."""
    results = [*_gates(report), *_verdict(report), *_probes(report), *_files(report)]
    used = sorted({r.rule for r in results})
    run = {
        "tool": {
            "driver": {
                "name": "minify",
                "version": report.version,
                "semanticVersion": report.version,
                "rules": [_rule(name) for name in used],
            }
        },
        "invocations": [
            {"executionSuccessful": report.exit_code == 0, "exitCode": report.exit_code}
        ],
        "originalUriBaseIds": {
            "IMAGE": {"description": {"text": f"the root of {report.original.reference}"}}
        },
        "columnKind": "unicodeCodePoints",
        "properties": {
            "image": report.original.reference,
            "imageDigest": report.original.digest,
            "outputDigest": report.minified.digest,
        },
        "results": [_result(r, used) for r in results[:MAX_RESULTS]],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, indent=1, sort_keys=True) + "\n").encode()


def _gates(report: Report) -> list[_Result]:
    results = []
    for gate in report.gates:
        if not gate.passed:
            results.append(_Result("gate", "error", str(gate)))
            results += [_Result("gate", "error", f"{gate.gate}: {p}", p)
                        for p in gate.paths if p.startswith("/")]  # fmt: skip
    return results


def _verdict(report: Report) -> list[_Result]:
    verdict = report.verdict
    results = [
        _Result(
            "difference",
            "error",
            f"{d.subject}: {d.field}: the original has {d.original!r}, the output {d.minified!r}",
        )
        for d in verdict.differences
        if not verdict.passed
    ]
    if verdict.skipped:
        results.append(_Result("unverified", "note", verdict.skipped))
    if report.lost_events:
        results.append(_Result("incomplete", "error", f"{report.lost_events} events were lost"))
    return results


def _probes(report: Report) -> list[_Result]:
    failed = {
        d.drive: d.error or f"{d.protocol} {d.status}".strip() for d in report.drives if not d.ok
    }
    answers = {**dict.fromkeys(report.failed_drives, "no good answer"), **failed}
    return [
        _Result("probe", "warning", f"{name} failed on the original: {answer}")
        for name, answer in sorted(answers.items())
    ]


def _files(report: Report) -> list[_Result]:
    dropped = [
        _Result("dropped", "warning", f"{path} was used while it was watched, and dropped", path)
        for path in report.dropped_but_used
    ]
    return [*dropped, *(_finding(f) for f in report.findings)]


def _finding(finding: Finding) -> _Result:
    if finding.path.startswith("/"):
        return _Result("finding", "note", f"{finding.rule}: {finding.message}", finding.path)
    text = f"{finding.rule}: {finding.path} {finding.message}"
    return _Result("finding", "note", text)


def _rule(rule: str) -> dict[str, Any]:
    name, text = RULES[rule]
    return {
        "id": f"minify/{rule}",
        "name": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": f"{text} See docs/ci.md and docs/report.md of minify."},
    }


def _result(result: _Result, used: list[str]) -> dict[str, Any]:
    message = _printable(result.message)
    mark = hashlib.sha256(f"{result.rule}\0{message}\0{_printable(result.path)}".encode())
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(result.path),
                                                     "region": {"startLine": 1}}}  # fmt: skip
    if result.path:
        name = _printable(result.path)
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "resource"}]
    return {
        "ruleId": f"minify/{result.rule}",
        "ruleIndex": used.index(result.rule),
        "level": result.level,
        "message": {"text": message},
        "locations": [location],
        "partialFingerprints": {"minify/v1": mark.hexdigest()},
    }


def _artifact(path: str) -> dict[str, str]:
    if not path:
        return {"uri": WHOLE}
    raw = path.lstrip("/").encode("utf-8", "surrogateescape")
    return {"uri": urllib.parse.quote(raw) or ".", "uriBaseId": "IMAGE"}


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
