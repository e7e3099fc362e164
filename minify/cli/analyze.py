"""The command that says where an image's bytes are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from minify.cli import console
from minify.cli.build import bench_for
from minify.errors import Exit, Unsupported
from minify.options import Options
from minify.sizes import megabytes

if TYPE_CHECKING:
    from minify.analyze import Share, Stacked, Twice

WIDTH = 68
LARGE = 100_000  # bytes from which a size is told in MB


@dataclass(frozen=True)
class Analysis:
    """All that is told about an image; `reasons` and `dropped` where minify made or read it."""

    image: str
    digest: str
    bytes: int
    files: int
    stacked: Stacked
    packages: tuple[Share, ...]
    duplicates: tuple[Twice, ...]
    reasons: tuple[Share, ...]
    dropped: tuple[Share, ...]


@click.command("analyze")
@click.argument("image")
@click.option("--json", "as_json", is_flag=True, help="As JSON, everything.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True,
              help="How many lines of each list.")  # fmt: skip
@click.option("--engine", type=click.Choice(["auto", "docker", "embedded"]), default="auto")
@click.option("--platform", metavar="OS/ARCH", default="", help="Which platform of the image.")
def analyze_command(image: str, as_json: bool, top: int, engine: str, platform: str) -> int:
    """Say where the bytes of IMAGE are: by layer and package, twice, or stored in vain.

    Of an image that was minified here, original or output: why its files are kept, and what was
    dropped. Nothing is run.

    \b
    Examples:
      minify analyze shop:1
      minify analyze shop:1-min --json
      minify analyze oci-archive:shop.tar
    """
    with bench_for(Options(image=image, engine=engine, platform=platform)) as bench:
        found = _look(bench, image, platform)
    console.show(json.dumps(_plain(found), indent=1) if as_json else "\n".join(_text(found, top)))
    return Exit.OK


def _look(bench: Any, reference: str, platform: str) -> Analysis:
    from minify import analyze
    from minify.documents import Shelf
    from minify.model import KeepSet, Kind
    from minify.names import source_of
    from minify.packages.owners import owners

    loaded = bench.engine.load(reference, platform)
    if loaded.base is None:
        raise Unsupported("this engine does not tell the layers of an image apart")
    tree, image = loaded.tree, loaded.image
    source = source_of(image)
    keep = Shelf(bench.home.work(source or image.digest)).get("keep", KeepSet)
    original = _original(bench, source) if source else tree
    # An output has too little of the package database to tell whose a file is.
    package_of = owners(original or tree).package_of
    return Analysis(
        reference, image.digest, tree.content_bytes,
        sum(1 for entry in tree.entries.values() if entry.kind is Kind.FILE),
        analyze.stacked(image, loaded.base, bench.engine.layer_commands(image)),
        analyze.by_package(tree, package_of),
        analyze.duplicates(tree),
        analyze.by_reason(original or tree, keep) if keep else (),
        analyze.dropped(original, keep, package_of) if keep and original else (),
    )  # fmt: skip


def _original(bench: Any, digest: str) -> Any:
    """The tree of the image that one was made from, where the engine still has it."""
    found = bench.engine.find(digest)
    return bench.engine.load(digest).tree if found else None


def _plain(found: Analysis) -> dict[str, Any]:
    plain = asdict(found)
    layers = plain.pop("stacked")
    return {**plain, **layers, "wasted_bytes": found.stacked.wasted_bytes}


def _text(found: Analysis, top: int) -> Iterator[str]:
    layers = found.stacked
    size, count = megabytes(found.bytes), len(layers.layers)
    yield f"{found.image}  {size} in {found.files:,} files, {count} layers"
    yield (
        f"efficiency  {100 * layers.efficiency:.1f} % (as Dive reckons); "
        f"{_size(layers.wasted_bytes)} overwritten or deleted by later layers"
    )
    yield from ("", f"{'layers':>12}  {'files':>7}  {'in vain':>9}")
    for one in layers.layers:
        made = _shown(" ".join(one.created_by.removeprefix("/bin/sh -c ").split())[:WIDTH])
        yield f"{_size(one.bytes):>12}  {one.files:>7,}  {_size(one.hidden):>9}  {made}".rstrip()
    yield from _list("packages", found.packages, top)
    yield from _list("kept because of", found.reasons, top)
    yield from _list("dropped, by package", found.dropped, top)
    rows = [(w.bytes, w.path + (" (deleted)" if w.deleted else "")) for w in layers.wasted]
    yield from _rows("stored in vain", rows, top)
    rows = [(t.bytes, " = ".join(t.paths[:3]) + (" ..." if t.paths[3:] else ""))
            for t in found.duplicates]  # fmt: skip
    yield from _rows("the same content twice", rows, top)


def _list(title: str, shares: Sequence[Share], top: int) -> Iterator[str]:
    return _rows(title, [(s.bytes, f"{s.name} ({s.files:,} files)") for s in shares], top)


def _rows(title: str, rows: Sequence[tuple[int, str]], top: int) -> Iterator[str]:
    if not rows:
        return
    yield from ("", f"{title}: {_size(sum(size for size, _ in rows))}")
    for size, text in rows[:top]:
        yield f"{_size(size):>12}  {_shown(text)}"
    if rows[top:]:
        rest = _size(sum(size for size, _ in rows[top:]))
        yield f"{rest:>12}  {len(rows) - top:,} more"


def _size(size: int) -> str:
    return megabytes(size) if size >= LARGE or not size else f"{max(1, round(size / 1e3))} kB"


def _shown(text: str) -> str:
    """Text from an image as a terminal may have it."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return plain if plain.isprintable() else ascii(plain)
