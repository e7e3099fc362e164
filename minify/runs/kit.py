"""The tracing kit: strace and a start gate, with all they need to run in any container.

The image may hold no libc, another libc or a newer one, so the host's strace is laid out with the
host's loader and libraries in one read-only folder, and started through that loader. The kit is of
the host's architecture; whether that fits the image is the caller's business.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minify.below import remove
from minify.elf.loader import World, closure, facts_of
from minify.errors import Unsupported
from minify.model import Entry, Kind
from minify.run import program, run
from minify.steps import step
from minify.tree import Tree
from minify.workspace import make_private

MOUNT = "/.minify/kit"
LAYOUT = "1"  # part of the cache key: raise it when the folder's layout changes
ADDED = ("PWD", "OLDPWD", "SHLVL", "_")  # variables that one shell or another exports by itself
_KINDS = {stat.S_IFDIR: Kind.DIR, stat.S_IFREG: Kind.FILE, stat.S_IFLNK: Kind.SYMLINK}
# Variables of the image that would reach into the host's loader when it starts the kit's programs.
LOADER_VARIABLES = ("LD_PRELOAD", "LD_AUDIT", "LD_DEBUG", "LD_TRACE_LOADED_OBJECTS")


class _HostEntries(Mapping[str, Entry]):
    """The host's file system, looked at name by name; it is not listed."""

    def __getitem__(self, path: str) -> Entry:
        try:
            info = os.lstat(path)
        except (OSError, ValueError):
            raise KeyError(path) from None
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), Kind.CHAR)
        link = os.readlink(path) if kind is Kind.SYMLINK else ""
        return Entry(path, kind, stat.S_IMODE(info.st_mode), size=info.st_size, link=link)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def host_tree() -> Tree:
    """See this host as a tree; look-ups work, listings are empty."""

    def opener(entry: Entry) -> BinaryIO:
        return open(entry.path, "rb")

    return Tree(_HostEntries(), opener)


