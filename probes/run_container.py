"""Run one container through an OCI runtime, in namespaces that vanish with this process.

::

    this process ── waits, names PIDs as the host sees them
    └── supervisor: init of a PID namespace, with own mounts (the overlay) and own network
        ├── runc create / start / delete
        └── the container's PID 1, in a PID namespace below

Whatever kills this process (kill -9 too) kills the supervisor (PR_SET_PDEATHSIG), with it every
process in its PID namespace (pid_namespaces(7)), and with the last of them the mounts and the
network. The contract of the requests is in probes/README.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x20000000, 0x40000000  # <linux/sched.h>
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000  # <linux/mount.h>
MNT_DETACH, PR_SET_PDEATHSIG = 2, 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
FAILED, BAD_REQUEST, NOT_PERMITTED = 1, 2, 3
MAX_LINKS = 40  # ELOOP limit of path_resolution(7)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LINE = 16384  # a longer line of output is cut, as Docker's json-file log does

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces, unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount, mount(2)."""
    parts = (os.fsencode(source), os.fsencode(target), kind.encode())
    _check(_libc.mount(*parts, ctypes.c_ulong(flags), os.fsencode(data)), f"mount {target}")


def say(**answer: Any) -> None:
    """Write one answer line; a reader that is gone is no reason to stop cleaning up."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(answer) + "\n").encode())


# ------------------------------------------------------------------ the root file system


def mount_overlay(request: dict[str, Any]) -> str:
    """Put the layers together at `rootfs`; returns "overlay", "tmpfs" (upper side) or "copy"."""
    links = [str(i) for i in range(len(request["lower"]))]
    os.makedirs(request["links"], exist_ok=True)
    # Short relative names: the options of a mount have to fit into one page (mount(2)).
    os.chdir(request["links"])
    for name, target in zip(links, request["lower"], strict=True):
        os.symlink(target, name)
    options = "lowerdir=" + ":".join(reversed(links))
    if request.get("userxattr"):
        options += ",userxattr"
    for way in request["ways"]:
        if way == "tmpfs":
            # The cache lies on an overlay itself, which is no place for an upper directory.
            mount("tmpfs", request["writable"], "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
        elif way == "copy":
            return way
        upper, work = _upper_and_work(request)
        with contextlib.suppress(OSError):
            data = f"{options},upperdir={upper},workdir={work}"
            mount("overlay", request["rootfs"], "overlay", 0, data)
            return way
    raise OSError(errno.EOPNOTSUPP, "overlayfs is refused here")


def _upper_and_work(request: dict[str, Any]) -> tuple[str, str]:
    upper, work = f"{request['writable']}/upper", f"{request['writable']}/work"
    os.makedirs(upper, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    # The root directory of an overlay looks as its uppermost layer says.
    _like(request["root"], upper)
    os.symlink(upper, "upper") if not os.path.lexists("upper") else None
    os.symlink(work, "work") if not os.path.lexists("work") else None
    return "upper", "work"


def _like(wanted: dict[str, int], path: str) -> None:
    os.chown(path, wanted["uid"], wanted["gid"])
    os.chmod(path, wanted["mode"])


def copy_tree(source: str, target: str, opaque: tuple[str, ...] = ()) -> int:
    """Copy a directory's content with owners, modes, links and xattrs; returns bytes copied.

    With `opaque` (xattr names) the source is an overlay layer: whiteouts remove, opaque directories
    empty what is there already.
    """
    twins: dict[int, str] = {}
    copied = 0
    # No recursion: how deep it goes is the image's choice. A directory is dressed after what it
    # holds was made, for making it changes its times.
    todo: list[tuple[str, str, os.stat_result | None]] = [(source, target, None)]
    while todo:
        place, to, dress = todo.pop()
        if dress:
            _copy_owner(place, to, dress)
            continue
        with os.scandir(place) as names:
            entries = list(names)
        for entry in entries:
            inner = f"{to}/{entry.name}"
            found = entry.stat(follow_symlinks=False)
            if opaque and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                _remove(inner)
            elif stat.S_ISDIR(found.st_mode):
                if os.path.lexists(inner) and (
                    _is_opaque(entry.path, opaque) or not _is_dir(inner)
                ):
                    _remove(inner)
                os.makedirs(inner, exist_ok=True)
                todo += [(entry.path, inner, found), (entry.path, inner, None)]
            else:
                _remove(inner)
                copied += _copy_one(entry.path, inner, found, twins)
    return copied


def _copy_one(source: str, to: str, found: os.stat_result, twins: dict[int, str]) -> int:
    if found.st_nlink > 1 and found.st_ino in twins:
        os.link(twins[found.st_ino], to, follow_symlinks=False)
        return 0
    twins[found.st_ino] = to
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), to)
    elif stat.S_ISREG(found.st_mode):
        shutil.copyfile(source, to, follow_symlinks=False)
    elif stat.S_ISSOCK(found.st_mode):
        return 0
    else:
        os.mknod(to, found.st_mode, found.st_rdev)
    _copy_owner(source, to, found)
    return found.st_size


def _copy_owner(source: str, to: str, found: os.stat_result) -> None:
    os.chown(to, found.st_uid, found.st_gid, follow_symlinks=False)
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(("trusted.overlay.", "user.overlay.")):
            with contextlib.suppress(OSError):
                value = os.getxattr(source, name, follow_symlinks=False)
                os.setxattr(to, name, value, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(to, stat.S_IMODE(found.st_mode))
    times = (found.st_atime_ns, found.st_mtime_ns)
    os.utime(to, ns=times, follow_symlinks=False)


def _is_dir(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_opaque(path: str, names: tuple[str, ...]) -> bool:
    for name in names:
        with contextlib.suppress(OSError):
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
    return False


def _remove(path: str) -> None:
    if _is_dir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def prepare_root(request: dict[str, Any]) -> tuple[str, int]:
    """Mount (or copy) the root file system and fill the volumes; returns how, and bytes copied."""
    way, copied = mount_overlay(request), 0
    if way == "copy":
        names = ("trusted.overlay.opaque", "user.overlay.opaque")
        for layer in request["lower"]:
            copied += copy_tree(layer, request["rootfs"], names)
        _like(request["root"], request["rootfs"])
    for volume in request["volumes"]:
        copied += fill(request["rootfs"], volume) if volume["from"] else 0
    for path in request["empty_files"]:
        with contextlib.suppress(OSError):
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
            os.close(os.open(request["rootfs"] + path, flags, 0o755))
    return way, copied


def fill(rootfs: str, volume: dict[str, str]) -> int:
    """Copy what the image has at a volume's place into it; returns bytes copied."""
    root = os.open(rootfs, FOLDER)
    try:
        folder = enter(root, [n for n in volume["from"].split("/") if n])
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0  # no folder there
        raise
    finally:
        os.close(root)
    try:
        # By its descriptor: no link on the way can lead out of the root.
        source = f"/proc/self/fd/{folder}"
        copied = copy_tree(source, volume["to"])
        _copy_owner(f"{source}/.", volume["to"], os.fstat(folder))
    finally:
        os.close(folder)
    return copied


