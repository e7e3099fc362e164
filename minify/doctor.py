"""What this machine can do for minify, and how to get what it lacks. Looks, changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minify.engines.docker_connect import address, connect
from minify.engines.docker_traits import traits
from minify.engines.embedded_rootless import NOTE, entering
from minify.engines.embedded_runtime import RUNTIMES, complaint, this_machine
from minify.errors import MinifyError
from minify.probe import NOT_PERMITTED, probing
from minify.run import run

SPACE = 4 << 30  # bytes: a big image unpacked, and its copy
STRACE = (5, 3)  # the first with --seccomp-bpf
KERNEL = (4, 8)  # ptrace(2) inside a container: seccomp is checked after the tracer from there on
OTHER_SOCKETS = ("/run/podman/podman.sock",)  # not looked for by Docker's own programs
ANSWER = 5  # seconds an engine may take to say its version
BINFMT = Path("/proc/sys/fs/binfmt_misc")


@dataclass(frozen=True)
class Check:
    """One ability: whether it is there, what was found, and how to get it (empty when there)."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def examine(home: Path) -> tuple[Check, ...]:
    """Look at everything minify can make use of; `home` is its folder.

    Some of it is tried for real, which takes root and a few tenths of a second; nothing is left
    behind.
    """
    looks: tuple[Callable[[], Check], ...] = (
        *(lambda name=name: _runtime(home, name) for name in RUNTIMES),
        _strace,
        _fanotify,
        lambda: _overlay(home),
        _user_namespaces,
        lambda: _space(home),
        lambda: _program("skopeo", "fetches from and pushes to registries"),
        lambda: _program("nsenter", "reaches services of the embedded engine", "util-linux"),
        lambda: _program("zstd", "reads layers compressed with zstd"),
        _foreign_programs,
    )
    return (_kernel(), *_docker(), *(look() for look in looks))


def engine_of(checks: tuple[Check, ...]) -> str:
    """The engine that `minify build` takes by itself on this machine, nothing when none works."""
    found = {check.name: check.ok for check in checks}
    if not (found["kernel"] and found["strace"]):
        return ""
    if found["docker"]:
        return "docker"
    permitted = os.geteuid() == 0 or found["user namespaces"]
    return "embedded" if permitted and any(found[f"runtime {n}"] for n in RUNTIMES) else ""


def _kernel() -> Check:
    name = os.uname()
    ok = name.sysname == "Linux" and _numbers(name.release) >= KERNEL
    detail = f"{name.sysname} {name.release} {name.machine}"
    return Check("kernel", ok, detail, "" if ok else "use Linux 4.8 or newer")


def _docker() -> tuple[Check, ...]:
    """The engine, and where one answers what it is like."""
    hint = "start Docker or set DOCKER_HOST; without it use --engine embedded"
    other = next((p for p in OTHER_SOCKETS if Path(p).exists()), "")
    if other:
        hint = f"for the engine at {other}: export DOCKER_HOST=unix://{other}"
    where = ""
    try:
        where = address().replace("http+unix://", "unix://")
        if where.startswith("ssh://"):
            return (Check("docker", True, f"at {where} (not contacted)"),)
        with contextlib.closing(connect(timeout=ANSWER)) as client:
            version = client.version()
            found = Check("docker", True, f"{where} {str(version.get('Version', ''))[:40]}".strip())
            return (found, *_traits(client))
    except MinifyError as error:
        told = error.message if where in error.message else f"{where}: {error.message}"
        return (Check("docker", False, told, hint),)
    except Exception as error:  # what answers is no Docker engine: the SDK says so in many ways
        return (Check("docker", False, f"{where}: {str(error)[:160]}", hint),)


def _traits(client: Any) -> tuple[Check, ...]:
    """What the engine is like; an engine that keeps it to itself can be used all the same."""
    try:
        found = traits(client.info(), root=os.geteuid() == 0)
    except Exception as error:  # as above
        return (Check("docker store", True, f"the engine does not say: {str(error)[:160]}"),)
    return tuple(Check(t.name, not t.hint, t.detail, t.hint) for t in found)


def _runtime(home: Path, name: str) -> Check:
    path = shutil.which(name)
    hint = f"on Debian: apt-get install {name}; one of {', '.join(RUNTIMES)} is enough"
    if not path:
        return Check(f"runtime {name}", False, "not installed", hint)
    if os.geteuid() != 0:
        return Check(f"runtime {name}", True, f"{path} (not tried: that takes root)")
    try:
        home.mkdir(parents=True, exist_ok=True)
        why = complaint(home, this_machine(), path)
    except (MinifyError, OSError) as error:
        why = getattr(error, "message", "") or str(error)
    if why:
        return Check(f"runtime {name}", False, f"{path} does not work here: {why}", hint)
    return Check(f"runtime {name}", True, f"{path} works (tried)")


