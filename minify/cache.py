"""Former results in a folder that CI can save and restore: the same input is not minified twice.

::

    DIR/results/KEY.json   a checksum, then the report and the output image's description
    DIR/layers/HEX.tar     a layer, by the SHA-256 of its bytes; several results may share it

KEY covers everything that can change the output: the image's digest, every option, the contents of
every file an option names, minify itself with what it stands on, and the engine. Names do not count
(the same image under another name is the same image). An entry that is not whole is no entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minify.below import remove
from minify.bench import Bench
from minify.codec import dumps, loads, to_plain
from minify.errors import BuildError, Exit, MinifyError
from minify.model import OutputImage, PackedLayer, RunDrive
from minify.options import Options
from minify.outputs import Product, check_outputs, deliver, wanted_of
from minify.probe import probes_folder
from minify.report import Report
from minify.workspace import remember_image, write_document

FORMAT = "minify-cache 1"
LIMIT = 2 << 30  # bytes all entries may take; the least recently used go first
MOUNT_FILES, MOUNT_BYTES = 2000, 64 << 20  # beyond these a mount is not looked through
CHUNK = 1 << 20
A_DAY = 86400.0
NOTE = "the former result for the same input was taken from the cache"


class _Uncacheable(Exception):  # noqa: N818 - a finding, not a fault
    """Some input cannot be pinned down by its content."""


@dataclass(frozen=True)
class Entry:
    """A former result: its report, and its output with the layer in the cache."""

    report: Report
    output: OutputImage


def key_for(options: Options, digest: str, engine: str) -> str:
    """The key of a build's result; empty when something it depends on cannot be pinned down."""
    nameless = replace(
        options, image="", tag="", engine="", force=False, fresh=False, time_budget=0.0,
        output=(), auth_file="", cert_dir="", tls_verify=True,
        context="", dockerfile="", build_args=(), build_target="", build_network="", builds=(),
        build_secrets=(), build_ssh=(), build_cache_from=(), build_cache_to=(),
        baseline="" if options.max_growth is None else options.baseline,
    )  # fmt: skip
    tally = hashlib.sha256()
    try:
        parts = [FORMAT, digest, engine, dumps(nameless), *tool_parts(), *_contents(nameless)]
    except (OSError, _Uncacheable):
        return ""
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        tally.update(f"{len(raw)}:".encode() + raw)
    return tally.hexdigest()


def tool_parts() -> Iterator[str]:
    """What minify is: its own files by content, the Python, and the packages beside it."""
    yield sys.version
    for name, root in (("minify", Path(__file__).parent), ("minify.probes", probes_folder())):
        files = (p for p in root.rglob("*") if p.suffix in (".py", ".yaml", ".json"))
        for path in sorted(files):
            yield f"{name} {path.relative_to(root)} {_sha256(path)}"
    for folder in sorted(p for p in sys.path if p and os.path.isdir(p)):
        yield from sorted(n for n in os.listdir(folder) if n.endswith((".dist-info", ".egg-info")))


def _contents(options: Options) -> Iterator[str]:
    """The content of every file that an option names, and of every bind mount."""
    around = options.surroundings
    if around.companions or around.network or any(isinstance(d, RunDrive) for d in options.drives):
        raise _Uncacheable
    mounts = {m.source for m in options.mounts if m.source}
    for source in sorted(mounts):
        yield f"mount {source} {_tree(Path(source))}"
    for text in sorted(set(_strings(to_plain(options))) - mounts):
        with contextlib.suppress(OSError, ValueError):  # most strings are no path
            if Path(text).is_file():
                yield f"file {text} {_sha256(Path(text))}"