# ------------------------------------------------------------------ mount points

# A runtime resolves a mount's destination inside the root, but then makes devices and links below
# ROOTFS/dev by plain paths: where an image's /dev is a symlink, in a folder of the host. So every
# destination is made real here, in the run's own layer, before a runtime looks for it.


def enter(root: int, names: list[str]) -> int:
    """Open a folder below another one through real folders only; raises OSError."""
    at = os.dup(root)
    for name in names:
        try:
            below = os.open(name, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def real_place(root: int, path: str, make: str = "", *, ours: bool = False) -> str:
    """Where a path leads inside a root, every symlink followed there; missing parts are made.

    `make` says what its end shall be, "folder" or "file"; empty: nothing is made, and what is not
    there is taken as it reads. `ours`: what stands in the way is removed and no link is followed,
    as Docker does for /dev, /proc, /sys and the files it mounts over /etc. Raises OSError.
    """
    todo, at, links = [n for n in path.split("/") if n not in ("", ".")][::-1], list[str](), 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = at[:-1]
            continue
        try:
            folder = enter(root, at)
        except FileNotFoundError:  # nothing is made
            at.append(name)
            continue
        try:
            wanted = make if not todo else make and "folder"
            link = _step(folder, name, wanted, ours=ours)
        finally:
            os.close(folder)
        if link is None:
            at.append(name)
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, f"too many symlinks on the way to the mount point {path!a}")
        at = [] if link.startswith("/") else at
        todo += [n for n in link.split("/") if n not in ("", ".")][::-1]
    return "/" + "/".join(at)


