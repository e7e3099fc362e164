"""Gates: what the user demands of the output; nothing is tagged when one is not met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minify.engines import Loaded
from minify.errors import UsageError
from minify.globs import expand
from minify.images.write import closure
from minify.lock import Lock, read_lock
from minify.model import KeepSet, OutputImage
from minify.options import Options
from minify.policies.forbidden import found, words_of
from minify.sizes import megabytes
from minify.tree import Tree

SHOWN = 5


@dataclass(frozen=True)
class GateResult:
    """How one gate went: what was demanded, what is, and the paths that are to blame."""

    gate: str
    passed: bool
    demanded: str
    actual: str
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.gate}: {self.actual}, demanded: {self.demanded}"


@dataclass(frozen=True)
class Packed:
    """What gates look at: the original, what was kept of it, and the output."""

    loaded: Loaded
    keep: KeepSet
    output: OutputImage


def check_gates(options: Options) -> None:
    """Raise UsageError for gates that could never be judged, before anything runs."""
    complaints: list[UsageError] = []
    for check in (lambda: words_of(options.forbid), lambda: _baseline(options)):
        try:
            check()
        except UsageError as error:
            complaints.append(error)
    if complaints:
        raise UsageError("\n".join(e.message for e in complaints), hint=complaints[0].hint)


def judge_gates(packed: Packed, options: Options) -> tuple[GateResult, ...]:
    """Judge every gate the options set, failed or not, in the order of the documentation."""
    tree = packed.loaded.tree
    kept = Tree({e.path: e for e in closure(tree, packed.keep.paths)}, tree.opener)
    user = packed.loaded.image.config.user
    results = [*_sizes(packed, options)]
    for word in words_of(options.forbid):
        hits = found(word, kept, user)
        actual = f"{len(hits)} found: {_some(hits)}" if hits else "none found"
        results.append(
            GateResult(f"forbid {word.name}", not hits, f"none ({word.reason})", actual, hits)
        )
    results += [_required(kept, path) for path in dict.fromkeys(options.require)]
    return tuple(results)


def _sizes(packed: Packed, options: Options) -> list[GateResult]:
    size, results = packed.output.size, []
    if options.max_size is not None:
        limit = options.max_size
        results.append(
            GateResult("max-size", size <= limit, f"at most {_exact(limit)}", _exact(size))
        )
    if options.min_reduction is not None:
        original = max(packed.loaded.image.size, 1)
        percent = 100 * (1 - size / original)
        results.append(
            GateResult(
                "min-reduction",
                100 * (original - size) >= options.min_reduction * original,
                f"at least {options.min_reduction:g} %",
                f"{percent:.2f} % smaller ({megabytes(original)} to {megabytes(size)})",
            )
        )
    lock = _baseline(options)
    if lock is not None and options.max_growth is not None:
        percent = 100 * (size / max(lock.size, 1) - 1)
        results.append(
            GateResult(
                "max-growth",
                100 * size <= (100 + options.max_growth) * lock.size,
                f"at most {options.max_growth:g} % over {options.baseline}",
                f"{percent:+.2f} % ({_exact(lock.size)} to {_exact(size)})",
            )
        )
    return results


def _required(kept: Tree, path: str) -> GateResult:
    there = any(kept.resolve(p).entry is not None for p in expand(kept, path))
    actual = "it is there" if there else "it is not there"
    return GateResult(f"require {path}", there, "to be in the image", actual)


def _baseline(options: Options) -> Lock | None:
    """The lock that growth is measured against; None when growth is not limited."""
    if options.max_growth is None:
        return None
    try:
        lock = read_lock(Path(options.baseline).read_text(encoding="utf-8"), options.baseline)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--max-growth: cannot read {options.baseline}: {error}",
            hint="write it with: minify lock IMAGE, and commit it",
        ) from error
    if not lock.size:
        raise UsageError(
            f"--max-growth: {options.baseline} names no size",
            hint="write it again with: minify lock IMAGE",
        )
    return lock


def _exact(size: int) -> str:
    return f"{megabytes(size)} ({size:,} bytes)"


def _some(paths: tuple[str, ...]) -> str:
    more = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {more} more" if more > 0 else "")
