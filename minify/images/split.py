"""Split a keep list into layers that several minified images share (docs/adr/0007).

What makes bytes equal across a fleet is that the shared layer depends on nothing but the source
layers the images have in common: not on what one image kept, nor on what its upper layers touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from minify.model import Entry, Kind
from minify.tree import Tree

# The C library and its loader: what nearly every dynamic program of a base image needs.
CORE = tuple(
    f"{root}/**/{name}"
    for root in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
    for name in (
        "ld-linux*.so.*", "ld-musl-*.so.1", "ld64.so.*", "libc.so.6", "libc.musl-*.so.1",
        "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libresolv.so.2",
        "libnss_files.so.2", "libnss_dns.so.2",
        # the versioned files these names led to before glibc 2.34
        "ld-2.*.so", "libc-2.*.so", "libm-2.*.so", "libpthread-2.*.so", "libdl-2.*.so",
        "librt-2.*.so", "libresolv-2.*.so", "libnss_files-2.*.so", "libnss_dns-2.*.so",
    )
)  # fmt: skip
DATABASES = ("/var/lib/dpkg/status", "/lib/apk/db/installed", "/usr/lib/sysimage/rpm/rpmdb.sqlite",
             "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages")  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One output layer: the entries at `paths` of `tree`."""

    name: str
    tree: Tree
    paths: tuple[str, ...]


def common_layers(diff_ids: Sequence[Sequence[str]]) -> int:
    """How many bottom layers several images have in common; 1 for a single image."""
    if len(diff_ids) < 2:
        return min(1, len(diff_ids[0])) if diff_ids else 0
    same = 0
    for level in zip(*diff_ids, strict=False):
        if len(set(level)) > 1:
            break
        same += 1
    return same


def core(base: Tree) -> frozenset[str]:
    """The paths of the C library and loader in a base tree, with their other hard-link names."""
    found = (e for e in base.matching(CORE) if e.kind in (Kind.FILE, Kind.SYMLINK))
    return frozenset(name for entry in found for name in base.twins(entry))


def fleet_core(base: Tree, keeps: Sequence[Collection[str]]) -> frozenset[str]:
    """The files of a base tree that every image of a fleet keeps: shared without any waste."""
    if not keeps:
        return frozenset()
    everywhere = set(keeps[0]).intersection(*keeps[1:])
    files = (e for p in everywhere if (e := base.get(p)) and e.kind is not Kind.DIR)
    return frozenset(e.path for e in files if set(base.twins(e)) <= everywhere)


def split(
    tree: Tree, base: Tree, paths: Iterable[str], shared: Collection[str]
) -> tuple[Part, ...]:
    """Split a keep list into base, runtime and application parts, bottom first, none empty.

    `base` is the squashed tree of the common source layers, `shared` the files of it that go into
    the base part whole: whether or not this image keeps each of them. The base part is left out
    when an upper source layer changed one of them, or when most of it would be dead weight here.
    """
    kept = set(paths)
    use_base = _sound(tree, base, shared) and _worth(base, shared, kept)
    taken = set(shared) if use_base else set()
    # Upper parts repeat every directory: what upper source layers made of them must win.
    folders = {parent for path in taken | kept for parent in _parents(path)} & set(tree.entries)
    rest = kept - taken
    boundary = _application(tree)
    runtime = {p for p in rest if _layer(tree, p) < boundary}
    parts = (
        Part("base", base, tuple(sorted(taken))),
        Part("runtime", tree, tuple(sorted(runtime))),
        Part("application", tree, tuple(sorted(rest - runtime))),
    )
    found = [part for part in parts if part.paths]
    if found and folders:
        last = found[-1]
        if last.tree is base:  # nothing but the base is kept; its directories still may differ
            found.append(Part("runtime", tree, tuple(sorted(folders))))
        else:
            found[-1] = Part(last.name, tree, tuple(sorted({*last.paths, *folders})))
    return tuple(found)


@dataclass(frozen=True)
class WhyNot:
    """Why the base part is left out, and a path that shows it."""

    path: str
    text: str


def why_not(tree: Tree, base: Tree, shared: Collection[str]) -> WhyNot:
    """Why `split` leaves the base part out."""
    if not shared:
        return WhyNot("/", "the base layers of this image have none of its files")
    changed = sorted(p for p in shared if not _same(tree.get(p), base.get(p)))
    if changed:
        return WhyNot(changed[0], "an upper layer changed or removed a file of it")
    return WhyNot(min(shared), "this image needs less than half of its bytes")


def _layer(tree: Tree, path: str) -> int:
    entry = tree.get(path)
    return entry.layer if entry else 0


def _parents(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]


def _sound(tree: Tree, base: Tree, shared: Collection[str]) -> bool:
    """Whether every shared file is in the image as the base has it."""
    return bool(shared) and all(_same(tree.get(p), base.get(p)) for p in shared)


def _same(here: Entry | None, there: Entry | None) -> bool:
    return here is not None and there is not None and here.layer == there.layer


def _worth(base: Tree, shared: Collection[str], kept: Collection[str]) -> bool:
    """Whether at least half of the shared bytes are kept anyway."""
    sizes = {path: base.entries[path].size for path in shared}
    return 2 * sum(size for path, size in sizes.items() if path in kept) >= sum(sizes.values())


def _application(tree: Tree) -> int:
    """The first source layer that is the application's: those after the last package change."""
    changed = [entry.layer for path in DATABASES if (entry := tree.get(path))]
    return max(changed, default=0) + 1
