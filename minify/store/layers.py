"""The layer store of the embedded engine: each layer unpacked once, shared by all builds.

::

    HOME/layers/sha256/HEX/        the layer as an overlayfs lower directory (HEX: its diff_id)
    HOME/layers/implied/HEX        folders it has only as parents of others, one per line
    HOME/layers/digests/HEX        the SHA-256 and the path of each of its files
    HOME/layers/sound/HEX          a link to "synced", or to the boot it was unpacked in
    HOME/layers/new/RANDOM/        a layer being unpacked; garbage once nobody holds its lock
    HOME/layers/locks/HEX          held shared by who uses the layer, exclusively by who writes it
    HOME/images/HEX.json           the configuration of an image we made (HEX: its digest)
    HOME/fetched/HEX.json          of one that can be had again from where it came
    HOME/*/HEX.sum                 what the file beside it was when it was written
    HOME/pulls/                    layouts of pulls under way, or to be resumed
    HOME/names.json                what a name stands for

A layer appears by rename(2), whole or not at all: a kill or a full disk leaves garbage in `new`, no
more. When the machine itself goes down, the kernel may not have written a layer's files yet though
its name is on disk. Writing each layer out before it appears would make every build wait for the
disk, so a layer counts in the boot it was unpacked in, and in later ones once it was known to be
written (syncfs(2), once per run: before an image gets a name, or after layers were fetched). One
that does not count is unpacked again.

Locks are flock(2)'s: the kernel drops them with their holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from minify.below import remove, size_of
from minify.errors import BuildError, EngineError, MinifyError
from minify.images.limits import DEFAULT, Limits
from minify.images.span import Span
from minify.intact import DamagedError, drop, get, put
from minify.run import run
from minify.steps import step
from minify.store.digests import digests_in, read, written
from minify.store.extract import unpack
from minify.workspace import make_private, write_document

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SAVED, FETCHED = "images", "fetched"
HINT_HOME = "set MINIFY_HOME to a writable folder"
SYNCED = "synced"


def hex_of(digest: str) -> str:
    """The hexadecimal part of a sha256 digest; raises EngineError for anything else."""
    if not DIGEST.fullmatch(digest):
        raise EngineError(f"not a sha256 digest: {digest[:80]!r}")
    return digest.partition(":")[2]


def boot() -> str:
    """Which boot of this machine this is (random(4)), or nothing that could be told again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def write_out(folder: Path) -> bool:
    """Wait until everything written to a folder's file system is on the device; whether it is."""
    try:
        return run(["sync", "-f", str(folder)], timeout=600, check=False).returncode == 0
    except MinifyError:
        return False