def _strace() -> Check:
    path = shutil.which("strace")
    hint = "on Debian: apt-get install strace (5.3 or newer)"
    if not path:
        return Check("strace", False, "not installed", hint)
    try:
        first = run([path, "--version"], timeout=10).stdout.partition("\n")[0]
    except MinifyError as error:
        return Check("strace", False, error.message, hint)
    ok = _numbers(first) >= STRACE
    return Check("strace", ok, f"{path}: {first}", "" if ok else hint)


def _fanotify() -> Check:
    hint = "run as root in the initial user namespace; without it strace alone watches, which "
    hint += "does not see files opened through io_uring"
    with probing("watch_fanotify") as probe:
        probe.request({"pid": os.getpid()})
        try:
            answer = probe.answer(20)
        except MinifyError as error:
            return Check("fanotify", False, error.message, hint)
        if answer is not None and answer.get("ready"):
            return Check("fanotify", True, "marks can be set (tried)")
        denied = probe.status() == NOT_PERMITTED
        why = "not permitted here" if denied else "does not work"
        return Check("fanotify", False, f"{why}: {probe.complaint}", hint)


def _overlay(home: Path) -> Check:
    known = "overlay" in _text("/proc/filesystems").split()
    kind = _file_system(home)
    hint = "modprobe overlay; without it layers are copied for every run, which takes seconds"
    if not known:
        return Check("overlayfs", False, "the kernel does not have it", hint)
    if kind == "overlay":
        hint = f"{home} is on an overlay itself: mount a volume there, or set MINIFY_HOME"
        return Check("overlayfs", False, "whiteouts cannot be stored on an overlay", hint)
    return Check("overlayfs", True, f"known to the kernel; {home} is on {kind or 'another kind'}")


def _user_namespaces() -> Check:
    name = "user namespaces"
    if _text("/proc/sys/user/max_user_namespaces").strip() in ("", "0"):
        return Check(name, False, "switched off", "sysctl user.max_user_namespaces=10000")
    if _text("/proc/sys/kernel/unprivileged_userns_clone").strip() == "0":
        hint = "sysctl kernel.unprivileged_userns_clone=1, or run as root"
        return Check(name, os.geteuid() == 0, "for root only", hint)
    if _text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").strip() == "1":
        hint = "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
        return Check(name, os.geteuid() == 0, "restricted by AppArmor", hint)
    if os.geteuid() == 0:
        return Check(name, True, "on")
    try:
        entering()
    except MinifyError as error:
        return Check(name, False, error.message, error.hint)
    return Check(name, True, f"on, with subordinate IDs (tried); {NOTE}")


def _space(home: Path) -> Check:
    place = home
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("disk space", False, f"{place}: {error.strerror}", "set MINIFY_HOME")
    detail = f"{free / 1e9:.1f} GB free for {home}"
    hint = "" if free >= SPACE else "make room, run: minify gc, or set MINIFY_HOME"
    return Check("disk space", free >= SPACE, detail, hint)


def _program(name: str, use: str, package: str = "") -> Check:
    path = shutil.which(name)
    if path:
        return Check(name, True, f"{path} ({use})")
    return Check(name, False, f"not installed ({use})",
                 f"on Debian: apt-get install {package or name}")  # fmt: skip


def _foreign_programs() -> Check:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(p.name.removeprefix("qemu-") for p in BINFMT.glob("qemu-*"))
    hint = "on Debian: apt-get install qemu-user-static; needed only to run other --platform images"
    if not names:
        return Check("other architectures", False, "no binfmt_misc handler of qemu", hint)
    return Check("other architectures", True, ", ".join(names))


def _file_system(path: Path) -> str:
    """The kind of file system a path is on (proc(5), mountinfo)."""
    best, kind = "", ""
    real = os.path.realpath(path)
    for line in _text("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        target = before.split()[4].encode().decode("unicode_escape")
        inside = real == target or real.startswith(target.rstrip("/") + "/")
        if inside and len(target) >= len(best):
            best, kind = target, after.split()[0]
    return kind


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", text)
    return tuple(int(n) for n in found.groups()) if found else (0,)
