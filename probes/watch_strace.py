"""Read what strace wrote about a container and say which paths its programs touched.

Runs as `python3 -I watch_strace.py` (Python 3.9 or newer); the contract is in README.md. The lines
are those of strace 5.7 to 6.x with `-f -y -q -o FIFO`; strace(1), path_resolution(7).
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

CHUNK = 1 << 20
CACHE_LINES = 100_000  # raw lines remembered; bounds memory to a few tens of MB
CACHE_BYTES = 32 << 20  # of them, in all
# Whoever is in the container can write lines of its own: what is not bounded here is not bounded.
LINE = 128 << 10  # bytes; strace's longest are paths of 4 kB, escaped, twice
TOUCHES, TOUCHED = 500_000, 64 << 20  # paths told, and their bytes
PATH_MAX = 4096  # <linux/limits.h>
PROCESSES = 100_000  # whose state is known
COMPLAINTS = 20

OPEN, EXEC, STAT, LIST, LINK, WRITE = "open", "exec", "stat", "list", "link", "write"
OK, ABSENT, DENIED = "ok", "absent", "denied"

# What each system call does with the paths in its arguments: (access, index of the directory
# descriptor or -1, index of the path). The open family is decided by its flags instead.
_STAT_1 = ((STAT, -1, 0),)
_STAT_AT = ((STAT, 0, 1),)
_WRITE_1 = ((WRITE, -1, 0),)
_WRITE_AT = ((WRITE, 0, 1),)
CALLS: dict[bytes, tuple[tuple[str, int, int], ...]] = {
    **dict.fromkeys(
        b"stat lstat stat64 lstat64 oldstat oldlstat access statfs statfs64 chdir chroot umount "
        b"umount2 swapon swapoff acct getxattr lgetxattr listxattr llistxattr".split(),
        _STAT_1,
    ),
    **dict.fromkeys(
        b"newfstatat fstatat64 statx faccessat faccessat2 name_to_handle_at open_tree "
        b"open_tree_attr fspick getxattrat listxattrat mount_setattr".split(),
        _STAT_AT,
    ),
    **dict.fromkeys(
        b"mkdir rmdir unlink creat mknod chmod chown chown32 lchown lchown32 truncate truncate64 "
        b"utime utimes setxattr lsetxattr removexattr lremovexattr".split(),
        _WRITE_1,
    ),
    **dict.fromkeys(
        b"mkdirat unlinkat mknodat fchmodat fchmodat2 fchownat futimesat utimensat "
        b"utimensat_time64 setxattrat removexattrat".split(),
        _WRITE_AT,
    ),
    b"readlink": ((LINK, -1, 0),),
    b"readlinkat": ((LINK, 0, 1),),
    b"execve": ((EXEC, -1, 0),),
    b"execveat": ((EXEC, 0, 1),),
    b"uselib": ((OPEN, -1, 0),),
    # The content of a renamed or linked file is needed under its new name: it counts as opened.
    b"rename": ((OPEN, -1, 0), (WRITE, -1, 0), (WRITE, -1, 1)),
    b"renameat": ((OPEN, 0, 1), (WRITE, 0, 1), (WRITE, 2, 3)),
    b"renameat2": ((OPEN, 0, 1), (WRITE, 0, 1), (WRITE, 2, 3)),
    b"link": ((OPEN, -1, 0), (WRITE, -1, 1)),
    b"linkat": ((OPEN, 0, 1), (WRITE, 2, 3)),
    b"symlink": ((WRITE, -1, 1),),
    b"symlinkat": ((WRITE, 1, 2),),
    b"mount": ((STAT, -1, 0), (STAT, -1, 1)),
    b"move_mount": ((STAT, 0, 1), (STAT, 2, 3)),
    b"pivot_root": ((STAT, -1, 0), (STAT, -1, 1)),
    b"inotify_add_watch": ((STAT, -1, 1),),
    b"fanotify_mark": ((STAT, 3, 4),),
    b"quotactl": ((STAT, -1, 1),),
}
OPENS = {b"open": (-1, 0, 1), b"openat": (0, 1, 2), b"openat2": (0, 1, 2)}
SOCKETS = {b"connect": STAT, b"bind": WRITE}
LISTS = frozenset((b"getdents", b"getdents64"))
FORKS = frozenset((b"clone", b"clone2", b"clone3", b"fork", b"vfork"))
# Traced only because every new thread makes one of them first (see README.md): they carry no path.
SILENT = frozenset(
    b"set_robust_list rseq set_tid_address arch_prctl prctl getpid gettid exit exit_group unshare "
    b"prlimit64 sched_getaffinity rt_sigprocmask rt_sigaction open_by_handle_at getcwd".split()
)

# errno(3) names: the path was not there; the caller may not; nothing is known about the path.
ABSENT_ERRORS = frozenset((b"ENOENT", b"ENOTDIR", b"ELOOP", b"ENAMETOOLONG"))
DENIED_ERRORS = frozenset((b"EACCES", b"EPERM"))
BLIND_ERRORS = frozenset(
    b"EFAULT ENOSYS EMFILE ENFILE EBADF ENOMEM EINTR EAFNOSUPPORT EPROTOTYPE ENOTSOCK E2BIG "
    b"EOPNOTSUPP".split()
)
# What a failed call says about a path that exists: that it is there, no more.
FAILED_AS = {OPEN: STAT, LIST: STAT, EXEC: STAT, LINK: STAT, WRITE: STAT, STAT: STAT}

Touch = tuple[bytes, str, str]


class Call(NamedTuple):
    """One finished system call: its name, its arguments as text, and what follows the `=`."""

    name: bytes
    args: list[bytes]
    result: bytes


class Process:
    """Where a process (or threads sharing it, CLONE_FS) stands: working and root directory."""

    __slots__ = ("cwd", "root")

    def __init__(self, cwd: bytes = b"/", root: bytes = b"/") -> None:
        self.cwd = cwd
        self.root = root

    def copy(self) -> Process:
        """Make the state of a forked child."""
        return Process(self.cwd, self.root)


# ------------------------------------------------------------------------------- pure functions

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a"}
_TOKEN = re.compile(
    rb'"(?:[^"\\]|\\.)*(?:"(?:\.\.\.)?|\Z)'  # a string, or one that was cut: linear either way
    rb"|(?<=[0-9D])<(?:[^<>\\]|\\.)*>(?:\(deleted\))?"  # the path of a descriptor (-y)
    rb"|/\*[^*]*\*/"
    rb'|[^"<()\[\]{},/]+'
    rb"|.",
    re.DOTALL,
)
# Most lines are of these calls and of this plain shape: one match instead of twenty tokens.
_PLAIN = re.compile(
    rb"(open(?:at)?|(?:new|l)?f?stat(?:at|x)?|f?access(?:at2?)?|readlink(?:at)?)"
    rb'\((?:(AT_FDCWD<[^<>"\\]*>|\d+<[^<>"\\]*>), )?("[^"\\]*"), (.*)\)\s*= '
    rb'(-1 E[A-Z0-9]+ \([^()"]*\)|\d+(?:<[^<>"\\]*>)?)\Z'
)
_FD = re.compile(rb"(AT_FDCWD|-?\d+)(?:<((?:[^<>\\]|\\.)*)>)?(\(deleted\))?\Z", re.DOTALL)
_SUN_PATH = re.compile(rb'sun_path="((?:[^"\\]|\\.)*)"')
_RESULT = re.compile(rb"\)?\s*=\s+(.*)\Z", re.DOTALL)
_PROC = re.compile(rb"/proc/(self|thread-self|\d+)(?:/task/\d+)?/(root|cwd|fd/\d+)(?=/|\Z)(.*)\Z")
_SLASHES = re.compile(rb"/(?:\.?(?:/|\Z))+")


def unescape(text: bytes) -> bytes:
    """Undo strace's C escapes (octal, hexadecimal, letters): the exact bytes of a path."""
    if b"\\" not in text:
        return text
    return _ESCAPE.sub(_unescape_one, text)


