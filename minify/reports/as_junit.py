"""The report as JUnit XML: probes, the verification and the gates as test cases.

The form is the one CI systems read (the Jenkins xUnit schema, junit-10.xsd).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as Xml
from dataclasses import dataclass

from minify.report import DriveResult, Report

# XML 1.0, 2.2: what a document may not contain, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Case:
    """A test case: `failure` empty means passed, `skipped` not empty means not run."""

    group: str
    name: str
    failure: str = ""
    detail: str = ""
    skipped: str = ""


def render(report: Report) -> bytes:
    """Render as an XML document in UTF-8."""
    cases = [*_probes(report), *_verification(report), *_gates(report)]
    # In a result from the cache no time was spent.
    seconds = f"{report.seconds.get('total', 0.0):.3f}"
    numbers = {
        "tests": str(len(cases)),
        "failures": str(sum(1 for c in cases if c.failure)),
        "errors": "0",
        "time": seconds,
    }
    suites = Xml.Element("testsuites", {"name": "minify", **numbers})
    skipped = str(sum(1 for c in cases if c.skipped))
    name = _clean(f"minify {report.original.reference}")
    suite = Xml.SubElement(suites, "testsuite", {"name": name, "skipped": skipped, **numbers})
    for case in cases:
        _add(suite, case)
    Xml.indent(suites)
    return bytes(Xml.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add(suite: Xml.Element, case: _Case) -> None:
    attributes = {"classname": f"minify.{case.group}", "name": _clean(case.name), "time": "0"}
    node = Xml.SubElement(suite, "testcase", attributes)
    if case.failure:
        failure = Xml.SubElement(
            node, "failure", {"type": case.group, "message": _clean(case.failure)}
        )
        failure.text = _clean(case.detail or case.failure)
    elif case.skipped:
        Xml.SubElement(node, "skipped", {"message": _clean(case.skipped)})


def _probes(report: Report) -> list[_Case]:
    """Each probe once: it fails when the original fails it or the output answers otherwise."""
    played = [_probe(drive, report) for drive in report.drives]
    known = {drive.drive for drive in report.drives}
    lost = [n for n in report.failed_drives if n not in known]
    return [*played, *(_Case("probe", n, "the probe failed on the original") for n in lost)]


def _probe(drive: DriveResult, report: Report) -> _Case:
    name = f"{drive.drive} (port {drive.port})" if drive.port else drive.drive
    if not drive.ok:
        answer = drive.error or f"{drive.protocol} {drive.status}".strip()
        return _Case("probe", name, f"failed on the original: {answer}")
    others = [d for d in report.verdict.differences if d.subject == drive.drive]
    detail = "\n".join(f"{d.field}\n  original: {d.original}\n  minified: {d.minified}"
                       for d in others)  # fmt: skip
    return _Case("probe", name, f"{len(others)} differences" if others else "", detail)


def _verification(report: Report) -> list[_Case]:
    verdict = report.verdict
    if verdict.skipped:
        return [_Case("verify", "same behaviour", skipped=verdict.skipped)]
    detail = "\n".join(
        f"{d.subject}: {d.field}\n  original: {d.original}\n  minified: {d.minified}"
        for d in verdict.differences
    )
    failure = "" if verdict.passed else f"{len(verdict.differences)} differences from the original"
    lost = f"{report.lost_events} events were lost" if report.lost_events else ""
    return [
        _Case("verify", "same behaviour", failure, detail),
        _Case("verify", "evidence is complete", lost),
    ]


def _gates(report: Report) -> list[_Case]:
    return [
        _Case("gate", g.gate, "" if g.passed else str(g), "\n".join((str(g), *g.paths)))
        for g in report.gates
    ]


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
