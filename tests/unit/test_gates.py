from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from minify.engines import Loaded
from minify.errors import Exit, UsageError
from minify.gates import GateResult, Packed, check_gates, judge_gates
from minify.lock import read_lock, write_lock
from minify.model import (
    Access,
    Evidence,
    Image,
    ImageConfig,
    KeepLevel,
    KeepSet,
    Kind,
    Outcome,
    OutputImage,
    Platform,
    Reason,
    Touch,
    Verdict,
)
from minify.options import Options
from minify.policies.forbidden import found, words_of
from minify.report import dropped_but_used, exit_of
from minify.sizes import bytes_of
from minify.tree import Tree
from tests.kit import Content, Exec, Link, tree

MB = 1_000_000


def packed(
    files: Mapping[str, Content], *, keep: list[str] | None = None, size: int = MB, user: str = ""
) -> Packed:
    made = tree(files)
    image = Image("i", "sha256:i", Platform(), ImageConfig(user=user), size=10 * MB)
    kept = [p for p in (keep or made.entries) if p != "/"]
    reasons = {p: (Reason("test", "test"),) for p in kept}
    output = OutputImage("sha256:o", "sha256:d", "{}", "layer", size, len(kept))
    return Packed(Loaded(image, made), KeepSet("sha256:i", KeepLevel.REACH, reasons), output)


def one(given: Packed, options: Options) -> GateResult:
    (result,) = judge_gates(given, options)
    return result


@pytest.mark.parametrize(
    ("text", "size"),
    [("10MB", 10**7), ("50MiB", 50 << 20), ("1.5 GB", 1_500_000_000), ("2k", 2000), (17, 17),
     ("17B", 17), ("1KiB", 1024), ("3Gi", 3 << 30)],
)  # fmt: skip
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "MB", "10 apples", "-1", "1iB", "1e6", "10MBB"])
def test_other_text_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="not a size"):
        bytes_of(text)


def test_max_size_counts_the_last_byte() -> None:
    given = packed({"/a": b""}, size=MB)
    assert one(given, Options(max_size=MB)).passed
    assert not one(given, Options(max_size=MB - 1)).passed
    assert not one(given, Options(max_size=0)).passed


def test_min_reduction_is_against_the_original() -> None:
    given = packed({"/a": b""}, size=MB)  # of 10 MB: 90 % smaller
    assert one(given, Options(min_reduction=90)).passed
    assert not one(given, Options(min_reduction=90.1)).passed
    assert "90.00 % smaller" in one(given, Options(min_reduction=50)).actual


def test_max_growth_is_against_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "minify.lock"
    given = packed({"/a": b""}, size=1_100_000)
    lock.write_text(write_lock(given.keep, MB))
    assert one(given, Options(max_growth=10, baseline=str(lock))).passed
    assert not one(given, Options(max_growth=9.9, baseline=str(lock))).passed
    assert one(given, Options(max_growth=10, baseline=str(lock))).actual.startswith("+10.00 %")


def test_the_lock_carries_the_size() -> None:
    keep = packed({"/a": b""}).keep
    assert read_lock(write_lock(keep, 123), "f").size == 123
    assert read_lock(write_lock(keep), "f").size == 0
    assert "size" not in write_lock(keep)


SHELLS: dict[str, Content] = {"/usr/bin/dash": Exec(b"\x7fELF"), "/usr/bin/sh": Link("dash")}


def test_a_link_is_a_shell_where_it_leads_to_one() -> None:
    (shell,) = words_of(["shell"])
    assert found(shell, tree(SHELLS), "") == ("/usr/bin/dash", "/usr/bin/sh")


def test_only_what_is_kept_counts() -> None:
    files = {**SHELLS, "/app": b"x"}
    assert one(packed(files, keep=["/app"]), Options(forbid=("shell",))).passed
    # The link alone leads nowhere: there is no shell.
    assert one(packed(files, keep=["/usr/bin/sh"]), Options(forbid=("shell",))).passed
    bad = one(packed(files), Options(forbid=("shell",)))
    assert not bad.passed
    assert bad.paths == ("/usr/bin/dash", "/usr/bin/sh")


def with_mode(path: str, kind: Kind, mode: int, **more: object) -> Tree:
    made = tree({path: b"x" if kind is Kind.FILE else None})
    entry = replace(made.entries[path], kind=kind, mode=mode, **more)  # type: ignore[arg-type]
    return Tree({**made.entries, path: entry}, made.opener)


