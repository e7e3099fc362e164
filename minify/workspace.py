"""Where minify keeps things between and during runs, and who owns what is there.

::

    HOME/kit/        the tracing kit, shared by all runs
    HOME/layers/     the layer store of the embedded engine
    HOME/work/KEY/   the documents of the last build of an image (image, plan, evidence, keep …)
    HOME/runs/ID/    what a run needs while it lives; `owner` names the process that owns it

A run folder whose owner is dead is garbage: the next run, or `minify gc`, removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minify.below import remove
from minify.errors import BuildError

STAGING = re.compile(r"\..*\.[0-9a-f]{12}", re.DOTALL)


@dataclass(frozen=True)
class Home:
    """The folder everything is under; made on first use."""

    path: Path

    def folder(self, *names: str) -> Path:
        """Make and return a folder below it; raises BuildError when that is impossible."""
        folder = self.path.joinpath(*names)
        try:
            make_private(self.path, *names)
        except OSError as error:
            raise BuildError(
                f"cannot make {folder}: {error.strerror}",
                hint="set MINIFY_HOME to a writable folder",
            ) from error
        return folder

    def work(self, image_digest: str) -> Path:
        """The folder of an image's documents."""
        return self.folder("work", image_digest.rpartition(":")[2][:24])


def make_private(home: Path, *names: str) -> Path:
    """Make a folder below a home, for nobody else to enter: plans, evidence, set-uid programs.

    A home that was there before stays as it is; what is ours in it is closed.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    folder = home
    for name in names:
        folder = folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if (found := folder.lstat()).st_mode & 0o077 and found.st_uid == os.geteuid():
            folder.chmod(0o700)
    return folder


def append_private(path: Path, line: str) -> None:
    """Add a line to a journal that nobody else may read."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8", errors="surrogateescape") as journal:
        journal.write(line + "\n")


@dataclass(frozen=True)
class Run:
    """A run under way: its identity (a label on everything it makes) and its scratch folder."""

    token: str
    folder: Path


def _started(pid: int) -> str:
    """The start time of a process in clock ticks since boot (proc(5), stat field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return "noboot"


def _namespace() -> str:
    """Which PID namespace we are in (pid_namespaces(7)): PIDs mean something in it only."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return "0"


def alive(token: str) -> bool:
    """Whether the process that made a run token lives, as far as can be told (else it does).

    A reused PID does not count. What runs in a container of its own beside us, as the jobs of a CI
    system do, cannot be seen from here and is left alone; a start of another boot is over.
    """
    boot, pid, started, namespace, *_ = [*token.split("-"), "", "", "", ""]
    if boot == _boot() and namespace.isdigit() and namespace != _namespace():
        return True
    return boot == _boot() and pid.isdigit() and started != "" and _started(int(pid)) == started


def this_boot(token: str) -> bool:
    """Whether a run token is of this machine since it was started."""
    return token.partition("-")[0] == _boot()


@contextlib.contextmanager
def running(home: Home) -> Iterator[Run]:
    """Open a run: a token naming this process, and a scratch folder removed at the end."""
    pid = os.getpid()
    token = f"{_boot()}-{pid}-{_started(pid)}-{_namespace()}-{secrets.token_hex(3)}"
    folder = home.folder("runs", token)
    try:
        yield Run(token, folder)
    finally:
        remove(folder)


def dead_runs(home: Home) -> tuple[Run, ...]:
    """Find the runs whose owner is gone."""
    runs = home.folder("runs")
    return tuple(Run(p.name, p) for p in sorted(runs.iterdir()) if not alive(p.name))


def remove_run(run: Run) -> None:
    """Remove a dead run's scratch folder, and what it was making elsewhere."""
    for path in remembered_staging(run):
        remove(path)
    remove(run.folder)


def remember_image(run: Run, image_id: str) -> None:
    """Note an image saved and not yet tagged, so that it can be reclaimed if we die."""
    append_private(run.folder / "images", image_id)


def remembered_images(run: Run) -> tuple[str, ...]:
    """The image IDs a run noted."""
    journal = run.folder / "images"
    return tuple(journal.read_text().split()) if journal.exists() else ()


def remember_staging(run: Run, path: Path) -> None:
    """Note a file or folder that is made outside our own folder, before it is made."""
    append_private(run.folder / "staged", json.dumps(str(path.absolute())))


def forget_staging(run: Run) -> None:
    """Say that nothing is under way outside our own folder any more."""
    (run.folder / "staged").unlink(missing_ok=True)


def remembered_staging(run: Run) -> Iterator[Path]:
    """What a run noted and only it can have made: `.NAME.` and twelve hexadecimal digits."""
    with contextlib.suppress(OSError, ValueError):
        text = (run.folder / "staged").read_text(encoding="utf-8", errors="surrogateescape")
        for line in text.splitlines():
            path = Path(str(json.loads(line)))
            if path.is_absolute() and STAGING.fullmatch(path.name):
                yield path


def write_document(path: Path, text: str, *, synced: bool = False, private: bool = False) -> None:
    """Write a document whole or not at all; `synced`: also when the machine goes down.

    `private`: nobody else may read it.

    What is there and no file, as /dev/null or a pipe, is written to and not replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            return
        with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            if private:
                os.fchmod(file.fileno(), 0o600)
            file.write(text)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise BuildError(f"cannot write {path}: {error.strerror}") from error


def key_of(*texts: str) -> str:
    """A short stable key for a list of texts (SHA-256, 24 hex digits)."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:24]
