"""The report as plain text for a terminal or a log: no colour, one fact a line."""

from __future__ import annotations

from minify.model import KeepLevel, Verdict
from minify.report import Report
from minify.sizes import megabytes
from minify.terminal import plain


def render(report: Report) -> bytes:
    """Render the result table and what a reader must know."""
    lines = [*_sizes(report), *_watching(report), *_drives(report), *_stages(report)]
    lines += [*_verdict(report), *_gates(report)]
    if report.tagged:
        outputs = report.outputs or {report.minified.reference: report.minified.digest}
        lines += ["", *(f"{place}  {digest}" for place, digest in outputs.items())]
    else:
        lines += ["", "nothing was tagged"]
    return (plain("\n".join(lines)) + "\n").encode("utf-8", "backslashreplace")


def render_verdict(verdict: Verdict) -> str:
    """Render a verdict on its own."""
    return plain("\n".join(_verdict_lines(verdict))) + "\n"


def _sizes(report: Report) -> list[str]:
    one, two = report.original, report.minified
    percent = 100 * two.size / max(one.size, 1)
    lines = [
        f"{'':10}  {'size':>12}  {'files':>8}",
        f"{'original':10}  {megabytes(one.size):>12}  {one.files:>8,}  {one.reference}",
        f"{'minified':10}  {megabytes(two.size):>12}  {two.files:>8,}  {two.reference}",
        f"{'':10}  {percent:>10.1f} %  {'':8}  {report.ratio:.1f} times smaller, "
        f"level {report.level}",
    ]
    if report.level_bytes:
        known = [k.value for k in KeepLevel if k.value in report.level_bytes]
        weights = ", ".join(f"{k} {megabytes(report.level_bytes[k])}" for k in known)
        lines.append(f"levels      {weights}")
    return lines


def _watching(report: Report) -> list[str]:
    lines = [f"note        {note}" for note in report.notes]
    if report.lost_events:
        lines.append(
            f"INCOMPLETE  {report.lost_events} events were lost: a used file may be missing"
        )
    return lines


def _drives(report: Report) -> list[str]:
    lines = []
    for drive in report.drives:
        mark = "ok" if drive.ok else "FAILED"
        status = str(drive.status or drive.error)
        lines.append(f"probe       {mark:6} {drive.drive} -> {drive.protocol} {status}".rstrip())
    if not report.drives:
        lines.append("probe       none was played: it was observed from its start to its end")
    return lines


def _stages(report: Report) -> list[str]:
    if not report.seconds:
        return []
    stages = {k: v for k, v in report.seconds.items() if k != "total"}
    text = ", ".join(f"{k} {v:.1f}" for k, v in stages.items())
    reused = " (evidence of an earlier run reused)" if report.evidence_reused else ""
    return [f"seconds     {report.seconds.get('total', 0.0):.1f} in all: {text}{reused}"]


def _gates(report: Report) -> list[str]:
    return [f"gate        {'ok' if gate.passed else 'FAILED':6} {gate}" for gate in report.gates]


def _verdict(report: Report) -> list[str]:
    return _verdict_lines(report.verdict)


def _verdict_lines(verdict: Verdict) -> list[str]:
    if verdict.skipped:
        return ["", f"NOT VERIFIED: {verdict.skipped}"]
    lines = []
    if verdict.repaired:
        lines.append(
            f"repaired    {len(verdict.repaired)} paths: {', '.join(verdict.repaired[:5])}"
        )
    if verdict.noise:
        lines.append(f"noise       {', '.join(verdict.noise[:5])}")
    if verdict.passed:
        return [*lines, f"verified    {verdict.compared} facts compared, no difference"]
    lines.append(f"NOT VERIFIED: {verdict.counted} from the original")
    for difference in verdict.differences:
        lines.append(f"  {difference.subject}: {difference.field}")
        lines.append(f"    original: {difference.original}")
        lines.append(f"    minified: {difference.minified}")
    return lines