KEY = b"# mine\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"
# A library that can read keys has the words in it, and is no key.
LIBRARY = b"\x7fELF\0-----BEGIN RSA PRIVATE KEY-----\0-----END RSA PRIVATE KEY-----\0"
CAPABILITY = (("security.capability", b""),)
CASES: list[tuple[str, Tree, bool]] = [
    ("shell", tree({"/bin/busybox": Exec(b"x")}), True),
    ("shell", tree({"/busybox/sh": Exec(b"x")}), True),
    ("shell", tree({"/nix/store/x-bash-5/bin/bash": Exec(b"x")}), True),
    ("shell", tree({"/usr/share/doc/bash": b"x"}), False),
    ("shell", tree({"/usr/bin/bash": b"not executable"}), False),
    ("shell", tree({"/usr/bin/bashful": Exec(b"x")}), False),
    ("package-manager", tree({"/sbin/apk": Exec(b"x")}), True),
    ("package-manager", tree({"/var/lib/dpkg/status": b"x"}), False),
    ("language-package-manager", tree({"/usr/bin/pip3.11": Exec(b"x")}), True),
    ("compiler", tree({"/usr/bin/x86_64-linux-gnu-gcc-12": Exec(b"x")}), True),
    ("compiler", tree({"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": Exec(b"x")}), False),
    ("download-tool", tree({"/usr/bin/curl": Exec(b"x")}), True),
    ("debugger", tree({"/usr/bin/strace": Exec(b"x")}), True),
    ("setuid", with_mode("/a", Kind.FILE, 0o4755), True),
    ("setuid", with_mode("/a", Kind.FILE, 0o2755), False),
    ("setgid", with_mode("/a", Kind.FILE, 0o2755), True),
    ("setgid", with_mode("/a", Kind.DIR, 0o2755), False),
    ("capabilities", with_mode("/a", Kind.FILE, 0o755, xattrs=CAPABILITY), True),
    ("capabilities", with_mode("/a", Kind.FILE, 0o755, xattrs=(("user.x", b""),)), False),
    ("world-writable", with_mode("/a", Kind.FILE, 0o666), True),
    ("world-writable", with_mode("/a", Kind.DIR, 0o777), True),
    ("world-writable", with_mode("/tmp", Kind.DIR, 0o1777), False),
    ("world-writable", tree({"/a": Link("/b"), "/b": b""}), False),
    ("device", with_mode("/a", Kind.CHAR, 0o600), True),
    ("device", with_mode("/a", Kind.FIFO, 0o600), False),
    ("secret", tree({"/home/app/.npmrc": b"x"}), True),
    ("secret", tree({"/root/.aws/credentials": b"x"}), True),
    ("secret", tree({"/app/aws/credentials": b"x"}), False),
    ("private-key", tree({"/etc/tls.key": KEY}), True),
    ("private-key", tree({"/etc/tls.key": KEY.replace(b"\n", b"\r\n")}), True),
    ("private-key", tree({"/lib/libssl.so": LIBRARY}), False),
    ("private-key", tree({"/etc/cert.pem": b"-----BEGIN CERTIFICATE-----\nMIIE\n"}), False),
    ("version-control", tree({"/app/.git/HEAD": b"x"}), True),
    ("version-control", tree({"/app/.gitignore": b"x"}), False),
]  # fmt: skip


@pytest.mark.parametrize(("word", "files", "bad"), CASES, ids=lambda v: str(v)[:24])
def test_what_a_word_forbids(word: str, files: Tree, bad: bool) -> None:
    (row,) = words_of([word])
    assert bool(found(row, files, "app")) is bad


@pytest.mark.parametrize(
    ("user", "bad"), [("", True), ("root", True), ("0", True), ("0:0", True), ("root:app", True),
                      ("app", False), ("1000:0", False), ("rooty", False)],
)  # fmt: skip
def test_root_user(user: str, bad: bool) -> None:
    (row,) = words_of(["root-user"])
    assert bool(found(row, tree({}), user)) is bad


def test_required_paths_are_followed_in_the_output() -> None:
    files: dict[str, Content] = {
        "/usr/lib/a.so": b"", "/lib": Link("usr/lib"), "/gone": b"", "/to": Link("/gone"),
    }  # fmt: skip
    given = packed(files, keep=["/usr/lib/a.so", "/lib", "/to"])
    wanted = ("/lib/a.so", "/usr/lib/*.so", "/gone", "/to", "/no/*")
    results = judge_gates(given, Options(require=wanted))
    assert [r.passed for r in results] == [True, True, False, False, False]


def test_all_failures_are_told_at_once() -> None:
    options = Options(max_size=1, min_reduction=99.9, forbid=("shell", "setuid"), require=("/x",))
    results = judge_gates(packed(SHELLS), options)
    assert [r.gate for r in results if not r.passed] == [
        "max-size", "min-reduction", "forbid shell", "require /x",
    ]  # fmt: skip


def test_gates_that_cannot_be_judged_are_told_first_and_together(tmp_path: Path) -> None:
    gone = str(tmp_path / "minify.lock")
    with pytest.raises(UsageError) as caught:
        check_gates(Options(forbid=("shel", "setuid", "nonsense"), max_growth=1, baseline=gone))
    assert "did you mean 'shell'" in caught.value.message
    assert "nonsense" in caught.value.message
    assert gone in caught.value.message


def test_a_lock_without_size_is_no_baseline(tmp_path: Path) -> None:
    lock = tmp_path / "minify.lock"
    lock.write_text(write_lock(packed({"/a": b""}).keep))
    with pytest.raises(UsageError, match="names no size"):
        check_gates(Options(max_growth=1, baseline=str(lock)))


def test_without_gates_there_is_nothing_to_judge() -> None:
    check_gates(Options())
    assert judge_gates(packed(SHELLS), Options()) == ()


def test_a_failed_verdict_comes_before_a_failed_gate() -> None:
    failed = (GateResult("max-size", False, "", ""),)
    evidence = Evidence("i", lost=1)
    assert exit_of(Verdict(False), evidence, failed) is Exit.VERDICT
    assert exit_of(Verdict(True), evidence, failed) is Exit.GATE
    assert exit_of(Verdict(False, skipped="off"), Evidence("i"), failed) is Exit.GATE
    assert exit_of(Verdict(True), evidence) is Exit.INCOMPLETE


def test_dropped_but_used_is_what_was_opened_or_executed() -> None:
    why = Reason("policy:docs", "documentation")
    keep = KeepSet("i", KeepLevel.REACH, {}, {"/a": why, "/b": why, "/c": why, "/d": why})
    touches = frozenset({
        Touch("/a", Access.OPEN), Touch("/b", Access.STAT), Touch("/kept", Access.OPEN),
        Touch("/c", Access.OPEN, Outcome.ABSENT), Touch("/d", Access.EXEC),
    })  # fmt: skip
    assert dropped_but_used(Evidence("i", touches), keep) == ("/a", "/d")