def _unescape_one(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    if code[:1] == b"x" and len(code) == 3:
        return bytes((int(code[1:], 16),))
    if code[:1] in b"01234567":
        return bytes((int(code, 8) & 0xFF,))
    return _LETTERS.get(code, code)


def split_args(text: bytes) -> tuple[list[bytes], bytes]:
    """Split `a, "b", {c, d}) = 0` into its arguments and what follows the closing parenthesis."""
    args: list[bytes] = []
    depth, start = 0, 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if len(token) != 1:
            continue
        if token in b"([{":
            depth += 1
        elif token in b")]}":
            depth -= 1
            if depth < 0:
                return [*args, text[start : match.start()].strip()], text[match.end() :]
        elif token == b"," and depth == 0:
            args.append(text[start : match.start()].strip())
            start = match.end()
    return [*args, text[start:].strip()], b""


def parse(text: bytes) -> Call | None:
    """Parse one whole call, without the PID column; None when it is not one."""
    plain = _PLAIN.match(text)
    if plain:
        name, fd, path, more, result = plain.groups()
        return Call(name, [path, more] if fd is None else [fd, path, more], result)
    name, bracket, rest = text.partition(b"(")
    if not bracket or not name.replace(b"_", b"").isalnum():
        return None
    args, tail = split_args(rest)
    found = _RESULT.match(tail)
    return Call(name, args, found.group(1)) if found else None


def outcome(result: bytes) -> str:
    """Say how a call went: ok, absent, denied, "exists" (failed, yet found it) or "" (unknown)."""
    return _outcome(result[:64])


@functools.lru_cache(maxsize=4096)
def _outcome(result: bytes) -> str:
    if result.startswith(b"?"):
        return ""
    if not result.startswith(b"-1 "):
        return OK
    error = result.split(None, 2)[1]
    if error in ABSENT_ERRORS:
        return ABSENT
    if error in DENIED_ERRORS:
        return DENIED
    return "" if error in BLIND_ERRORS or error.startswith(b"ERESTART") else "exists"


def string(arg: bytes) -> bytes | None:
    """Read a quoted argument; None for NULL, an address, or a string strace cut short."""
    if len(arg) > 1 and arg[:1] == b'"' and arg[-1:] == b'"':
        return unescape(arg[1:-1])
    return None


def descriptor(arg: bytes) -> bytes | None:
    """Read the path of a descriptor argument; None when it has none or it was deleted."""
    found = _FD.match(arg)
    if not found or found.group(2) is None or found.group(3):
        return None
    path = unescape(found.group(2))
    return path if path.startswith(b"/") else None


def tidy(path: bytes) -> bytes:
    """Remove empty and `.` components; `..` stays, as only the tree knows the links before it."""
    if b"//" in path or b"/." in path or path.endswith(b"/"):
        path = _SLASHES.sub(b"/", path)
        return path[:-1] if path.endswith(b"/") and len(path) > 1 else path
    return path


def absolute(path: bytes, base: bytes, root: bytes = b"/") -> bytes:
    """Place a path argument: absolute ones below `root`, others below `base` (a full path)."""
    if not path.startswith(b"/"):
        return tidy(base + b"/" + path)
    if root == b"/":
        return tidy(path)
    path = tidy(path)
    while path == b"/.." or path.startswith(b"/../"):
        path = path[3:] or b"/"
    return tidy(root + path)


@functools.lru_cache(maxsize=4096)
def open_accesses(flags: bytes, result: str) -> tuple[str, ...]:
    """Say what opening with these flags (text of open(2) flags) does with a path."""
    if result == "exists":
        return (STAT,)
    names = set(re.findall(rb"O_\w+", flags))
    if b"O_PATH" in names:
        return (STAT,)
    if names & {b"O_CREAT", b"O_WRONLY", b"O_RDWR", b"O_TRUNC", b"O_TMPFILE"}:
        reads = b"O_RDWR" in names and not names & {b"O_TRUNC", b"O_EXCL", b"O_TMPFILE"}
        return (OPEN, WRITE) if reads else (WRITE,)
    return (LIST,) if b"O_DIRECTORY" in names else (OPEN,)


# ------------------------------------------------------------------------------------ the state


class Watcher:
    """Turns strace's lines into touches; holds what one line says about later ones."""

    def __init__(self, emit: Callable[[Touch], None], cwd: bytes = b"/", root_pid: int = 0) -> None:
        self.lines = self.unparsed = self.lost = 0
        self.truncated = False
        self.ended = False
        self._emit = emit
        self._root_pid = b"%d" % root_pid
        self._first = Process(cwd)
        self._processes: dict[bytes, Process] = {}
        self._pending: dict[bytes, Process] = {}  # forks under way: parent → state of its child
        self._adopted: set[bytes] = set()
        self._unfinished: dict[bytes, bytes] = {}
        self._seen: set[bytes] = set()
        self._seen_bytes = 0
        self._said: set[Touch] = set()
        self._room = TOUCHED
        self._full = False
        self._fixed = True  # whether the call at hand means the same from any process
        self._rooted = False  # whether any process ever changed its root

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take whole lines, without their newlines. This is the hot loop."""
        seen = self._seen
        for line in lines:
            self.lines += 1
            pid, _, text = line.partition(b" ")
            text = text.lstrip(b" ")
            if text not in seen:
                self._line(pid, text)

    def end(self, rest: bytes) -> None:
        """Take what was left at the end of the file: a line without its end."""
        self.truncated = bool(rest)
        if rest and not self._cut(rest) and not self.ended:
            self.lose(f"strace ended inside a line: {rest[:200]!r}")
        for pid, head in self._unfinished.items():
            if head.startswith((b"open", b"connect")):
                self._whole(pid, head + b") = ?")

    def _cut(self, rest: bytes) -> bool:
        """Take a line whose call had begun when strace was killed: only its result is missing.

        strace writes the arguments that go in at once, before the call is made.
        """
        pid, _, text = rest.partition(b" ")
        head = text.strip(b" ").rstrip(b",")
        quotes = head.replace(rb"\\", b"").replace(rb"\"", b"").count(b'"')
        if not pid.isdigit() or quotes % 2 or parse(head + b") = ?") is None:
            return False
        self._unfinished[pid] = head
        return True

    def lose(self, why: str) -> None:
        """Count a loss and say what it was."""
        self.lost += 1
        if self.lost <= COMPLAINTS:
            print(f"watch_strace: events lost: {why}", file=sys.stderr, flush=True)

    def _line(self, pid: bytes, text: bytes) -> None:
        if not pid.isdigit():
            self.unparsed += 1
        elif text.endswith(b"<unfinished ...>"):
            if len(self._unfinished) >= PROCESSES or len(self._pending) >= PROCESSES:
                self.lose(f"more than {PROCESSES} calls are under way")
                self._unfinished.clear()
                self._pending.clear()
            head = text[: -len(b"<unfinished ...>")]
            self._unfinished[pid] = head
            if head.partition(b"(")[0] in FORKS:
                self._pending[pid] = self._child(pid, head)
        elif text.startswith(b"<... "):
            self._resumed(pid, text)
        elif text.startswith((b"+++ ", b"--- ", b"[ Process ")):
            self._note(pid, text)
        else:
            self._whole(pid, text)

    def _resumed(self, pid: bytes, text: bytes) -> None:
        name, mark, tail = text[5:].partition(b" resumed>")
        head = self._unfinished.pop(pid, None)
        if head is None or not mark or not head.startswith(name + b"("):
            self.unparsed += 1
            return
        whole = head + tail
        if whole not in self._seen:
            self._whole(pid, whole)

    def _note(self, pid: bytes, text: bytes) -> None:
        """Take a line about a process: its end, or execve(2) by a thread taking over its leader."""
        if text.startswith(b"+++ superseded by execve in pid "):
            taken = text.split()[6]
            if taken in self._unfinished:
                self._unfinished[pid] = self._unfinished.pop(taken)
            if taken in self._processes:
                self._processes[pid] = self._processes.pop(taken)
        elif text.startswith((b"+++ exited", b"+++ killed")):
            self._processes.pop(pid, None)
            self._adopted.discard(pid)
            self.ended = self.ended or pid == self._root_pid

    def _whole(self, pid: bytes, text: bytes) -> None:
        call = parse(text)
        if call is None:
            self.unparsed += 1
            return
        self._fixed = not self._rooted
        for touch in self._call(pid, call):
            if touch not in self._said and self._fits(touch):
                self._said.add(touch)
                self._emit(touch)
        if self._fixed:
            if len(self._seen) >= CACHE_LINES or self._seen_bytes > CACHE_BYTES:
                self._seen.clear()
                self._seen_bytes = 0
            self._seen.add(text)
            self._seen_bytes += len(text)

    def _fits(self, touch: Touch) -> bool:
        """Whether one more touch can be told; the first that cannot is a loss.

        No image has anything at a path beyond PATH_MAX: what nests folders is not followed there.
        """
        if len(touch[0]) > PATH_MAX:
            return False
        self._room -= len(touch[0])
        if len(self._said) < TOUCHES and self._room >= 0:
            return True
        if not self._full:
            self._full = True
            self.lose(f"more than {len(self._said)} paths were touched")
        return False

    # -- processes

    def _process(self, pid: bytes) -> Process:
        found = self._processes.get(pid)
        if found is None:
            # Its parent's fork has not returned yet, or returned a number of another namespace.
            if self._pending:
                found = next(reversed(self._pending.values()))
                self._adopted.add(pid)
            elif self._processes:
                found = next(reversed(self._processes.values())).copy()
            else:
                found = self._first
            if len(self._processes) >= PROCESSES:
                self.lose(f"more than {PROCESSES} processes are known")
                self._processes.clear()
                self._adopted.clear()
            self._processes[pid] = found
        return found

    def _child(self, pid: bytes, text: bytes) -> Process:
        parent = self._process(pid)
        return parent if b"CLONE_FS" in text else parent.copy()

    def _forked(self, pid: bytes, call: Call) -> None:
        child = call.result.split(None, 1)[0]
        state = self._pending.pop(pid, None) or self._child(pid, b",".join(call.args))
        if child.isdigit() and child not in self._adopted:
            self._processes[child] = state
        self._adopted.discard(child)

    # -- calls

    def _call(self, pid: bytes, call: Call) -> Iterator[Touch]:
        name = call.name
        if name in CALLS:
            yield from self._by_table(pid, call)
        elif name in OPENS:
            yield from self._open(pid, call)
        elif name in LISTS:
            path = descriptor(call.args[0])
            if path:
                yield path, LIST, OK
        elif name in SOCKETS:
            yield from self._socket(pid, call)
        elif name in FORKS:
            self._fixed = False
            self._forked(pid, call)
        elif name == b"fchdir":
            self._fixed = False
            path = descriptor(call.args[0])
            if path and outcome(call.result) == OK:
                self._process(pid).cwd = path
        elif name not in SILENT:
            self.unparsed += any(arg.startswith(b'"/') for arg in call.args)

    def _path(self, pid: bytes, call: Call, directory: int, index: int) -> bytes | None:
        """Place the path argument of a call; None when it names nothing new."""
        if index >= len(call.args):
            return None
        path = string(call.args[index])
        if not path:
            return None  # NULL, or "" with AT_EMPTY_PATH: the descriptor itself
        process = self._process(pid)
        base: bytes | None = process.cwd
        if directory >= 0:
            arg = call.args[directory]
            base = descriptor(arg)
            if arg.startswith(b"AT_FDCWD"):
                base = process.cwd = base or process.cwd
        elif path[:1] != b"/":
            self._fixed = False
        if base is None and path[:1] != b"/":
            return None
        return self._through_proc(absolute(path, base or b"/", process.root), process)

    def _through_proc(self, path: bytes, process: Process) -> bytes | None:
        """Undo /proc/PID/root and /proc/PID/cwd (proc(5)); a bare /proc/PID/fd/N says nothing."""
        if not path.startswith(b"/proc/"):
            return path
        found = _PROC.match(path)
        if not found:
            return path
        self._fixed = False
        who, what, rest = found.groups()
        if what.startswith(b"fd/"):
            return path if rest else None
        other = process if who in (b"self", b"thread-self") else self._processes.get(who, process)
        if not rest:
            return path
        return tidy((other.root if what == b"root" else other.cwd) + rest)

    def _by_table(self, pid: bytes, call: Call) -> Iterator[Touch]:
        how = outcome(call.result)
        if not how:
            return
        for access, directory, index in CALLS[call.name]:
            path = self._path(pid, call, directory, index)
            if path is None or (call.name == b"mount" and not call.args[index].startswith(b'"/')):
                continue
            if how != "exists":
                yield path, access, how
            elif access == EXEC:
                # ENOEXEC: a shell reads it next; ETXTBSY, EISDIR and the like: it is there.
                yield path, OPEN if b"ENOEXEC" in call.result else STAT, OK
            elif index == CALLS[call.name][0][2]:
                yield path, FAILED_AS[access], OK
            if how == OK and call.name in (b"chdir", b"chroot"):
                self._moved(pid, call.name, path)

    def _moved(self, pid: bytes, name: bytes, path: bytes) -> None:
        self._fixed = False
        if name == b"chdir":
            self._process(pid).cwd = path
        else:
            self._process(pid).root = path
            self._rooted = self._rooted or path != b"/"
            self._seen.clear()

    def _open(self, pid: bytes, call: Call) -> Iterator[Touch]:
        directory, index, flags = OPENS[call.name]
        how = outcome(call.result)
        if call.result.startswith((b"?", b"-1 ERESTART")):
            how = OK  # it was waiting inside open, as only an existing FIFO makes it
        if not how:
            return
        path = self._path(pid, call, directory, index)
        accesses = open_accesses(call.args[flags] if len(call.args) > flags else b"", how)
        real = descriptor(call.result) if how == OK else None
        for access in accesses:
            if path is not None:
                yield path, access, OK if how == "exists" else how
            if real is not None and real != path:
                yield tidy(real), access, OK

    def _socket(self, pid: bytes, call: Call) -> Iterator[Touch]:
        """connect(2) and bind(2) to a path; abstract names (sun_path=@"...") are none."""
        found = _SUN_PATH.search(call.args[1]) if len(call.args) > 1 else None
        if not found or not found.group(1):
            return
        access = SOCKETS[call.name]
        how = outcome(call.result) or ("exists" if call.result.startswith(b"?") else "")
        path, process = unescape(found.group(1)), self._process(pid)
        if not path.startswith(b"/"):
            self._fixed = False
        full = absolute(path, process.cwd, process.root)
        if how == "exists":
            yield full, STAT, OK
        elif how:
            yield full, access, how


# ---------------------------------------------------------------------------------- the program


def read_lines(source: int, watcher: Watcher, flush: Callable[[], None]) -> None:
    """Feed everything a descriptor yields until its end, in large pieces."""
    rest, skipping = b"", False
    while True:
        data = os.read(source, CHUNK)
        if not data:
            break
        lines = (rest + data).split(b"\n")
        rest = lines.pop()
        if skipping and lines:
            del lines[0]
            skipping = False
        if len(rest) > LINE or any(len(line) > LINE for line in lines):
            watcher.lose(f"a line of more than {LINE} bytes")
            lines = [line for line in lines if len(line) <= LINE]
        if skipping or len(rest) > LINE:
            rest, skipping = b"", True
        watcher.feed(lines)
        flush()
    watcher.end(rest)
    flush()


def answer(touch: Touch) -> str:
    """Write a touch as a line of JSON; bytes that are not UTF-8 become surrogate escapes."""
    path, access, how = touch
    text = path.decode("utf-8", "surrogateescape")
    return json.dumps({"path": text, "access": access, "outcome": how}) + "\n"


def opened(path: str) -> int:
    """Open a FIFO, waiting for its writer, or a regular file; raises OSError for anything else."""
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mode = os.fstat(place).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
            raise OSError(errno.EINVAL, "neither a FIFO nor a regular file")
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(place)


def watch(request: dict[str, Any]) -> None:
    """Answer one request: open the source (which opens the gate), read it to its end."""
    out: list[str] = []

    def flush() -> None:
        if out:
            sys.stdout.write("".join(out))
            out.clear()
        sys.stdout.flush()

    cwd = os.fsencode(request.get("cwd") or "/")
    watcher = Watcher(lambda t: out.append(answer(t)), cwd, int(request.get("root_pid", 1)))
    try:
        source = opened(request["source"])
        if request.get("announce"):
            print(json.dumps({"opened": True}), flush=True)
        read_lines(source, watcher, flush)
    except KeyboardInterrupt:
        watcher.lose("it was told to end before its source did")
    flush()
    done = {
        "done": True, "lines": watcher.lines, "unparsed": watcher.unparsed,
        "lost": watcher.lost, "truncated": watcher.truncated,
    }  # fmt: skip
    print(json.dumps(done), flush=True)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Read the request from stdin; returns the exit status of the contract."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        request = json.loads(sys.stdin.readline())
        str(request["source"])
    except (ValueError, KeyError, TypeError) as error:
        print(f"watch_strace: bad request: {error}", file=sys.stderr)
        return 2
    try:
        watch(request)
    except PermissionError as error:
        print(f"watch_strace: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"watch_strace: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
