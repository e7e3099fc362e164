"""Say which files of a container are opened and executed, as the kernel sees it from the host.

Runs as `python3 -I watch_fanotify.py` (Python 3.9 or newer) with CAP_SYS_ADMIN; the contract is in
README.md. fanotify(7), fanotify_init(2), fanotify_mark(2), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import select
import signal
import stat
import struct
import sys
from typing import Any, NamedTuple

# <linux/fanotify.h>
FAN_OPEN, FAN_OPEN_EXEC, FAN_Q_OVERFLOW, FAN_ONDIR = 0x20, 0x1000, 0x4000, 0x40000000
INIT_CLOEXEC, INIT_NONBLOCK, INIT_UNLIMITED_QUEUE, INIT_UNLIMITED_MARKS = 0x1, 0x2, 0x10, 0x20
INIT_REPORT_FD_ERROR = 0x2000  # Linux 6.13: a file that cannot be opened is an event all the same
MARK_ADD, MARK_MOUNT, MARK_FILESYSTEM = 0x1, 0x10, 0x100
MARK_IGNORED_MASK, MARK_IGNORED_SURV_MODIFY, MARK_EVICTABLE = 0x20, 0x40, 0x200
AT_FDCWD = -100
EVENT = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
BATCH = EVENT.size * 128  # every event of one read is an open descriptor here: stay below 1024

# Mounted by the engine, never image content, and opening device nodes twice could do something.
SKIPPED_TYPES = frozenset(
    ("proc", "sysfs", "devpts", "cgroup", "cgroup2", "mqueue", "devtmpfs", "bpf", "debugfs",
     "tracefs", "securityfs", "fusectl", "configfs", "nsfs", "binfmt_misc", "hugetlbfs")
)  # fmt: skip
SKIPPED_TREES = ("/proc", "/sys", "/dev", "/.minify")


class Refused(Exception):  # noqa: N818 - reads as the finding it is
    """The kernel does not permit fanotify here."""


class Mount(NamedTuple):
    """One line of mountinfo: where, which device (major:minor), which type of file system."""

    target: str
    device: str
    kind: str


# ------------------------------------------------------------------------------- pure functions


def parse_mountinfo(text: str) -> list[Mount]:
    """Read a mountinfo file; names have octal escapes for blanks and backslashes."""
    mounts = []
    for line in text.splitlines():
        fields, _, tail = line.partition(" - ")
        parts = fields.split()
        if len(parts) >= 5 and tail:
            target = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), parts[4])
            mounts.append(Mount(target, parts[2], tail.split()[0]))
    return mounts


def below(path: str, tree: str) -> bool:
    """Whether a path is a directory or lies below it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def choose(inside: list[Mount], wanted: list[str] | None) -> list[Mount]:
    """Choose the mounts of a container to mark: those wanted, else all that can hold files.

    Where several are stacked on one place, the last is the one that is seen.
    """
    top = {m.target: m for m in inside}
    return [
        m
        for m in top.values()
        if m.kind not in SKIPPED_TYPES
        and not any(below(m.target, tree) for tree in SKIPPED_TREES)
        and (wanted is None or m.target in wanted)
    ]


def own_filesystem(mount: Mount, outside: list[Mount]) -> bool:
    """Whether a mount's whole file system belongs to the container alone.

    True for its overlay, which the host sees only where the engine mounted it, and for a tmpfs the
    host does not see at all. Then the mark on the file system is safe, and sees more than one on
    the mount: processes with a mount namespace of their own too.
    """
    if mount.kind == "overlay":
        return all(m.device != mount.device or m.target != "/" for m in outside)
    return mount.kind == "tmpfs" and all(m.device != mount.device for m in outside)


def host_views(marked: list[Mount], outside: list[Mount]) -> list[str]:
    """Name where the host sees the marked file systems: events there are the engine's."""
    devices = {m.device for m in marked if own_filesystem(m, outside)}
    return [m.target for m in outside if m.device in devices]


