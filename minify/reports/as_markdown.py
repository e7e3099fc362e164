"""The report as Markdown (GitHub's and GitLab's): a step summary or a merge-request comment."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from minify.errors import Exit
from minify.report import Report
from minify.sizes import megabytes

ROWS = 20  # of each table; the JSON report has them all
WIDTH = 200
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render(report: Report) -> bytes:
    """Render as Markdown in UTF-8."""
    parts = [_head(report), _sizes(report), _gates(report), _differences(report)]
    parts += [_probes(report), _notes(report)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return text.encode("utf-8", "backslashreplace")


def _head(report: Report) -> str:
    failed = [g for g in report.gates if not g.passed]
    verdict = {
        Exit.OK: "verified" if not report.verdict.skipped else "made, **not verified**",
        Exit.VERDICT: "**behaves differently**, nothing was tagged",
        Exit.GATE: f"**{len(failed)} of {len(report.gates)} gates failed**, nothing was tagged",
        Exit.INCOMPLETE: "made, but **events were lost**: a used file may be missing",
    }.get(Exit(report.exit_code), "failed")
    mark = "✅" if report.exit_code == Exit.OK else "❌"
    return f"### {mark} minify {_code(report.original.reference)}: {verdict}"


def _sizes(report: Report) -> str:
    one, two = report.original, report.minified
    percent = 100 * two.size / max(one.size, 1)
    return _table(
        ("", "image", "size", "files"),
        [
            ("original", _code(one.reference), megabytes(one.size), f"{one.files:,}"),
            (
                "minified",
                _code(two.reference),
                f"{megabytes(two.size)} ({percent:.1f} %)",
                f"{two.files:,}",
            ),
        ],
    )


def _gates(report: Report) -> str:
    rows = [
        ("✅" if g.passed else "❌", _text(g.gate), _text(g.demanded), _text(g.actual))
        for g in report.gates
    ]
    return _table(("", "gate", "demanded", "found"), rows) if rows else ""


def _differences(report: Report) -> str:
    found = report.verdict.differences
    if not found:
        return ""
    rows = [(_text(d.subject), _text(d.field), _code(d.original), _code(d.minified)) for d in found]
    return "#### Differences\n\n" + _table(("probe", "field", "original", "minified"), rows)


def _probes(report: Report) -> str:
    rows = [
        (
            "✅" if d.ok else "❌",
            _code(d.drive),
            _text(f"{d.protocol} {d.status or d.error}".strip()),
        )
        for d in report.drives
    ]
    if not rows:
        return "No probe was played: only start and stop were observed."
    table = _table(("", "probe", "answer of the original"), rows)
    return f"<details><summary>{len(rows)} probes</summary>\n\n{table}\n\n</details>"


def _notes(report: Report) -> str:
    lines = [f"- {_text(note)}" for note in report.notes]
    verdict = report.verdict
    if verdict.repaired:
        lines.append(f"- repaired: {', '.join(_code(p) for p in verdict.repaired[:ROWS])}")
    if report.dropped_but_used:
        dropped = ", ".join(_code(p) for p in report.dropped_but_used[:ROWS])
        lines.append(f"- used, yet dropped by policy: {dropped}")
    if report.findings:
        lines.append(f"- {len(report.findings)} findings, see the JSON or SARIF report")
    seconds = report.seconds.get("total", 0.0)
    lines.append(f"- minify {report.version}, {report.engine}, {seconds:.1f} s")
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows[:ROWS]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = len(rows) - ROWS
    return text + (f"\n\n… and {more} more" if more > 0 else "")


def _line(text: str) -> str:
    flat = _CONTROL.sub("\ufffd", " ".join(text.split()))
    return flat if len(flat) <= WIDTH else flat[: WIDTH - 1] + "…"


def _text(text: str) -> str:
    """Text that is nothing but text: no markup, no mention, no table cell of its own."""
    # A backslash does not stop a mention; a zero-width space after the @ does.
    return _SPECIAL.sub(r"\\\1", _line(text)).replace("@", "@\u200b")


def _code(text: str) -> str:
    """Text as code: in an HTML element, because backticks could not hold `|` or backticks."""
    shown = html.escape(_line(text)).replace("|", "&#124;")
    return f"<code>{_SPECIAL_IN_CODE.sub(_entity, shown)}</code>" if shown else ""


_SPECIAL_IN_CODE = re.compile(r"[\\`*_\[\]~]")


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"
