"""Which OCI runtime works on this machine: found by trying, remembered until something changes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
from pathlib import Path

from minify.engines import Launch
from minify.engines.embedded_runs import claimed
from minify.engines.embedded_spec import Machine, Sources, specification
from minify.engines.embedded_users import Identity
from minify.errors import MinifyError, Unsupported
from minify.model import Image, ImageConfig, Plan, Platform
from minify.probe import probing
from minify.workspace import write_document

CAP_SYS_RESOURCE = 24
RUNTIMES = ("crun", "runc")
NOTHING = "/minify-tries-this"


def this_machine() -> Machine:
    """Look at the machine we are on."""
    kernel = os.uname()
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    rootless = not _has_every_id()
    return Machine(kernel.machine, kernel.release, unified, rootless, _open_files())


def _has_every_id() -> bool:
    """Whether we are root and in the initial user namespace (user_namespaces(7))."""
    with contextlib.suppress(OSError):
        text = Path("/proc/self/uid_map").read_text().split()
        return os.geteuid() == 0 and text == ["0", "0", "4294967295"]
    return os.geteuid() == 0


def _open_files() -> int:
    limit = 1048576
    with contextlib.suppress(OSError, ValueError):
        limit = min(limit, int(Path("/proc/sys/fs/nr_open").read_text()))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return limit if _may_raise_limits() or hard == resource.RLIM_INFINITY else min(limit, hard)


def _may_raise_limits() -> bool:
    """Whether we have CAP_SYS_RESOURCE in the initial user namespace (capabilities(7))."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    return _has_every_id() and bool(effective & 1 << CAP_SYS_RESOURCE)


def working_runtime(cache: Path, machine: Machine, wanted: str = "") -> str:
    """The path of the first runtime program that works; raises Unsupported, saying why none does.

    The answer is remembered in the cache by program and boot.
    """
    memory, complaints = _remembered(cache), list[str]()
    found = {name: shutil.which(name) for name in ((wanted,) if wanted else RUNTIMES)}
    for known in filter(None, found.values()):
        if _key(known) in memory:
            return known
    for name, path in found.items():
        why = complaint(cache, machine, path) if path else "not installed"
        if path and not why:
            # Only success is remembered: what fails may be put right meanwhile.
            with contextlib.suppress(MinifyError):
                write_document(
                    cache / "runtime.json", json.dumps([*memory, _key(path)]), private=True
                )
            return path
        complaints.append(f"{name}: {why}")
    raise Unsupported(
        "no OCI runtime works here: " + "; ".join(complaints),
        hint="install one, on Debian: apt-get install runc; see: minify doctor",
    )


def _key(path: str) -> str:
    found = os.stat(path)
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{path} {found.st_mtime_ns} {found.st_size} {boot} {os.geteuid()}"


def _remembered(cache: Path) -> list[str]:
    try:
        found = json.loads((cache / "runtime.json").read_text())
    except (OSError, ValueError):
        return []
    return [str(key) for key in found][-8:] if isinstance(found, list) else []


def complaint(cache: Path, machine: Machine, runtime: str) -> str:
    """Try a runtime on an empty root: it works when all it misses is the program to execute.

    Returns what else it complains about, empty when it works.
    """
    plan = Plan("", argv=(NOTHING,), env=())
    image = Image("", "", Platform(), ImageConfig())
    with claimed(cache / "containers") as folder, probing("run_container") as probe:
        for name in ("rootfs", "state", "lower", "files", "writable"):
            (folder / name).mkdir(mode=0o755)
        for name in ("resolv.conf", "hostname", "hosts"):
            (folder / "files" / name).write_text("")
        sources = Sources(str(folder / "rootfs"), str(folder / "files"))
        spec = specification(plan, image, Launch(), Identity(), sources, machine)
        (folder / "config.json").write_text(json.dumps(spec))
        probe.request(
            {
                "id": f"minify-{folder.name}",
                "bundle": str(folder),
                "runtime": [runtime, "--root", str(folder / "state")],
                "lower": [str(folder / "lower")],
                "ways": ["overlay", "tmpfs", "copy"],
                "links": str(folder / "links"),
                "writable": str(folder / "writable"),
                "rootfs": str(folder / "rootfs"),
                "root": {"uid": 0, "gid": 0, "mode": 0o755},
                "userxattr": machine.rootless,
                "volumes": [],
                "empty_files": [],
                "sysctls": {},
                "log": str(folder / "output"),
                "log_limit": 1 << 20,
            }
        )
        answer = probe.answer(60.0) or {}
        error = str(answer.get("error") or probe.complaint or "no answer")
    return "" if "created" in answer or NOTHING in error else error
