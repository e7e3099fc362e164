from __future__ import annotations

import json
import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from minify.errors import UsageError
from minify.model import Verdict
from minify.report import Report
from minify.reports import SUFFIXES, format_of, render
from tests.report_kit import BAD, GOOD

TEXT = {"type": "object", "required": ["text"], "additionalProperties": False,
        "properties": {"text": {"type": "string", "minLength": 1}}}  # fmt: skip
# The part of the SARIF 2.1.0 schema that concerns what we write; nothing else may be there.
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {
            "type": "object",
            "required": ["tool", "results"],
            "additionalProperties": False,
            "properties": {
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "properties": {"type": "object"},
                "originalUriBaseIds": {"type": "object", "additionalProperties": {
                    "type": "object", "properties": {"description": TEXT}}},
                "invocations": {"type": "array", "items": {
                    "type": "object", "required": ["executionSuccessful"],
                    "additionalProperties": False,
                    "properties": {"executionSuccessful": {"type": "boolean"},
                                   "exitCode": {"type": "integer"}}}},
                "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {
                    "type": "object", "required": ["name"], "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string"}, "version": {"type": "string"},
                        "semanticVersion": {"type": "string"},
                        "rules": {"type": "array", "uniqueItems": True, "items": {
                            "type": "object", "required": ["id"], "additionalProperties": False,
                            "properties": {"id": {"type": "string"}, "name": {"type": "string"},
                                           "shortDescription": TEXT, "fullDescription": TEXT,
                                           "help": TEXT}}}}}}},
                "results": {"type": "array", "items": {
                    "type": "object", "required": ["message", "ruleId", "locations"],
                    "additionalProperties": False,
                    "properties": {
                        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer"},
                        "level": {"enum": ["none", "note", "warning", "error"]},
                        "message": TEXT,
                        "partialFingerprints": {
                            "type": "object", "additionalProperties": {"type": "string"}},
                        "locations": {"type": "array", "minItems": 1, "items": {
                            "type": "object", "additionalProperties": False,
                            "properties": {
                                "logicalLocations": {"type": "array"},
                                "physicalLocation": {
                                    "type": "object", "required": ["artifactLocation"],
                                    "properties": {"artifactLocation": {
                                        "type": "object", "required": ["uri"],
                                        "properties": {"uri": {
                                            "type": "string",
                                            "pattern": r"^[A-Za-z0-9%._~/!$&'()*+,;=:@-]+$",
                                        }}}}}}}}}}},
            }}},
    },
}  # fmt: skip


def sarif(report: Report) -> dict[str, Any]:
    document = json.loads(render(report, "sarif"))
    jsonschema.Draft202012Validator(SARIF).validate(document)
    return dict(document["runs"][0])


def rules(run: dict[str, Any]) -> list[str]:
    return [r["ruleId"].removeprefix("minify/") for r in run["results"]]


def test_sarif_of_a_good_build_has_findings_only() -> None:
    run = sarif(GOOD)
    assert rules(run) == ["finding"]
    assert run["results"][0]["level"] == "note"
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location == {"uri": "usr/share/na%C3%AFve%20%FF%7Cx", "uriBaseId": "IMAGE"}
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 0}]


def test_sarif_tells_everything_that_failed() -> None:
    run = sarif(BAD)
    assert rules(run) == [
        "gate", "gate", "gate", "gate", "difference", "difference", "incomplete", "probe", "probe",
        "dropped", "finding",
    ]  # fmt: skip
    named = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert named[result["ruleIndex"]]["id"] == result["ruleId"]
    marks = [r["partialFingerprints"]["minify/v1"] for r in run["results"]]
    assert len(set(marks)) == len(marks)


def test_sarif_says_when_nothing_was_verified() -> None:
    skipped = replace(GOOD, verdict=Verdict(False, skipped="switched off"))
    assert "unverified" in rules(sarif(skipped))