def names(link: str, links: int) -> list[str]:
    """Turn a /proc/self/fd link into paths; `links` is the link count of the file.

    A deleted name has a suffix; a file with other names may really be called so: both then.
    """
    suffix = " (deleted)"
    if not link.startswith("/"):
        return []
    if not link.endswith(suffix):
        return [link]
    return [link[: -len(suffix)]] if links == 0 else [link[: -len(suffix)], link]


# ------------------------------------------------------------------------------------ the kernel


class Group:
    """A fanotify group: its descriptor, its marks, and what the kernel can do."""

    def __init__(self, bounded: bool = False) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._init = libc.fanotify_init
        self._mark = libc.fanotify_mark
        self._init.argtypes = [ctypes.c_uint, ctypes.c_uint]
        self._mark.argtypes = [
            ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p,
        ]  # fmt: skip
        self._evictable = MARK_EVICTABLE
        self.mask = FAN_OPEN | FAN_OPEN_EXEC | FAN_ONDIR
        flags = INIT_CLOEXEC | INIT_NONBLOCK | INIT_UNLIMITED_MARKS
        flags |= 0 if bounded else INIT_UNLIMITED_QUEUE
        # Not blocking: an event's descriptor may be a FIFO nobody writes to.
        event_flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_LARGEFILE", 0)
        for extra in (INIT_REPORT_FD_ERROR, 0):
            self.fd: int = self._init(flags | extra, event_flags)
            if self.fd >= 0:
                return
        raise self._error("fanotify_init")

    def mark(self, path: str, scope: int) -> None:
        """Mark a mount or a file system; without FAN_OPEN_EXEC (before Linux 5.0) as well."""
        for mask in (self.mask, FAN_OPEN | FAN_ONDIR):
            if self._mark(self.fd, MARK_ADD | scope, mask, AT_FDCWD, os.fsencode(path)) == 0:
                self.mask = mask
                return
            if ctypes.get_errno() != errno.EINVAL:
                break
        raise self._error(path)

    def ignore(self, fd: int, mask: int) -> None:
        """Make the kernel skip further such events on the file behind a descriptor.

        The mark may go with the inode (Linux 5.19), so that it pins no memory. When it cannot be
        set the events keep coming: slower, not wrong.
        """
        flags = MARK_ADD | MARK_IGNORED_MASK | MARK_IGNORED_SURV_MODIFY
        done = self._mark(self.fd, flags | self._evictable, mask, fd, None)
        if done < 0 and self._evictable and ctypes.get_errno() == errno.EINVAL:
            self._evictable = 0
            self._mark(self.fd, flags, mask, fd, None)

    @staticmethod
    def _error(what: str) -> Exception:
        number = ctypes.get_errno()
        if number in (errno.EPERM, errno.ENOSYS):
            return Refused(f"{what}: {os.strerror(number)}")
        return OSError(number, os.strerror(number), what)


