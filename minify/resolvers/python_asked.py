"""Distributions that somebody installed by their names, and nothing is known to import.

`pip install django argon2-cffi`: a setting picks the password hasher, the database driver, the log
format, by a word that no import shows. pip marks what was asked for (PEP 376, REQUESTED); what came
along because something else needs it is left to the imports. What is large is left out and told.
"""

from __future__ import annotations

from collections.abc import Iterator

from minify.model import Finding, Kind
from minify.resolvers import Need
from minify.resolvers import python_data as data
from minify.resolvers.python_dist import Distribution
from minify.resolvers.python_work import RULE, Work, need
from minify.resolvers.telling import left_out

EACH, ALL = 4 << 20, 16 << 20  # bytes of one distribution, and of all of these


def asked(work: Work, because: str) -> Iterator[Need | Finding]:
    """Name the modules of small distributions that were asked for and not used."""
    left, total = [], 0
    for size, site, dist in sorted(_unused(work), key=lambda found: (found[0], found[2].path)):
        if size > EACH or total + size > ALL:
            left.append((_place(work, site, dist), f"{dist.name} ({size} bytes)"))
            continue
        total += size
        for top in sorted(dist.tops):
            for path in work.finder.module(site, top):
                yield need(path, because, f"{dist.name} was installed by name")
    if left:
        yield left_out(RULE, because, "distributions installed by name", left)


def _place(work: Work, site: str, dist: Distribution) -> str:
    """Where a distribution is: its first package's folder, or module; else its metadata.

    Folders without an `__init__` are none: several distributions share them (PEP 420).
    """
    for top in sorted(dist.tops):
        for path in work.finder.module(site, top):
            folder, _, name = path.rpartition("/")
            return folder if name.startswith("__init__.") else path
    return dist.path


def _unused(work: Work) -> Iterator[tuple[int, str, Distribution]]:
    tree = work.scene.tree
    for site in work.site_roots:
        below = f"{site}/"
        used = {
            path[len(below) :].partition("/")[0].partition(".")[0]
            for path in work.scene.touched
            if path.startswith(below)
        }
        for dist in work.distributions[site].all:
            if not tree.is_file(f"{dist.path}/REQUESTED") or dist.tops & used:
                continue
            if not dist.tops & (data.NEVER_BY_LIBRARIES | data.DEVELOPERS):
                yield _size(work, site, dist), site, dist


def _size(work: Work, site: str, dist: Distribution) -> int:
    """Bytes of a distribution's packages, without bytecode."""
    folders = filter(None, (work.finder.folder(f"{site}/{top}") for top in dist.tops))
    return sum(
        entry.size
        for folder in folders
        for entry in work.scene.tree.walk(folder)
        if entry.kind is Kind.FILE and not entry.path.endswith(".pyc")
    )
