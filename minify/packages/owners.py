"""Which distribution or language package owns a path, read from the package databases' own files.

Databases: dpkg (deb(5), `info/*.list`; `status.d/*.md5sums` in distroless images), apk
(apk-tools' `lib/apk/db/installed`), rpm (`rpmdb.sqlite`), Python's RECORD (PEP 376, PEP 427).
Packages are named "dpkg:nginx-light", "apk:musl", "rpm:bash", "wheel:flask-3.0.0".
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from minify.model import Entry, Finding, Kind
from minify.packages.rpmdb import RpmFile, rpm_files
from minify.tree import READ_MAX, Tree

RULE = "packages"
DPKG = "/var/lib/dpkg"
APK = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
RPM = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
RPM_FOREIGN = ("Packages.db", "Packages")  # ndb and Berkeley DB
LARGEST = 256 * 1024 * 1024  # bytes of one database file


@dataclass(frozen=True)
class Ownership:
    """Who owns what. `directories` are those a package brought; `layers` those of the databases.

    Paths are real ones (links in their directories resolved) that exist in the image.
    """

    owner: Mapping[str, str] = field(default_factory=dict)
    directories: frozenset[str] = frozenset()
    layers: frozenset[int] = frozenset()
    findings: tuple[Finding, ...] = ()

    @property
    def known(self) -> bool:
        """Whether a database of the distribution was found and read."""
        return bool(self.directories) or bool(self.owner)

    def package_of(self, path: str) -> str | None:
        """Name the package that owns a file or link, or None."""
        return self.owner.get(path)

    def files_of(self, package: str) -> tuple[str, ...]:
        """Name the files and links of a package."""
        return self._files.get(package, ())

    @property
    def packages(self) -> tuple[str, ...]:
        """Name every package that owns something, sorted."""
        return tuple(sorted(self._files))

    @cached_property
    def _files(self) -> dict[str, tuple[str, ...]]:
        files: dict[str, list[str]] = defaultdict(list)
        for path, package in self.owner.items():
            files[package].append(path)
        return {package: tuple(paths) for package, paths in files.items()}


@dataclass
class _Gathering:
    """Ownership under construction; `parents` remembers where directories really are."""

    tree: Tree
    owner: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)
    layers: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    parents: dict[str, str] = field(default_factory=dict)

    def own(self, path: str, package: str) -> None:
        """Record an absolute path of a package, as the database spells it."""
        parent, _, name = path.rpartition("/")
        real = self.parents.get(parent)
        if real is None:
            # "/bin/sh" is listed where "/bin" has become a link: the file is "/usr/bin/sh".
            real = (self.tree.real(parent or "/") or parent).rstrip("/")
            self.parents[parent] = real
        path = f"{real}/{name}"
        entry = self.tree.entries.get(path)
        if entry is None:
            return
        if entry.kind is Kind.DIR:
            self.directories.add(path)
        else:
            self.owner.setdefault(path, package)

    def text(self, path: str) -> str:
        """Read a database file; empty, with a finding, when that is impossible."""
        entry = self.tree.resolve(path).entry
        if entry is None or entry.kind is not Kind.FILE:
            return ""
        if entry.size > READ_MAX:
            self.findings.append(Finding(RULE, path, f"{entry.size} bytes: not read"))
            return ""
        self.layers.add(entry.layer)
        return self.tree.read(path).decode("utf-8", "surrogateescape")


def owners(tree: Tree) -> Ownership:
    """Read every database of the distribution in a tree; what cannot be read is a finding."""
    work = _Gathering(tree)
    _dpkg(work)
    _apk(work)
    _rpm(work)
    return _done(work)


def wheel_owners(tree: Tree) -> Ownership:
    """Read the RECORD of every installed Python distribution."""
    work = _Gathering(tree)
    for path, entry in tree.entries.items():
        if path.endswith(".dist-info/RECORD") and entry.kind is Kind.FILE:
            info = path.rpartition("/")[0]
            base, _, name = info.rpartition("/")
            _record(work, path, base, f"wheel:{name.removesuffix('.dist-info')}")
    return _done(work)


def _done(work: _Gathering) -> Ownership:
    return Ownership(
        work.owner, frozenset(work.directories), frozenset(work.layers), tuple(work.findings)
    )


def dpkg_lists(tree: Tree) -> Iterator[tuple[str, str]]:
    """Every package that dpkg has installed, and the file that lists what it brought."""
    info = f"{DPKG}/info"
    for name in tree.children(tree.real(info) or info):
        if name.endswith(".list"):
            yield f"dpkg:{name.removesuffix('.list').partition(':')[0]}", f"{info}/{name}"


def _dpkg(work: _Gathering) -> None:
    for package, path in dpkg_lists(work.tree):
        for line in work.text(path).split("\n"):
            if line.startswith("/"):
                work.own(line, package)
    for name in work.tree.children(f"{DPKG}/status.d"):
        if name.endswith(".md5sums"):
            package = f"dpkg:{name.removesuffix('.md5sums')}"
            for line in work.text(f"{DPKG}/status.d/{name}").split("\n"):
                listed = line.partition("  ")[2]
                if listed:
                    _with_parents(work, f"/{listed.lstrip('/')}", package)


def _with_parents(work: _Gathering, path: str, package: str) -> None:
    """Own a file of a database that does not list directories."""
    work.own(path, package)
    parent = path.rpartition("/")[0]
    while parent and (real := work.tree.real(parent)) and real not in work.directories:
        work.directories.add(real)
        parent = parent.rpartition("/")[0]


def _apk(work: _Gathering) -> None:
    """Read apk's records: lines of one letter, a colon and a value (apk-package(5))."""
    for database in APK:
        package, folder = "apk:", ""
        for line in work.text(database).split("\n"):
            key, value = line[:2], line[2:]
            if key == "P:":
                package, folder = f"apk:{value}", ""
            elif key == "F:":
                folder = f"/{value}".rstrip("/")
                if folder:
                    _with_parents(work, f"{folder}/", package)
            elif key == "R:":
                work.own(f"{folder}/{value}", package)


