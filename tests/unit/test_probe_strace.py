"""The strace parser: real output recorded from real programs, and the oddities one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probes import watch_strace as probe

FIXTURES = Path(__file__).parent / "probe_fixtures"


def watch(text: bytes, *, cwd: bytes = b"/", root_pid: int = 1) -> tuple[set[probe.Touch], object]:
    touches: list[probe.Touch] = []
    watcher = probe.Watcher(touches.append, cwd, root_pid)
    *lines, rest = text.split(b"\n")
    watcher.feed(lines)
    watcher.end(rest)
    assert len(touches) == len(set(touches)), "every touch is said once"
    return set(touches), watcher


def seen(*lines: str, cwd: bytes = b"/") -> set[tuple[str, str, str]]:
    touches, watcher = watch("".join(f"{line}\n" for line in lines).encode(), cwd=cwd)
    assert watcher.unparsed == 0  # type: ignore[attr-defined]
    return {(p.decode("utf-8", "surrogateescape"), a, o) for p, a, o in touches}


@pytest.mark.parametrize("name", ["nginx", "nginx_light", "shell", "chroot"])
def test_recorded_output_gives_the_golden_touches(name: str) -> None:
    touches, watcher = watch((FIXTURES / f"{name}.strace").read_bytes())
    golden = (FIXTURES / f"{name}.touches").read_text().splitlines(keepends=True)
    assert sorted(map(probe.answer, touches)) == golden
    assert (watcher.unparsed, watcher.lost) == (0, 0)  # type: ignore[attr-defined]


def test_recorded_names_come_out_byte_for_byte() -> None:
    touches, _ = watch((FIXTURES / "shell.strace").read_bytes())
    assert (b"/tmp/caf\xc3\xa9 <a> \xff", "write", "ok") in touches
    text = probe.answer((b"/tmp/caf\xc3\xa9 <a> \xff", "write", "ok"))
    assert json.loads(text)["path"] == "/tmp/café <a> \udcff"


def test_recorded_chroot_and_its_children() -> None:
    touches, _ = watch((FIXTURES / "chroot.strace").read_bytes())
    paths = {path for path, access, _ in touches if access == "stat"}
    assert {b"/usr/bin/true", b"/usr/share/doc", b"/usr/lib", b"/usr/sbin"} <= paths
    assert b"/usr/share/man" in paths
    assert (b"/usr/share/base-files/passwd", "open", "absent") in touches


@pytest.mark.parametrize(
    ("line", "touch"),
    [
        ('open("/a", O_RDONLY) = 3</a>', ("/a", "open", "ok")),
        ('openat(3</d>, "a", O_RDONLY) = 4</d/a>', ("/d/a", "open", "ok")),
        ('openat(AT_FDCWD</w>, "a", O_WRONLY|O_APPEND) = 4</w/a>', ("/w/a", "write", "ok")),
        ('openat(AT_FDCWD</w>, "/d", O_RDONLY|O_DIRECTORY) = 4</d>', ("/d", "list", "ok")),
        ('openat(AT_FDCWD</w>, "/d", O_RDONLY|O_PATH) = 4</d>', ("/d", "stat", "ok")),
        (
            'openat(AT_FDCWD</w>, "/a", O_WRONLY|O_CREAT|O_EXCL, 0600) = -1 EEXIST (File exists)',
            ("/a", "stat", "ok"),
        ),
        (
            'openat2(AT_FDCWD</w>, "a", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 3</w/a>',
            ("/w/a", "open", "ok"),
        ),
        ('access("/a", R_OK) = -1 EACCES (Permission denied)', ("/a", "stat", "denied")),
        ('stat("/a/b", 0x7ffd) = -1 ENOTDIR (Not a directory)', ("/a/b", "stat", "absent")),
        ('statx(AT_FDCWD</w>, "a", 0, STATX_ALL, {stx_mask=1}) = 0', ("/w/a", "stat", "ok")),
        ('readlink("/a", "b/c", 4095) = 3', ("/a", "link", "ok")),
        ('readlink("/a", 0x7f, 4095) = -1 EINVAL (Invalid argument)', ("/a", "stat", "ok")),
        ('execve("/a", ["a", "b, c)"], 0x7f /* 3 vars */) = 0', ("/a", "exec", "ok")),
        ('execve("/a", ["a"], 0x7f /* 3 vars */) = -1 ENOEXEC (x)', ("/a", "open", "ok")),
        ('execve("/a", ["a"], 0x7f /* 1 var */) = -1 ENOENT (No)', ("/a", "exec", "absent")),
        ('execveat(3</d>, "a", ["a"], 0x7f /* 3 vars */, 0) = 0', ("/d/a", "exec", "ok")),
        ("getdents64(3</d>, 0x55 /* 2 entries */, 32768) = 48", ("/d", "list", "ok")),
        (
            'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/s"}, 110) = -1 ECONNREFUSED (x)',
            ("/s", "stat", "ok"),
        ),
        ('bind(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/s"}, 110) = 0', ("/s", "write", "ok")),
        ('mkdir("/d", 0777) = -1 EEXIST (File exists)', ("/d", "stat", "ok")),
        ('utimensat(AT_FDCWD</>, "/a", [UTIME_NOW, UTIME_OMIT], 0) = 0', ("/a", "write", "ok")),
        ('inotify_add_watch(4<anon_inode:inotify>, "/d", IN_CREATE) = 1', ("/d", "stat", "ok")),
        ('mount("tmpfs", "/m", "tmpfs", 0, NULL) = 0', ("/m", "stat", "ok")),
        ('open_tree(AT_FDCWD</>, "/m", OPEN_TREE_CLONE) = 3</m>', ("/m", "stat", "ok")),
        ('move_mount(3</x>, "", AT_FDCWD</>, "/m", 0x4) = 0', ("/m", "stat", "ok")),
        ('fanotify_mark(3, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD</>, "/m") = 0', ("/m", "stat", "ok")),
        ('quotactl(QCMD(Q_GETQUOTA, USRQUOTA), "/dev/sda", 0, {}) = 0', ("/dev/sda", "stat", "ok")),
        (r'stat("/caf\303\251\n\"\\", 0x7f) = 0', ('/café\n"\\', "stat", "ok")),
        (r'stat("/\x66\x6f", 0x7f) = 0', ("/fo", "stat", "ok")),
        ('stat("//a/./b//../c/", 0x7f) = 0', ("/a/b/../c", "stat", "ok")),
        ('stat("/x) = -1 ENOENT", 0x7f) = 0', ("/x) = -1 ENOENT", "stat", "ok")),
        ('open("/fifo", O_RDONLY) = ? ERESTARTSYS (To be restarted)', ("/fifo", "open", "ok")),
    ],
)
def test_one_call_one_touch(line: str, touch: tuple[str, str, str]) -> None:
    assert seen(f"7     {line}") == {touch}


@pytest.mark.parametrize(
    "line",
    [
        'newfstatat(3</a>, "", {st_mode=S_IFREG|0644, ...}, AT_EMPTY_PATH) = 0',
        'connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"abstract"}, 20) = 0',
        "connect(3<socket:[1]>, {sa_family=AF_INET, sin_port=htons(80)}, 16) = 0",
        'openat(AT_FDCWD</>, "/a", O_RDONLY) = -1 EMFILE (Too many open files)',
        'stat("/a", 0x7f) = ?',
        "utimensat(4</a>, NULL, NULL, 0) = 0",
        'newfstatat(4</gone>(deleted), "a", 0x7f, 0) = -1 ENOENT (No such file or directory)',
        'newfstatat(AT_FDCWD</>, "/proc/self/fd/4", {st_mode=S_IFREG|0644}, 0) = 0',
        "set_robust_list(0x7f, 24) = 0",
        "gettid() = 7",
        "openat(AT_FDCWD</>, NULL, O_RDONLY) = -1 EFAULT (Bad address)",
        'getcwd("/", 4096) = 2',
    ],
)
def test_calls_that_add_nothing(line: str) -> None:
    assert seen(f"7 {line}") == set()


def test_an_open_through_a_symlink_has_both_names() -> None:
    touches = seen('7 open("/lib/a", O_RDONLY) = 3</usr/lib/a>')
    assert touches == {("/lib/a", "open", "ok"), ("/usr/lib/a", "open", "ok")}


def test_opening_read_write_needs_the_content_unless_it_is_thrown_away() -> None:
    both = seen('7 open("/a", O_RDWR|O_CREAT, 0600) = 3</a>')
    assert both == {("/a", "open", "ok"), ("/a", "write", "ok")}
    assert seen('7 open("/a", O_RDWR|O_CREAT|O_TRUNC, 0600) = 3</a>') == {("/a", "write", "ok")}


def test_a_renamed_file_is_needed_under_its_old_name() -> None:
    assert seen('7 rename("/a", "/b") = 0') == {
        ("/a", "open", "ok"),
        ("/a", "write", "ok"),
        ("/b", "write", "ok"),
    }


def test_unfinished_calls_of_several_processes_are_put_together() -> None:
    assert seen(
        '7 openat(AT_FDCWD</>, "/a", O_RDONLY <unfinished ...>',
        '8 newfstatat(AT_FDCWD</>, "/b",  <unfinished ...>',
        "7 <... openat resumed>) = -1 ENOENT (No such file or directory)",
        "8 <... newfstatat resumed>{st_mode=S_IFREG|0644, ...}, 0) = 0",
        "7 +++ exited with 0 +++",
    ) == {("/a", "open", "absent"), ("/b", "stat", "ok")}


def test_an_open_that_waits_until_the_end_found_its_fifo() -> None:
    assert seen('7 openat(AT_FDCWD</>, "/f", O_RDONLY <unfinished ...>') == {("/f", "open", "ok")}


def test_execve_by_a_thread_takes_over_the_leader() -> None:
    assert seen(
        '9 execve("/a", ["a"], 0x7f /* 1 var */ <unfinished ...>',
        "7 +++ superseded by execve in pid 9 +++",
        "7 <... execve resumed>) = 0",
    ) == {("/a", "exec", "ok")}


def test_children_stand_where_their_parent_stood() -> None:
    assert seen(
        '7 chdir("/w") = 0',
        "7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
        '8 access("early", F_OK) = 0',
        '8 chdir("sub") = 0',
        "7 <... clone resumed>, child_tidptr=0x7f) = 8",
        '8 access("late", F_OK) = 0',
        '7 access("parent", F_OK) = 0',
    ) == {
        ("/w", "stat", "ok"),
        ("/w/early", "stat", "ok"),
        ("/w/sub", "stat", "ok"),
        ("/w/sub/late", "stat", "ok"),
        ("/w/parent", "stat", "ok"),
    }


def test_threads_share_their_working_directory() -> None:
    touches = seen(
        "7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, stack=0x7f}, 88) = 8",
        '8 chdir("/w") = 0',
        '7 access("a", F_OK) = 0',
    )
    assert ("/w/a", "stat", "ok") in touches


def test_the_same_line_means_another_path_after_a_move() -> None:
    touches = seen(
        '7 access("a", F_OK) = 0',
        '7 access("/b", F_OK) = 0',
        "7 fchdir(3</w>) = 0",
        '7 access("a", F_OK) = 0',
        '7 chroot("/r") = 0',
        '7 access("/b", F_OK) = 0',
    )
    paths = {path for path, _, _ in touches}
    assert paths == {"/a", "/b", "/w/a", "/r", "/r/b"}


def test_nothing_escapes_a_new_root_by_dots() -> None:
    touches = seen('7 chroot("/r") = 0', '7 access("/../../etc", F_OK) = 0')
    assert ("/r/etc", "stat", "ok") in touches


def test_paths_through_proc_are_undone() -> None:
    touches = seen(
        '7 chdir("/w") = 0',
        '7 access("/proc/self/root/etc/a", F_OK) = 0',
        '9 access("/proc/7/cwd/b", F_OK) = 0',
        '7 access("/proc/meminfo", F_OK) = 0',
    )
    paths = {path for path, _, _ in touches}
    assert paths == {"/w", "/etc/a", "/w/b", "/proc/meminfo"}


@pytest.mark.parametrize(
    "line",
    ["strace: something went wrong", "7 ???? 12", "7 <... open resumed>) = 3", '7 open("/a", O_RD'],
)
def test_what_cannot_be_parsed_is_counted(line: str) -> None:
    touches, watcher = watch(line.encode() + b"\n")
    assert touches == set()
    assert watcher.unparsed == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("ending", "lost"), [("", 1), ("1 +++ killed by SIGKILL +++\n", 0)])
def test_a_line_without_its_end_is_lost_unless_the_application_had_ended(
    ending: str, lost: int
) -> None:
    _, watcher = watch(f'{ending}7 open("/a'.encode())
    assert watcher.truncated  # type: ignore[attr-defined]
    assert watcher.lost == lost  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("head", "touches"),
    [
        ("rt_sigprocmask(SIG_SETMASK, [HUP INT USR1 USR2 TERM], ", set()),
        ('openat(AT_FDCWD</>, "/pipe", O_RDONLY', {(b"/pipe", "open", "ok")}),
        ('readlink("/a", ', set()),
    ],
)
def test_a_call_under_way_when_strace_was_killed_is_not_lost(
    head: str, touches: set[probe.Touch]
) -> None:
    found, watcher = watch(f"7     {head}".encode())
    assert found == touches
    assert watcher.truncated  # type: ignore[attr-defined]
    assert watcher.lost == 0  # type: ignore[attr-defined]


def test_the_plain_shape_and_the_full_parser_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [path.read_bytes() for path in sorted(FIXTURES.glob("*.strace"))]
    quick = [watch(text)[0] for text in recorded]
    monkeypatch.setattr(probe, "_PLAIN", probe.re.compile(rb"(?!)"))
    assert [watch(text)[0] for text in recorded] == quick
