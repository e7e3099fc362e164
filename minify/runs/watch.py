"""Watch a container from before its first instruction to its end.

The container starts behind a gate: strace opens its output FIFO before it starts the program, and
that open blocks until somebody reads. In this window the fanotify marks are set; then the parser
opens the FIFO and the program runs. Nothing is missed and nothing waits for a time.

What the container writes is read from FIFOs that lie in a folder it sees read-only: it can make,
link or replace nothing where root reads, and fills no disk. What it may do is to write lines of its
own into them, so that a line is never more than a claim (the parser bounds it).
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minify.engines import Container, Launch
from minify.errors import TraceError
from minify.model import Access, Mount, Outcome, Touch, Watch
from minify.probe import NOT_PERMITTED, Probe, probing
from minify.ready import wait_until
from minify.run import program, start
from minify.runs.kit import Kit

INSIDE = "/.minify"
GATE = f"{INSIDE}/out/gate"
DRAIN = 120.0  # seconds to wait for a watcher to write down what it has seen

# The sets and options are probes/README.md's, the reasons are in docs/adr/0002-two-watchers.md.
PATHS = "%file,?getdents,?getdents64,?connect,?bind,?fchdir,?fork,?vfork,?clone,?clone3"
NEWBORN = "?set_robust_list,?rseq,?set_tid_address,?rt_sigprocmask"
LIGHT = (
    "?execve,?execveat,?chdir,?chroot,?access,?faccessat,?faccessat2,?readlink,?readlinkat,"
    "?mount,?umount2,?pivot_root,?inotify_add_watch,?rename,?renameat,?renameat2,?link,"
    "?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?mkdir,?mkdirat,?rmdir,?mknod,?mknodat,"
    "?chmod,?fchmodat,?chown,?lchown,?fchownat,?truncate,?utime,?utimes,?utimensat,"
    "?futimesat,?getdents,?getdents64,?connect,?bind,?fchdir,?fork,?vfork,?clone,?clone3"
)
CALLS = {
    Watch.FULL: f"{PATHS},{NEWBORN}",
    Watch.LIGHT: f"{LIGHT},{NEWBORN}",
    Watch.ATTACHED: PATHS,
}
OPTIONS = ("-f", "-y", "-q", "-a", "1", "-s", "256", "-e", "signal=none")


@dataclass(frozen=True)
class Seen:
    """What the watchers saw of one run."""

    touches: frozenset[Touch] = frozenset()
    lost: int = 0
    watchers: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()


@dataclass
class _Command:
    """The watcher of one command run inside; `held` keeps its FIFO open until it was read."""

    probe: Probe
    held: int

    def let_go(self) -> None:
        """Let the FIFO end with its last writer, once the watcher has opened it."""
        if self.held >= 0:
            self.probe.answer(DRAIN)
            os.close(self.held)
            self.held = -1

    def drop(self) -> None:
        """Close the FIFO, read or not."""
        if self.held >= 0:
            os.close(self.held)
            self.held = -1


@dataclass
class Watching:
    """The watchers of one container; `launch` is how it has to be started.

    `folder` is ours alone; in `folder/out` are the FIFOs that the container sees.
    """

    mode: Watch
    folder: Path
    launch: Launch
    kit: Kit | None
    strace: Probe | None = None
    fanotify: Probe | None = None
    notes: list[str] = field(default_factory=list)
    executions: int = 0
    remote: bool = False
    _attached: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _probes: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _commands: list[_Command] = field(default_factory=list)

    def equip(self, container: Container) -> None:
        """Bring the kit into a container that cannot mount it (before its start)."""
        if self.remote and self.kit:
            container.put(_kit_archive(self.kit))

    def open_gate(self, container: Container) -> None:
        """Mark, attach, then let the program run. Raises TraceError when it can't be watched."""
        if self.mode is Watch.NONE or self.remote:
            return
        self._mark(container)
        if self.mode is Watch.ATTACHED:
            self._attach(container)
        elif self.strace:
            self.strace.request({"source": str(_gate(self.folder)), "root_pid": 1})

    def _mark(self, container: Container) -> None:
        if not self.fanotify:
            return
        pid = container.pid
        if pid is None:
            self._without_fanotify("the container's processes can't be seen from here")
            return
        self.fanotify.request({"pid": pid})
        first = self.fanotify.answer(20)
        if first is None:
            denied = self.fanotify.status() == NOT_PERMITTED
            why = "not permitted here" if denied else self.fanotify.complaint
            self._without_fanotify(why or "it ended early")

    def _without_fanotify(self, why: str) -> None:
        self.fanotify = None
        self.notes.append(f"fanotify: {why}; strace alone watched, io_uring opens are not seen")
        if self.mode is Watch.LIGHT:
            raise TraceError("light watching needs fanotify", hint="leave --light out")

    def _attach(self, container: Container) -> None:
        """Attach strace from the host: it has the privilege that keeps set-uid programs working."""
        pid = container.pid
        if pid is None:
            raise TraceError("cannot attach to a container of a remote engine")
        calls = CALLS[Watch.ATTACHED]
        argv = [program("strace"), *OPTIONS, "-e", f"trace={calls}"]
        pipe = make_pipe(self.folder / "attached", 0o600)
        if self.strace:
            self.strace.request({"source": str(pipe), "root_pid": 0})
        argv += ["-o", str(pipe), "-p", str(pid)]
        child = self._attached.enter_context(start(argv))
        # It ends by itself when the last process it traces has ended; wait for its last line.
        self._attached.callback(lambda: wait_until(lambda: child.poll() is not None, 10.0))
        if not wait_until(lambda: _traced(pid) or child.poll() is not None, 10.0) or child.poll():
            raise TraceError("strace could not attach to the container")
        with _gate(self.folder).open("w") as gate:
            gate.write("go\n")

    def exec_prefix(self) -> tuple[str, ...]:
        """An argv prefix that traces a command run inside the container beside PID 1."""
        if not self.kit or self.mode in (Watch.NONE, Watch.ATTACHED) or not self.launch.prefix:
            return ()
        if self._commands:
            self._commands[-1].let_go()
        self.executions += 1
        name = f"exec-{self.executions}"
        if not self.remote:
            self._read_command(name)
        options = ("--seccomp-bpf", *OPTIONS, "-e", f"trace={CALLS[Watch.FULL]}")
        return self.kit.strace_argv(options, f"{INSIDE}/out/{name}")

    def _read_command(self, name: str) -> None:
        """Begin to read what a command's strace is going to write."""
        pipe = make_pipe(self.folder / "out" / name)
        held = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        command = _Command(self._probes.enter_context(probing("watch_strace")), held)
        self._probes.callback(command.drop)
        command.probe.request({"source": str(pipe), "root_pid": 0, "announce": True})
        self._commands.append(command)

    def collect(self, container: Container) -> Seen:
        """Let the watchers finish (the container has ended) and take what they saw."""
        if self.remote:
            return self._collect_remote(container)
        touches: set[Touch] = set()
        lost = 0
        names: set[str] = set()
        if self.mode is Watch.ATTACHED:
            self._attached.close()
        elif self.mode is not Watch.NONE:
            _unblock(_gate(self.folder))
        sources = [(self.strace, "strace"), (self.fanotify, "fanotify")]
        for probe, name in sources:
            if probe:
                if name == "fanotify":
                    probe.finish()
                lost += self._drain(probe, name, touches)
                names.add(name)
        for command in self._commands:
            command.let_go()
            lost += self._drain(command.probe, "strace", touches)
        return Seen(frozenset(touches), lost, frozenset(names), frozenset(self.notes))

    def _collect_remote(self, container: Container) -> Seen:
        """Fetch the trace files: behind a remote engine strace wrote into the container."""
        touches: set[Touch] = set()
        lost = 0
        names = ["gate", *(f"exec-{n}" for n in range(1, self.executions + 1))]
        for name in names:
            sink = self.folder / f"{name}.trace"
            if container.fetch(f"{INSIDE}/out/{name}", sink):
                lost += self._read_file(sink, touches)
            else:
                lost += 1
                self.notes.append(f"{name}: the trace could not be fetched from the container")
        return Seen(frozenset(touches), lost, frozenset({"strace"}), frozenset(self.notes))

    def _drain(self, probe: Probe, name: str, touches: set[Touch]) -> int:
        """Take what a watcher has to say; returns how many events it lost, and notes why."""
        lost, done = 0, False
        for answer in probe.rest(DRAIN):
            if (touch := _touch(answer, name)) is not None:
                touches.add(touch)
            elif answer.get("done"):
                lost, done = int(answer.get("lost", 0)), True
        # A watcher that died without its closing line has lost an unknown number of events.
        lost += not done
        if lost:
            self.notes.append(f"{name}: {probe.last_words()}")
        return lost

    def _read_file(self, path: Path, touches: set[Touch]) -> int:
        """Read a trace that was fetched: a file of ours, whatever its content."""
        with probing("watch_strace") as probe:
            probe.request({"source": str(path), "root_pid": 0})
            return self._drain(probe, "strace", touches)