def _rpm(work: _Gathering) -> None:
    done: set[str | None] = set()
    for folder in RPM:
        real = work.tree.real(folder)
        if real in done or real is None:
            continue
        done.add(real)
        entry = work.tree.resolve(f"{real}/rpmdb.sqlite").entry
        if entry is not None and entry.kind is Kind.FILE:
            _rpm_sqlite(work, entry)
            continue
        for name in RPM_FOREIGN:
            if work.tree.is_file(f"{real}/{name}"):
                text = "rpm database of a kind that is not read: its packages are unknown"
                work.findings.append(Finding(RULE, f"{real}/{name}", text))


def _rpm_sqlite(work: _Gathering, entry: Entry) -> None:
    if entry.size > LARGEST:
        work.findings.append(Finding(RULE, entry.path, f"{entry.size} bytes: not read"))
        return
    work.layers.add(entry.layer)
    found = rpm_files(work.tree.read(entry.path, LARGEST))
    if isinstance(found, str):
        work.findings.append(Finding(RULE, entry.path, found))
        return
    _own_all(work, found)


def _own_all(work: _Gathering, found: Iterable[RpmFile]) -> None:
    for package, path in found:
        if path.startswith("/"):
            _with_parents(work, path, f"rpm:{package}")


def _record(work: _Gathering, path: str, base: str, package: str) -> None:
    """Read a RECORD: rows of path, hash, size; paths are relative to `base` (PEP 376)."""
    for line in work.text(path).split("\n"):
        name = line.rsplit(",", 2)[0].strip('"')
        if name:
            listed = name if name.startswith("/") else f"{base}/{name}"
            work.own(posixpath.normpath(listed) if ".." in listed else listed, package)


# ---------------------------------------------------------------- packages that are directories


def package_dir(path: str) -> tuple[str, str] | None:
    """Name the npm package or Ruby gem whose own directory a path is in: (package, directory)."""
    for split in (_npm, _gem):
        found = split(path)
        if found is not None:
            return found
    return None


def _npm(path: str) -> tuple[str, str] | None:
    head, mark, rest = path.rpartition("/node_modules/")
    parts = rest.split("/")
    count = 2 if parts[0].startswith("@") else 1
    if not mark or len(parts) <= count or parts[0].startswith("."):
        return None
    directory = f"{head}{mark}{'/'.join(parts[:count])}"
    return f"npm:{directory}", directory


def _gem(path: str) -> tuple[str, str] | None:
    head, mark, rest = path.rpartition("/gems/")
    name, _, below = rest.partition("/")
    if not mark or not below or "-" not in name:
        return None
    return f"gem:{name}", f"{head}{mark}{name}"


def above(paths: Iterable[str]) -> Iterator[str]:
    """Yield every directory above the given paths once, nearest first."""
    seen: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent not in seen:
            seen.add(parent)
            yield parent or "/"
            if not parent:
                break
            parent = parent.rpartition("/")[0]