@dataclass
class Store:
    """The store below a folder. Layers it was asked for stay in use until `close`."""

    home: Path
    rootless: bool = False
    limits: Limits = DEFAULT
    _held: dict[str, int] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    _damaged: set[str] = field(default_factory=set)
    _digests: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    _owing: bool = False

    def prepare(self) -> None:
        """Make the store's folder; raises BuildError when that is impossible."""
        self._folder("layers")

    def _folder(self, *names: str) -> Path:
        folder = self.home.joinpath(*names)
        try:
            # Set-uid programs and devices of images lie below: nobody else has business here.
            make_private(self.home, *names)
        except OSError as error:
            raise BuildError(f"cannot make {folder}: {error.strerror}", hint=HINT_HOME) from error
        return folder

    def path(self, diff_id: str) -> Path:
        """Where a layer is, or will be."""
        return self.home / "layers" / "sha256" / hex_of(diff_id)

    def layer(self, diff_id: str, tar: Span) -> Path:
        """Return a layer's directory, unpacking it first if it is not there.

        `tar` is its uncompressed bytes, already verified. Another build that unpacks the same
        layer is waited for. Raises EngineError for a hostile layer, BuildError without space.
        """
        path = self.path(diff_id)
        self._hold(diff_id)
        if not self._sound(path):
            with self.locked(path.name):
                if not self._sound(path):
                    self._unpack(tar, path)
        return path

    def renewed(self, diff_id: str, tar: Span) -> Path:
        """As `layer`; one that was there before is unpacked again where a file of it is damaged."""
        path = self.layer(diff_id, tar)
        if path.name not in self._fresh:
            try:
                for file, digest in digests_in(path):
                    self.check(diff_id, file, digest)
            except DamagedError:
                path = self.layer(diff_id, tar)
        return path

    def find(self, diff_id: str) -> Path | None:
        """Return a layer's directory if it is there, and hold it."""
        self._hold(diff_id)
        path = self.path(diff_id)
        return path if self._sound(path) else None

    def _sound(self, path: Path) -> bool:
        """Whether a layer is there and its content is, too: it was written, or nothing was lost."""
        if not path.is_dir() or path.name in self._damaged or not self._notes_intact(path.name):
            return False
        return path.name in self._fresh or self._note(path.name) in (SYNCED, boot() or SYNCED)

    def _notes_intact(self, name: str) -> bool:
        try:
            get(self.home / "layers" / "implied" / name)
        except FileNotFoundError:
            return True
        except (OSError, DamagedError):
            return False
        return True

    def check(self, diff_id: str, path: str, digest: bytes) -> None:
        """Raise DamagedError when a file of a layer, just read, is not what was unpacked.

        The layer does not count any more then: it is unpacked again when it is asked for.
        """
        name = hex_of(diff_id)
        if name not in self._digests:
            try:
                self._digests[name] = read(get(self.home / "layers" / "digests" / name))
            except FileNotFoundError:  # unpacked by an earlier version
                self._digests[name] = {}
            except (OSError, ValueError, DamagedError):
                self._distrust(diff_id, f"the digests of layer {diff_id} are damaged")
        if self._digests[name].get(path, digest) != digest:
            self._distrust(diff_id, f"{path} of layer {diff_id} is damaged")

    def _distrust(self, diff_id: str, why: str) -> NoReturn:
        name = hex_of(diff_id)
        self._damaged.add(name)
        self._fresh.discard(name)
        self._digests.pop(name, None)
        # For other runs, and for later ones.
        (self.home / "layers" / "sound" / name).unlink(missing_ok=True)
        warn(f"{why}: the layer is not used any more")
        raise DamagedError(why, hint="run it again: the layer is unpacked again then")

    def _note(self, name: str) -> str:
        try:
            return os.readlink(self.home / "layers" / "sound" / name)
        except OSError:
            return ""

    def _set_note(self, name: str, text: str) -> None:
        """A link, for its text is in the directory's own journal: it cannot come out empty."""
        note = self._folder("layers", "sound") / name
        fresh = note.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            fresh.symlink_to(text)
            fresh.replace(note)
        except OSError as error:
            raise BuildError(f"cannot write {note}: {error.strerror}", hint=HINT_HOME) from error

    def settle(self) -> None:
        """Wait until the layers in use are on the device, and note that they are."""
        used = [path for path in map(self.path, list(self._held)) if path.is_dir()]
        names = [path.name for path in used if self._note(path.name) != SYNCED]
        if names and write_out(self.home):
            for name in names:
                self._set_note(name, SYNCED)
        self._owing = False

    def _unpack(self, tar: Span, path: Path) -> None:
        self._folder("layers", "sha256")
        notes = self._folder("layers", "implied") / path.name
        with self.scratch() as folder:
            if path.exists():  # of another boot, perhaps not whole
                path.rename(folder / "lost")
            content = folder / "content"
            content.mkdir(mode=0o755)
            unpacked = unpack(tar, content, rootless=self.rootless, limits=self.limits)
            put(notes, "".join(f"{p}\n" for p in unpacked.implied if "\n" not in p))
            put(self._folder("layers", "digests") / path.name, written(unpacked.digests))
            self._set_note(path.name, boot() or "unknown")
            content.rename(path)
            self._fresh.add(path.name)
            self._damaged.discard(path.name)
            self._digests.pop(path.name, None)

    def layer_names(self) -> tuple[str, ...]:
        """The hexadecimal digests of the layers in the store."""
        folder = self.home / "layers" / "sha256"
        found = os.listdir(folder) if folder.is_dir() else []
        names = (name for name in found if DIGEST.fullmatch(f"sha256:{name}"))
        return tuple(sorted(name for name in names if self._sound(folder / name)))

    def implied(self, diff_id: str) -> tuple[str, ...]:
        """Folders a layer has only as parents: their attributes are those of the layer below."""
        notes = self.home / "layers" / "implied" / hex_of(diff_id)
        try:
            text = get(notes)
        except OSError:
            return ()
        return tuple(text.splitlines())

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder on the store's device, removed at the end, or by `collect`."""
        folder = self._folder("layers", "new") / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield folder
        finally:
            os.close(lock)
            remove(folder)

    # -------------------------------------------------------------- locks

    def _lock(self, name: str) -> int:
        path = self._folder("layers", "locks") / name
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _hold(self, diff_id: str) -> None:
        if diff_id not in self._held:
            lock = self._lock(hex_of(diff_id))
            fcntl.flock(lock, fcntl.LOCK_SH)
            self._held[diff_id] = lock

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock of some name alone, among all processes."""
        lock = self._lock(f"{name}.write")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def close(self) -> None:
        """Let go of every layer held; those that were fetched are worth keeping for good."""
        if self._owing:
            self.settle()
        while self._held:
            os.close(self._held.popitem()[1])

    # -------------------------------------------------------------- images

    def add_image(self, digest: str, config: str, *, kind: str = SAVED) -> None:
        """Remember an image's configuration under its digest; `kind` is SAVED or FETCHED."""
        self._owing = self._owing or (kind == FETCHED and bool(self._fresh))
        # In canonical form its digest is not the image's: its own is kept beside it.
        put(self._folder(kind) / f"{hex_of(digest)}.json", config)

    def image(self, digest: str) -> str | None:
        """The configuration of a remembered image."""
        for kind in (SAVED, FETCHED):
            path = self.home / kind / f"{hex_of(digest)}.json"
            with contextlib.suppress(OSError):
                try:
                    return get(path)
                except DamagedError as damage:
                    warn(f"{damage.message}: this configuration is not used")
        return None

    def names(self) -> dict[str, str]:
        """What every name stands for: a digest."""
        try:
            found = json.loads((self.home / "names.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def set_name(self, name: str, digest: str) -> None:
        """Give an image a name (moving the name if another image has it)."""
        with self.locked("names"):
            self._write_names({**self.names(), name: digest})

    def forget_name(self, name: str) -> None:
        """Take a name away from whatever image has it."""
        with self.locked("names"):
            names = {k: v for k, v in self.names().items() if k != name}
            self._write_names(names)

    def _write_names(self, names: dict[str, str]) -> None:
        write_document(
            self.home / "names.json",
            json.dumps(names, indent=1, sort_keys=True),
            synced=True,
            private=True,
        )

    def remove_image(self, digest: str) -> None:
        """Forget an image that has no name; its layers go with the next `collect`."""
        if digest not in self.names().values():
            drop(self.home / SAVED / f"{hex_of(digest)}.json")


def warn(text: str) -> None:
    """Say what is wrong with the store."""
    with step("Checking the layer store") as checking:
        checking.warn(text)


def collect(home: Path, *, keep_layers: bool = False) -> int:
    """Remove what dead unpackings left, and layers that can be had again; returns the bytes freed.

    Layers in use, and those of images we made that have a name, stay. With `keep_layers` all do.
    """
    freed = 0
    for folder in _subfolders(home / "layers" / "new"):
        freed += _remove_unlocked(folder, folder)
    if keep_layers:
        return freed
    wanted = _wanted(Store(home))
    for folder in _subfolders(home / "layers" / "sha256"):
        if folder.name not in wanted:
            freed += _remove_unlocked(folder, home / "layers" / "locks" / folder.name)
            if not folder.exists():
                for notes in ("sound", "implied", "digests"):
                    drop(home / "layers" / notes / folder.name)
    for folder in _subfolders(home / "pulls"):
        freed += _remove_unlocked(folder, home / "layers" / "locks" / f"{folder.name}.write")
    remove(home / FETCHED)
    return freed


def _wanted(store: Store) -> set[str]:
    """The layers of images we made that have a name, as hexadecimal digests."""
    wanted: set[str] = set()
    for digest in store.names().values():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, MinifyError):
            text = (store.home / SAVED / f"{hex_of(digest)}.json").read_text(encoding="utf-8")
            wanted |= {hex_of(diff_id) for diff_id in json.loads(text)["rootfs"]["diff_ids"]}
    return wanted


def _subfolders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove_unlocked(folder: Path, lock_path: Path) -> int:
    try:
        flags = os.O_RDONLY if lock_path.is_dir() else os.O_RDWR | os.O_CREAT
        lock = os.open(lock_path, flags | os.O_CLOEXEC, 0o600)
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _remove(folder)
    except BlockingIOError:
        return 0
    finally:
        os.close(lock)


def _remove(folder: Path) -> int:
    size = size_of(folder)
    # A rename first: what is half removed must not look like a layer.
    doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        folder.rename(doomed)
        remove(doomed)
    return size