def _kit_archive(kit: Kit) -> bytes:
    """The kit and the folder for its output as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(kit.path, arcname=kit.mount)
        out = tarfile.TarInfo(f"{INSIDE}/out".lstrip("/"))
        # The program's own user writes there, whoever that is.
        out.type, out.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(out)
    return buffer.getvalue()


def _traced(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return line.split()[1] != "0"
    return False


def _touch(answer: Mapping[str, Any], name: str) -> Touch | None:
    if "path" not in answer:
        return None
    outcome = Outcome(answer.get("outcome", "ok"))
    return Touch(answer["path"], Access(answer["access"]), outcome, name)


def can_watch_lightly(local: bool) -> bool:
    """Whether fanotify can be asked to see the opens that strace would not."""
    return local and os.geteuid() == 0


@contextlib.contextmanager
def watching(
    mode: Watch, kit: Kit | None, folder: Path, env: Mapping[str, str], *, local: bool
) -> Iterator[Watching]:
    """Prepare to watch: start the probes early, so that their start-up is hidden."""
    if mode is Watch.NONE or kit is None:
        yield Watching(Watch.NONE, folder, Launch(), None)
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not local:
        yield _remote(mode, kit, folder, env)
        return
    out = folder / "out"
    out.mkdir()
    out.chmod(0o755)  # whoever the program runs as has to get to the FIFOs
    # Whoever could read there as well would take lines away: our shell reads, strace only writes.
    make_pipe(_gate(folder), 0o644 if mode is Watch.ATTACHED else 0o622)
    mounts = (Mount(kit.mount, str(kit.path)), Mount(f"{INSIDE}/out", str(out)))
    blanked, given = kit.shield(env)
    launch = Launch(
        _prefix(mode, kit, env, given), tuple(f"{k}={v}" for k, v in blanked.items()), mounts
    )
    with contextlib.ExitStack() as stack:
        it = Watching(mode, folder, launch, kit)
        stack.push(it._attached)
        stack.push(it._probes)
        it.strace = stack.enter_context(probing("watch_strace"))
        if can_watch_lightly(local):
            it.fanotify = stack.enter_context(probing("watch_fanotify"))
        else:
            it._without_fanotify("it needs root")
        yield it


def _remote(mode: Watch, kit: Kit, folder: Path, env: Mapping[str, str]) -> Watching:
    blanked, given = kit.shield(env)
    launch = Launch(_prefix(mode, kit, env, given), tuple(f"{k}={v}" for k, v in blanked.items()))
    it = Watching(mode, folder, launch, kit, remote=True)
    it._without_fanotify("the engine is remote")
    return it


def _prefix(
    mode: Watch, kit: Kit, env: Mapping[str, str], given: tuple[str, ...]
) -> tuple[str, ...]:
    if mode is Watch.ATTACHED:
        return kit.gate_argv(GATE, keep_pwd=False, env=env)
    options = ("-D", "--seccomp-bpf", *OPTIONS, *given, "-e", f"trace={CALLS[mode]}")
    return kit.strace_argv(options, GATE)


def _gate(folder: Path) -> Path:
    return folder / "out" / "gate"


def make_pipe(path: Path, mode: int = 0o622) -> Path:
    """Make a FIFO; who else sees it may write to it, unless `mode` says otherwise."""
    os.mkfifo(path)
    path.chmod(mode)
    return path


def _unblock(gate: Path) -> None:
    """Open and close the gate, lest a parser waits there for a strace that never came (fifo(7))."""
    with contextlib.suppress(OSError):
        fd = os.open(gate, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        finally:
            os.close(fd)
