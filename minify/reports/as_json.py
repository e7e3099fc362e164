"""The report as a JSON document (docs/report.md)."""

from __future__ import annotations

from minify.codec import dumps
from minify.report import Report


def render(report: Report) -> bytes:
    """Render as JSON text in UTF-8."""
    return dumps(report, indent=1).encode()