class Watcher:
    """Turns events into answers, each once."""

    def __init__(self, group: Group, views: list[str]) -> None:
        self.events = self.lost = self.answers = 0
        self._group = group
        self._views = views
        self._said: set[tuple[str, str]] = set()
        self._own = os.getpid()

    def drain(self) -> None:
        """Take every event that is there now."""
        while True:
            try:
                data = os.read(self._group.fd, BATCH)
            except BlockingIOError:
                break
            except OSError as error:
                self._lose(f"an event could not be read: {error.strerror}")
                continue
            if not data:
                break
            self._take(data)
        sys.stdout.flush()

    def _take(self, data: bytes) -> None:
        at = 0
        while at + EVENT.size <= len(data):
            length, _, _, _, mask, fd, pid = EVENT.unpack_from(data, at)
            at += length
            self.events += 1
            if mask & FAN_Q_OVERFLOW:
                self._lose("the event queue overflowed")
            elif fd < 0:
                # ENXIO, ENODEV: a device without a driver, nothing an image could bring.
                if -fd not in (errno.ENXIO, errno.ENODEV):
                    self._lose(f"a file could not be looked at: {os.strerror(max(-fd, 0))}")
            else:
                try:
                    if pid != self._own:
                        self._file(mask, fd)
                finally:
                    os.close(fd)

    def _file(self, mask: int, fd: int) -> None:
        status = os.fstat(fd)
        access = "exec" if mask & FAN_OPEN_EXEC else "open"
        if stat.S_ISDIR(status.st_mode):  # the kernel names FAN_ONDIR in other kinds of groups only
            access = "list"
        for path in names(os.readlink(f"/proc/self/fd/{fd}"), status.st_nlink):
            if any(below(path, view) for view in self._views):
                return  # through the host's own mount: the engine, not the application
            if (path, access) not in self._said:
                self._said.add((path, access))
                sys.stdout.write(json.dumps({"path": path, "access": access}) + "\n")
        if access == "open":
            self._group.ignore(fd, FAN_OPEN)  # not FAN_OPEN_EXEC: it may be executed later
        elif access == "exec":
            self._group.ignore(fd, FAN_OPEN | FAN_OPEN_EXEC)

    def _lose(self, why: str) -> None:
        self.lost += 1
        print(f"watch_fanotify: events lost: {why}", file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------- the program


def read_mounts(pid: str) -> list[Mount]:
    """Read the mounts of a process."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        return parse_mountinfo(stream.read())


def mark_all(group: Group, request: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Mark the container's mounts; returns where the host sees them, and how each was marked."""
    outside = read_mounts("self")
    chosen = choose(read_mounts(str(request["pid"])), request.get("mounts"))
    scopes: dict[str, str] = {}
    for mount in chosen:
        path = f"/proc/{request['pid']}/root{mount.target}"
        if own_filesystem(mount, outside):
            try:
                group.mark(path, MARK_FILESYSTEM)
                scopes[mount.target] = "filesystem"
                continue
            except OSError as error:  # Linux before 4.20; a file system without an identifier
                print(f"watch_fanotify: {error}; marking the mount alone", file=sys.stderr)
        try:
            group.mark(path, MARK_MOUNT)
            scopes[mount.target] = "mount"
        except OSError as error:
            if mount.target == "/":
                raise
            print(f"watch_fanotify: not watched: {error}", file=sys.stderr)
    if "/" not in scopes and request.get("mounts") is None:
        raise OSError(errno.ENOENT, "the container's root is not a mount", str(request["pid"]))
    return host_views(chosen, outside), scopes


def follow(group: Group, watcher: Watcher, stalled: bool) -> None:
    """Answer events until stdin is closed or SIGTERM comes, then what is still queued."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    if not stalled:
        poll.register(group.fd, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll())
            if group.fd in ready:
                watcher.drain()
            if 0 in ready and not os.read(0, 4096):
                break
    except KeyboardInterrupt:
        pass
    watcher.drain()


def watch(request: dict[str, Any], group: Group) -> None:
    """Answer one request: mark, say so, follow, and count at the end."""
    views, scopes = mark_all(group, request)
    said = {
        "ready": True, "marked": sorted(scopes), "scopes": scopes,
        "exec": bool(group.mask & FAN_OPEN_EXEC),
    }  # fmt: skip
    print(json.dumps(said), flush=True)
    watcher = Watcher(group, views)
    follow(group, watcher, bool(request.get("bounded")))
    print(json.dumps({"done": True, "events": watcher.events, "lost": watcher.lost}), flush=True)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Read the request from stdin when it comes; returns the exit status of the contract."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        # Unbuffered: poll(2) must not miss what a buffer has already swallowed.
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            request = json.loads(stdin.readline())
        int(request["pid"]), list(request.get("mounts") or [])
    except (ValueError, KeyError, TypeError) as error:
        print(f"watch_fanotify: bad request: {error!r}", file=sys.stderr)
        return 2
    try:
        watch(request, Group(bounded=bool(request.get("bounded"))))
    except (Refused, PermissionError) as error:
        print(f"watch_fanotify: {error}", file=sys.stderr)
        return 3
    except (OSError, AttributeError) as error:  # AttributeError: a libc without fanotify
        print(f"watch_fanotify: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
