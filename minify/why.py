"""Why is a path there, or not? Reasons walked back to the touch that began them; pure."""

from __future__ import annotations

from dataclasses import dataclass

from minify.model import KeepSet, Reason
from minify.packages.owners import above
from minify.tree import Tree, normalise

MAX_DEPTH = 30


@dataclass(frozen=True)
class Explanation:
    """The answer, line by line; `exists` when the path is in the original image."""

    lines: tuple[str, ...]
    kept: bool
    exists: bool


def explain(keep: KeepSet, tree: Tree, path: str) -> Explanation:
    """Explain a path of the original image."""
    asked = normalise(path)
    resolved = tree.resolve(asked)
    if resolved.real is None:
        return Explanation((f"{asked} is not in the original image",), False, False)
    lines = []
    if resolved.real != asked:
        lines.append(f"{asked} leads to {resolved.real}")
    if resolved.real in keep.paths:
        lines.append(f"{resolved.real} is kept:")
        lines += _chain(keep, resolved.real)
        return Explanation(tuple(lines), True, True)
    lines.append(f"{resolved.real} was dropped: {_why_not(keep, asked, resolved.real)}")
    return Explanation(tuple(lines), False, True)


def _why_not(keep: KeepSet, asked: str, path: str) -> str:
    rule = keep.dropped.get(path)
    if rule is not None:
        return f"rule {rule.rule} drops it ({rule.because})"
    near = [f.message for f in keep.findings if f.path == path]
    places = {asked, path, *above([path])}
    near += [
        f"rule {f.rule}, because of {f.path}, {f.message}; keep it with --keep"
        for f in keep.findings
        if not places.isdisjoint(f.left_out)
    ]
    if near:
        return "; ".join(near)
    return (
        f"nothing used it while the image was observed, and no rule of level {keep.level.value} "
        "reaches it; keep it with --keep"
    )


def _chain(keep: KeepSet, path: str) -> list[str]:
    """Every reason of the path itself, then the first reason of each cause, back to the start."""
    lines = [f"  {_line(reason)}" for reason in keep.paths[path]]
    seen, reason, depth = {path}, keep.paths[path][0], 1
    while reason.because in keep.paths and reason.because not in seen and depth < MAX_DEPTH:
        at = reason.because
        seen.add(at)
        depth += 1
        # A touch is the end of every chain: prefer it over a longer way round.
        reasons = keep.paths[at]
        reason = next((r for r in reasons if r.rule.startswith("touch")), reasons[0])
        lines.append(f"{'  ' * depth}{at}: {_line(reason)}")
    return lines


def _line(reason: Reason) -> str:
    detail = f" ({reason.detail})" if reason.detail and reason.detail != reason.because else ""
    return f"{reason.rule}, because of {reason.because}{detail}"