def _step(folder: int, name: str, wanted: str, *, ours: bool) -> str | None:
    """Make one name what is wanted; returns a symlink's text, which is to be followed."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        fits = stat.S_ISDIR(mode) or (wanted == "file" and stat.S_ISREG(mode))
        if ours and wanted and not fits:
            os.unlink(name, dir_fd=folder)
            raise FileNotFoundError
        return os.readlink(name, dir_fd=folder) if stat.S_ISLNK(mode) else None
    except FileNotFoundError:
        if wanted == "file":
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=folder))
        elif wanted:
            os.mkdir(name, 0o755, dir_fd=folder)
            os.chmod(name, 0o755, dir_fd=folder)
        return None


def settle_mounts(request: dict[str, Any]) -> None:
    """Make the destinations of a bundle's mounts real, and name them so in its specification.

    What lies below another mount is not the image's: the runtime makes it there. Raises OSError.
    """
    place = request["bundle"] + "/config.json"
    with open(place, encoding="utf-8") as source:
        spec = json.load(source)
    root = os.open(request["rootfs"], FOLDER)
    try:
        settled: dict[str, str] = {}
        for mount_ in spec["mounts"]:
            path = mount_["destination"]
            above = next((p for p in settled if path.startswith(p + "/")), None)
            if above is None:
                ours = any(path == o or path.startswith(o + "/") for o in request.get("own", ()))
                bound = mount_["type"] == "bind" and not os.path.isdir(mount_["source"])
                kind = "file" if bound else "folder"
                mount_["destination"] = settled[path] = real_place(root, path, kind, ours=ours)
                if settled[path] == "/":
                    # Everything mounted before would be hidden behind the image's own links.
                    raise OSError(errno.EINVAL, f"the mount point {path!a} leads to the root")
            else:
                mount_["destination"] = settled[above] + path[len(above) :]
        # A runtime's own descriptors there were a way out of the root (CVE-2024-21626).
        if real_place(root, spec["process"]["cwd"]).startswith("/proc/"):
            raise OSError(errno.EINVAL, "the working directory lies in /proc")
    finally:
        os.close(root)
    with open(place, "w", encoding="utf-8") as sink:
        json.dump(spec, sink)


# ------------------------------------------------------------------ the supervisor


def loopback_up() -> None:
    """Set the loopback interface of this network namespace up (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        ifreq = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, ifreq))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def own_network(sysctls: dict[str, str]) -> None:
    """Move into a network of our own: loopback, and Docker's two sysctls for it."""
    unshare(CLONE_NEWNET)
    loopback_up()
    for name, value in sysctls.items():
        with contextlib.suppress(OSError), open(f"/proc/sys/{name.replace('.', '/')}", "w") as knob:
            knob.write(value)


def complaints(log: str) -> str:
    """The messages of the errors in a runtime's log (JSON lines)."""
    found = []
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("level") == "error":
                found.append(str(entry.get("msg")))
    return "\n".join(found)


class Supervisor:
    """The loop beside a container: requests, its output, its end."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.pid = 0
        self.ended = False
        self.selector = selectors.DefaultSelector()
        self.log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.room = int(request["log_limit"])
        self.partial: dict[int, bytes] = {}
        self.commands = b""

    def runtime(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        """Call the runtime program."""
        argv = [*self.request["runtime"], *arguments]
        return subprocess.run(argv, check=False, **{"stdin": subprocess.DEVNULL, **more})

    def create(self) -> str:
        """Create the container; returns what the runtime complained about, or nothing."""
        pid_file = self.request["bundle"] + "/pid"
        pipes = [os.pipe(), os.pipe()]
        # A file, not a pipe: the container's init inherits it, a pipe would never end.
        with (
            open(self.request["bundle"] + "/runtime.log", "wb+") as words,
            open(self.request.get("stdin") or os.devnull, "rb") as stdin,
        ):
            done = self.runtime(
                "--log", words.name, "--log-format", "json", "create",
                "--bundle", self.request["bundle"], "--pid-file", pid_file, self.request["id"],
                stdin=stdin, stdout=pipes[0][1], stderr=pipes[1][1],
            )  # fmt: skip
            complaint = complaints(words.read().decode(errors="replace"))
        for reader, writer in pipes:
            os.close(writer)
            os.set_blocking(reader, False)
            self.selector.register(reader, selectors.EVENT_READ, self.take_output)
        if done.returncode != 0:
            printed = b"".join(self._pending(reader) for reader, _ in pipes)
            return complaint or printed.decode(errors="replace") or "it gave no reason"
        with open(pid_file) as source:
            self.pid = int(source.read())
        return ""

    @staticmethod
    def _pending(reader: int) -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(reader, 65536)
        return b""

    def take_output(self, reader: int) -> bool:
        """Move what the container wrote into the log, whole lines; returns whether it may go on."""
        try:
            data = os.read(reader, 65536)
        except BlockingIOError:
            return False
        rest = self.partial.get(reader, b"") + data
        end = len(rest) if len(rest) > LINE or not data else rest.rfind(b"\n") + 1
        self.partial[reader] = rest[end:]
        if end and self.room > 0:
            self.room -= os.write(self.log, rest[:end][: self.room])
        if not data:
            self.selector.unregister(reader)
            os.close(reader)
        return bool(data)

    def take_command(self, source: int) -> bool:
        """Obey request lines; the end of requests is the end of the container."""
        data = os.read(source, 65536)
        *lines, self.commands = (self.commands + data).split(b"\n")
        for line in lines:
            self.obey(json.loads(line))
        if not data:
            self.end()
        return bool(data)

    def obey(self, command: dict[str, Any]) -> None:
        """Do what one request line says."""
        if command.get("do") == "start":
            done = self.runtime("start", self.request["id"], stdout=2, stderr=subprocess.PIPE)
            words = done.stderr.decode(errors="replace").strip()
            say(started=done.returncode == 0, error=words)
        elif command.get("do") == "signal" and not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, int(command["number"]))

    def reap(self, waker: int) -> bool:
        """Collect dead children (as PID 1 of a namespace we inherit every orphan)."""
        with contextlib.suppress(BlockingIOError):
            os.read(waker, 4096)
        while self.reap_one(os.WNOHANG):
            pass
        return True

    def reap_one(self, flags: int) -> bool:
        """Collect one dead child; returns whether there was one. The container's end is told."""
        try:
            pid, status = os.waitpid(-1, flags)
        except ChildProcessError:
            return False
        if pid == self.pid and not self.ended:
            self.ended = True
            self.drain()
            code = os.waitstatus_to_exitcode(status)
            say(exit=code if code >= 0 else 128 - code)
        return pid != 0

    def drain(self) -> None:
        """Take the output that is still in the pipes: whoever could write more is dead."""
        for key in list(self.selector.get_map().values()):
            while key.data == self.take_output and self.take_output(key.fd):
                pass

    def end(self) -> NoReturn:
        """Kill the container, remove its cgroup and state, leave."""
        if self.pid and not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            # It ends only when everybody of its namespace is collected, commands run inside too.
            while not self.ended and self.reap_one(0):
                pass
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.runtime("delete", "--force", self.request["id"], **quiet)
        os._exit(0)

    def run(self, way: str, copied: int) -> NoReturn:
        """Create the container, then obey until there is nothing more to do."""
        waker, writer = os.pipe()
        for end in (waker, writer):
            os.set_blocking(end, False)
        complaint = self.create()
        if complaint:
            say(error=complaint.strip()[-4000:])
            self.end()
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        self.selector.register(waker, selectors.EVENT_READ, self.reap)
        self.selector.register(0, selectors.EVENT_READ, self.take_command)
        say(created=self.pid, way=way, copied=copied)
        self.reap(waker)
        while True:
            for key, _ in self.selector.select():
                key.data(key.fd)


