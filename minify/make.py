"""Evidence becomes an output image: resolved, packed, handed to the engine without a name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from minify import __version__
from minify.building import Building, Made
from minify.lock import keep_from_lock, load_lock
from minify.model import Evidence, KeepLevel, KeepSet
from minify.names import SOURCE_LABEL, VERSION_LABEL
from minify.options import Options
from minify.outputs import Product, lay_out
from minify.pack import pack, shared, single
from minify.policies.rules import Rule, flag_rules, load_packs
from minify.resolve import Rules, resolve
from minify.steps import step
from minify.tree import content_bytes


def make(it: Building, evidence: Evidence) -> Made:
    """Resolve, pack and hand the result to the engine, still without a name."""
    with it.timed("resolve"):
        keep = _keep(it, evidence, it.options.keep_level)
        together = it.fleet or it.options.layers == "shared"
        keep, parts = shared(it.loaded, keep, it.fleet) if together else single(it.loaded, keep)
        it.put("keep", keep)
    with it.timed("pack"):
        folder = it.bench.run.folder
        labels = {SOURCE_LABEL: it.loaded.image.digest, VERSION_LABEL: __version__}
        output = pack(it.loaded, keep, parts, folder, it.options.epoch, labels)
        # Noted before: it may be there although we are interrupted before we hear of it.
        it.note_saved(output.digest)
        with step("Saving", engine=it.bench.engine.name):
            image_id = it.bench.engine.save(output)
        if image_id != output.digest:
            it.note_saved(image_id)
    layout = it.spawn(lambda: lay_out(it.bench, output)).result if it.compressed else None
    return Made(keep, Product(output, image_id, layout))


def other_levels(it: Building, evidence: Evidence) -> tuple[KeepSet, ...]:
    """What would be kept at the levels that were not asked for; a lock knows only its own."""
    if it.options.lock:
        return ()
    others = (level for level in KeepLevel if level is not it.options.keep_level)
    return tuple(_keep(it, evidence, level) for level in others)


def weigh(it: Building, keeps: Iterable[KeepSet]) -> dict[str, int]:
    """What each keep level would weigh, in bytes, the narrowest first."""
    tree = it.loaded.tree
    ordered = sorted(keeps, key=lambda keep: keep.level.rank)
    found = ((keep.level, filter(None, map(tree.get, keep.paths))) for keep in ordered)
    return {level.value: content_bytes(entries) for level, entries in found}


def _rules(it: Building, level: KeepLevel) -> Rules:
    """What decides beside the evidence."""
    return Rules(level, policy_of(it.options), tuple(it.extra))


def policy_of(options: Options) -> tuple[Rule, ...]:
    """The shipped rules and the user's; raises UsageError."""
    extra = tuple(Path(p) for p in options.policies)
    return load_packs(extra, options.policies_off) + flag_rules(options.keep, options.drop)


def _keep(it: Building, evidence: Evidence, level: KeepLevel) -> KeepSet:
    if it.options.lock:
        return keep_from_lock(load_lock(it.options.lock), it.loaded.tree, it.loaded.image.digest)
    return resolve(it.loaded, evidence, _rules(it, level))