@dataclass(frozen=True)
class Kit:
    """A kit folder on the host, and how its programs are started where it is mounted.

    `loaded` says whether programs start through the kit's loader (not: they are static).
    """

    path: Path
    version: str
    loaded: frozenset[str]
    libc: str = "glibc"
    mount: str = MOUNT

    def strace_argv(self, options: tuple[str, ...], output: str) -> tuple[str, ...]:
        """Make the argv prefix that traces what follows it into `output` (a file or a FIFO)."""
        return (*self._start("strace"), *options, "-o", output, "--")

    def gate_argv(
        self, fifo: str, *, keep_pwd: bool = False, env: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        """Make the argv prefix that waits for a line in a FIFO, then becomes what follows it.

        `env` is the environment the container is created with (as it should reach the program):
        what a shell would lose or change of it is handed on beside the shell. `keep_pwd`: PWD is
        set in the container and right, though `env` does not tell.
        """
        known = env or {}
        told = [f"{name}={value}" for name, value in known.items() if not _survives(name)]
        added = [n for n in ADDED if n not in known and not (keep_pwd and n == "PWD")]
        removed = [word for name in added for word in ("-u", name)]
        script = 'read -r gate < "$1"; unset gate; shift; exec "$@"'
        then = (*self._start("env"), *removed, *told)
        return (*self._start("sh"), "-c", script, "gate", fifo, *then)

    def shield(self, env: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Keep the image's loader variables away from strace: what to blank, and strace options.

        The first is to be set in the container's environment, the second gives the traced program
        its own values back.
        """
        mine = {name: env[name] for name in LOADER_VARIABLES if env.get(name)}
        options = tuple(o for name, value in mine.items() for o in ("-E", f"{name}={value}"))
        return dict.fromkeys(mine, ""), options

    def _start(self, name: str) -> tuple[str, ...]:
        own = f"{self.mount}/{name}"
        if name not in self.loaded:
            return (own,)
        # The cache that is read would be the image's; musl has none and does not know the option.
        inhibit = ("--inhibit-cache",) if self.libc == "glibc" else ()
        return (f"{self.mount}/ld.so", *inhibit, "--library-path", f"{self.mount}/lib", own)


def _survives(name: str) -> bool:
    """Whether a variable passes through dash, bash and busybox sh unchanged."""
    special = {"PWD", "OLDPWD", "SHLVL", "_", "IFS", "OPTIND", "PPID", "PS1", "PS2", "PS4",
               "LINENO", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "ENV", "BASH_ENV",
               "gate", *LOADER_VARIABLES}  # fmt: skip
    return name.isascii() and name.isidentifier() and name not in special


def prepare_kit(cache_dir: Path) -> Kit:
    """Assemble the kit in a cache folder, or find it there.

    Raises Unsupported when strace (or a shell) is not installed, or cannot be laid out.
    """
    world = World(host_tree())
    programs = {name: program(name) for name in ("strace", "sh", "env")}
    files, loaded = _files(world, programs)
    key = _key(files)
    done = cache_dir / f"{key}"
    if done.is_dir() and not _sound(files, done):
        with step("Checking the tracing kit") as checking:
            checking.warn(f"the tracing kit in {done} was damaged: it is made again")
        _remove(done)
    if not done.is_dir():
        _assemble(files, done)
    text = run([programs["strace"], "-V"], timeout=30).stdout
    version = text.splitlines()[0].rpartition(" ")[2] if text else ""
    facts = facts_of(world, programs["strace"])
    return Kit(done, version, loaded, facts.libc if facts else "")


def _files(world: World, programs: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """Map names in the kit to files on the host; and say which programs need the loader."""
    files: dict[str, str] = {}
    loaded = set()
    for name, path in programs.items():
        facts = facts_of(world, path)
        if facts is None:
            raise Unsupported(f"not an ELF program: {path}", hint=f"install {name} as a binary")
        files[name] = path
        needs = closure(world, path)
        if needs.missing:
            raise Unsupported(
                f"a library of {path} is missing on this host: {needs.missing[0][0]}",
                hint=f"reinstall {name}",
            )
        if facts.interp:
            loaded.add(name)
        for wanted in needs.wanted:
            if wanted.detail == "interpreter":
                files["ld.so"] = wanted.path
            elif wanted.detail != "on the way":
                files[f"lib/{wanted.detail.rpartition('/')[2]}"] = wanted.path
    return files, frozenset(loaded)


def _key(files: Mapping[str, str]) -> str:
    digest = hashlib.sha256(LAYOUT.encode())
    for name, path in sorted(files.items()):
        info = os.stat(path)
        digest.update(f"{name}\0{path}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _sound(files: Mapping[str, str], done: Path) -> bool:
    """Whether a kit still is what it was copied from: a few megabytes, both mostly in memory."""
    try:
        return all(filecmp.cmp(path, done / name, shallow=False) for name, path in files.items())
    except OSError:
        return False


def _remove(done: Path) -> None:
    """Take a kit away at once: another run may be making a new one of the same name."""
    doomed = done.with_name(f"{done.name}.{secrets.token_hex(4)}.damaged")
    with contextlib.suppress(OSError):
        done.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _assemble(files: Mapping[str, str], done: Path) -> None:
    """Copy into a temporary folder and rename it, so that a kit is whole or absent."""
    try:
        make_private(done.parent.parent, done.parent.name)
        work = Path(tempfile.mkdtemp(prefix=f"{done.name}.", dir=done.parent))
        try:
            (work / "lib").mkdir()
            for name, path in files.items():
                shutil.copyfile(path, work / name)
                (work / name).chmod(0o755)
            for folder in (work / "lib", work):
                folder.chmod(0o755)
            if not done.is_dir():
                work.rename(done)
        finally:
            remove(work)
    except OSError as error:
        if not done.is_dir():  # else another run was quicker
            raise Unsupported(
                f"cannot lay out the tracing kit in {done.parent}: {error.strerror}",
                hint="choose another cache folder with room for 10 MB",
            ) from error