def _strings(plain: Any) -> Iterator[str]:
    if isinstance(plain, str):
        yield plain
    elif isinstance(plain, dict):
        for value in plain.values():
            yield from _strings(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _strings(value)


def _tree(root: Path) -> str:
    tally, size = hashlib.sha256(), 0
    paths = [root, *itertools.islice(root.rglob("*"), MOUNT_FILES)]
    for path in sorted(paths):
        found = path.lstat()
        size += found.st_size
        if len(paths) > MOUNT_FILES or size > MOUNT_BYTES:
            raise _Uncacheable(f"{root} is large")
        tally.update(f"{path}\0{found.st_mode}\0{found.st_uid}\0{found.st_gid}\0".encode(
            "utf-8", "surrogateescape"))  # fmt: skip
        if stat.S_ISREG(found.st_mode):
            tally.update(_sha256(path).encode())
        elif stat.S_ISLNK(found.st_mode):
            tally.update(os.readlink(path).encode("utf-8", "surrogateescape"))
        elif not stat.S_ISDIR(found.st_mode):
            raise _Uncacheable(f"{path} has no content of its own")
    return tally.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find(cache: Path, key: str) -> Entry | None:
    """Look a result up; None when there is none, or when it is damaged."""
    try:
        text = _result_file(cache, key).read_text(encoding="utf-8")
        checksum, _, body = text.partition("\n")
        if not key or checksum != hashlib.sha256(body.encode()).hexdigest():
            return None
        document = json.loads(body)
        report = loads(document["report"], Report)
        output = loads(document["output"], OutputImage)
        if document["key"] != key or not _coherent(report, output):
            return None
    except (OSError, ValueError, KeyError, TypeError, MinifyError):
        return None
    return Entry(report, _in_cache(cache, output))


def _in_cache(cache: Path, output: OutputImage) -> OutputImage:
    """The same image with its layers where the cache has them."""
    layers = tuple(
        PackedLayer(one.diff_id, str(cache / "layers" / f"{one.diff_id.rpartition(':')[2]}.tar"))
        for one in output.packed
    )
    return replace(output, layer_file=layers[-1].file, layers=layers if output.layers else ())


def _result_file(cache: Path, key: str) -> Path:
    return cache / "results" / f"{key}.json"


def _coherent(report: Report, output: OutputImage) -> bool:
    config = "sha256:" + hashlib.sha256(output.config.encode()).hexdigest()
    if not config == output.digest == report.minified.digest:
        return False
    diff_ids = json.loads(output.config)["rootfs"]["diff_ids"]
    return bool(diff_ids == [layer.diff_id for layer in output.packed])


def restore(bench: Bench, options: Options, entry: Entry) -> Report | None:
    """Give a former result its name in the engine; None when it cannot be had whole.

    An image the engine still has is only tagged; its layer is read from the cache otherwise.
    """
    engine, output = bench.engine, entry.output
    source = engine.find(options.image)
    if source is None:
        return None
    wanted = wanted_of(options)
    check_outputs(bench, wanted, source, force=options.force)
    former = engine.find(output.digest)
    known = former is not None
    image_id = former.handle if former else output.digest
    if not (known and wanted.by_name) and not all(_whole(layer) for layer in output.packed):
        return None
    try:
        if not known:
            remember_image(bench.run, image_id)
            image_id = engine.save(output)
        outputs = deliver(bench, wanted, Product(output, image_id))
    finally:
        if not known:
            engine.remove_image(image_id)  # one that got a name stays
    report = entry.report
    return replace(
        report,
        original=replace(report.original, reference=options.image),
        minified=replace(report.minified, reference=wanted.title),
        outputs=outputs,
        notes=(*report.notes, NOTE),
        seconds={},
    )


def _whole(layer: PackedLayer) -> bool:
    try:
        return "sha256:" + _sha256(Path(layer.file)) == layer.diff_id
    except OSError:
        return False


def store(cache: Path, key: str, report: Report, output: OutputImage) -> bool:
    """Keep a good result; False when it is not one, or when the folder cannot take it."""
    if not key or report.exit_code != Exit.OK or not report.tagged:
        return False
    body = json.dumps({"key": key, "report": dumps(report), "output": dumps(output)})
    result = _result_file(cache, key)
    try:
        for folder in (cache / "layers", result.parent):
            folder.mkdir(parents=True, exist_ok=True)
        for made, kept in zip(output.packed, _in_cache(cache, output).packed, strict=True):
            if not _whole(kept):
                _put_layer(Path(made.file), Path(kept.file))
        write_document(result, hashlib.sha256(body.encode()).hexdigest() + "\n" + body)
        prune(cache, LIMIT)
    except (OSError, BuildError):
        return False
    return True


def _put_layer(source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as folder:
        made = Path(folder, target.name)
        try:
            os.link(source, made)
        except OSError:  # another file system
            shutil.copyfile(source, made)
        made.replace(target)


def touch(cache: Path, key: str) -> None:
    """Note that a result was used, so that it stays longer than others."""
    with contextlib.suppress(OSError):  # a cache that was mounted read-only serves as well
        os.utime(_result_file(cache, key))


def prune(cache: Path, limit: int) -> None:
    """Remove the least recently used results until the layers take at most `limit` bytes."""
    results = sorted(cache.glob("results/*.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    kept: set[Path] = set()
    for result in results:
        entry = find(cache, result.stem)
        layers = {Path(layer.file) for layer in entry.output.packed} if entry else set()
        whole = bool(layers) and all(p.exists() for p in layers)
        size = sum(p.stat().st_size for p in kept | layers) if whole else 0
        if not whole or (size > limit and kept):
            result.unlink(missing_ok=True)
        else:
            kept |= layers
    for layer in set(cache.glob("layers/*.tar")) - kept:
        layer.unlink(missing_ok=True)
    for left in cache.glob("layers/.new-*"):
        if left.lstat().st_mtime < time.time() - A_DAY:  # of a run that was killed
            remove(left)