def supervise(request: dict[str, Any]) -> NoReturn:
    """Be the init of the PID namespace; never returns."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        unshare(CLONE_NEWNS)
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        own_network(request["sysctls"])
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        # crun refuses a mixture of both versions of cgroups; without this mount it is version 1.
        _libc.umount2(b"/sys/fs/cgroup/unified", MNT_DETACH)
        way, copied = prepare_root(request)
        settle_mounts(request)
    except OSError as error:
        say(error=str(error))
        os._exit(NOT_PERMITTED if error.errno in (errno.EPERM, errno.EACCES) else FAILED)
    Supervisor(request).run(way, copied)


# ------------------------------------------------------------------ the outer process


def outer_pid(supervisor: int, inner: int) -> int:
    """The PID out here of the supervisor's child that it knows as `inner` (NSpid in proc(5))."""
    depth = len(_status(str(supervisor)).get("NSpid", "").split())
    for name in filter(str.isdigit, os.listdir("/proc")):
        status = _status(name)
        if status.get("PPid") == str(supervisor):
            pids = status.get("NSpid", "").split()
            if pids[depth - 1 : depth] == [str(inner)]:
                return int(name)
    return 0


def _status(pid: str) -> dict[str, str]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as source:
        return {k: v.strip() for k, _, v in (line.partition(":") for line in source)}
    return {}


def forward(source: int, supervisor: int) -> None:
    """Pass the supervisor's answers on, with PIDs as they are out here."""
    with os.fdopen(source) as answers:
        for line in answers:
            answer = json.loads(line)
            if "created" in answer:
                pid = outer_pid(supervisor, answer["created"])
                answer.update(created=pid, supervisor=supervisor)
            say(**answer)


def main() -> int:
    """Read the request, start the supervisor, pass its answers on, wait for its end."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)  # byte by byte: what follows belongs to the supervisor
        if not piece:
            return BAD_REQUEST
        line += piece
    try:
        request = json.loads(line)
    except ValueError as error:
        print(f"bad request: {error}", file=sys.stderr)
        return BAD_REQUEST
    try:
        unshare(CLONE_NEWPID)
    except OSError as error:
        print(error, file=sys.stderr)
        return NOT_PERMITTED
    reader, writer = os.pipe()
    supervisor = os.fork()
    if supervisor == 0:
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        supervise(request)
    os.close(writer)
    os.close(0)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(supervisor, signal.SIGTERM))
    forward(reader, supervisor)
    return max(os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1]), 0)


if __name__ == "__main__":
    sys.exit(main())