def junit(report: Report) -> Xml.Element:
    root = Xml.fromstring(render(report, "junit"))
    assert root.tag == "testsuites"
    for suite in (root, root[0]):
        assert int(suite.attrib["tests"]) == len(root.findall(".//testcase"))
        assert int(suite.attrib["failures"]) == len(root.findall(".//failure"))
        assert float(suite.attrib["time"]) >= 0
    return root


def failed(root: Xml.Element) -> list[str]:
    return [c.attrib["name"] for c in root.iter("testcase") if c.find("failure") is not None]


def test_junit_has_probes_verification_and_gates() -> None:
    root = junit(GOOD)
    names = [(c.attrib["classname"], c.attrib["name"]) for c in root.iter("testcase")]
    assert names == [
        ("minify.probe", "GET / (port 80)"), ("minify.verify", "same behaviour"),
        ("minify.verify", "evidence is complete"), ("minify.gate", "max-size"),
    ]  # fmt: skip
    assert failed(root) == []


def test_junit_fails_what_failed_and_stays_xml() -> None:
    root = junit(BAD)
    assert failed(root) == [
        "GET / (port 80)", "GET /a?b=<c>&d|e (port 80)", "tcp 6379 (port 6379)", "same behaviour",
        "evidence is complete", "max-size", "forbid shell",
    ]  # fmt: skip
    text = "".join(f.text or "" for f in root.iter("failure"))
    assert "/bin/sh" in text
    assert "hello `you` | </code>" in text


def test_junit_skips_what_was_not_verified() -> None:
    root = junit(replace(GOOD, verdict=Verdict(False, skipped="switched off")))
    assert [s.attrib["message"] for s in root.iter("skipped")] == ["switched off"]
    assert root[0].attrib["skipped"] == "1"


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("report", [GOOD, BAD])
def test_markdown_tables_keep_their_shape(report: Report) -> None:
    text = render(report, "markdown").decode()
    for block in re.split(r"\n\n", text):
        table = rows(block)
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table}
        assert len(widths) <= 1, table


def test_markdown_says_what_happened() -> None:
    good = render(GOOD, "markdown").decode()
    assert good.startswith("### ✅ minify <code>shop:1</code>: verified")
    assert "10.0 MB (10.0 %)" in good
    bad = render(BAD, "markdown").decode()
    assert "behaves differently" in bad
    assert "nothing was tagged" in bad
    gates = render(replace(BAD, exit_code=9, verdict=GOOD.verdict), "markdown").decode()
    assert "2 of 3 gates failed" in gates


def test_markdown_lets_no_foreign_markup_through() -> None:
    text = render(BAD, "markdown").decode()
    assert "@everyone" not in text
    assert "@\u200beveryone \\*look\\*" in text
    assert "</code> |" in text
    assert "&lt;/code&gt;" in text
    assert "<b>" not in text


def test_long_tables_are_cut_and_say_so() -> None:
    many = replace(GOOD, drives=GOOD.drives * 50)
    text = render(many, "markdown").decode()
    assert text.count("<code>GET /</code>") == 20
    assert "and 30 more" in text


def test_text_lists_the_gates() -> None:
    text = render(BAD, "text").decode()
    assert "gate        FAILED max-size: 10 MB, demanded: at most 5 MB" in text
    assert "gate        ok     require /x" in text


@pytest.mark.parametrize("name", sorted(set(SUFFIXES.values())))
@pytest.mark.parametrize("report", [GOOD, BAD])
def test_every_format_is_utf8_and_the_same_every_time(name: str, report: Report) -> None:
    made = render(report, name)
    assert made == render(report, name)
    text = made.decode("utf-8")
    assert text.endswith("\n")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("file", "otherwise", "name"),
    [("r.json", "", "json"), ("a/b.SARIF", "", "sarif"), ("r.xml", "", "junit"),
     ("r.md", "json", "markdown"), ("summary", "markdown", "markdown"), ("r.txt", "", "text")],
)  # fmt: skip
def test_the_suffix_tells_the_format(file: str, otherwise: str, name: str) -> None:
    assert format_of(file, otherwise) == name


def test_a_name_that_tells_no_format_is_refused() -> None:
    with pytest.raises(UsageError, match="does not tell the format"):
        format_of("report")
