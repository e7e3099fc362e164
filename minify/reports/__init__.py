"""Renderers: each turns a Report into bytes, without looking at anything else."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath

from minify.errors import UsageError
from minify.report import Report

SUFFIXES = {
    ".json": "json",
    ".sarif": "sarif",
    ".xml": "junit",
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
}


def format_of(file: str, otherwise: str = "") -> str:
    """The format a report file's suffix asks for, else `otherwise`; raises UsageError for none."""
    known = SUFFIXES.get(PurePath(file).suffix.lower(), otherwise)
    if not known:
        raise UsageError(
            f"--report {file}: its name does not tell the format",
            hint=f"end it in {', '.join(SUFFIXES)}, or add --report-format",
        )
    return known


def render(report: Report, name: str) -> bytes:
    """Render a report in a format: text, json, sarif, junit or markdown."""
    return bytes(import_module(f"minify.reports.as_{name}").render(report))
