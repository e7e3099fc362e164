"""What a container asked for beyond its limits, as its control groups count it (cgroups(7)).

Both versions: `pids.events` says how often a new process was refused, `memory.events` (version 2)
or `memory.oom_control` (version 1) how often one was killed for want of memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
FILES = {"pids": "pids.events", "memory": "memory.events", "memory v1": "memory.oom_control"}


def refused(pid: int, root: Path = CGROUPS, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """What was refused to the groups of a process so far, in words; nothing where none can tell."""
    found: dict[str, int] = {}
    for folder in _groups(pid, root, proc):
        for name in FILES.values():
            for key, count in _counts(folder / name):
                found[key] = max(found.get(key, 0), count)
    words = []
    if times := found.get("max"):
        words.append(f"it was refused new processes {times} times: give it more (--pids)")
    if times := found.get("oom_kill"):
        words.append(
            f"{times} of its processes were killed for want of memory: give it more (--memory)"
        )
    return tuple(words)


def _groups(pid: int, root: Path, proc: Path) -> Iterator[Path]:
    """The folders of a process's groups that count processes and memory."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if ".." in path.split("/"):
            continue
        if not controllers:
            yield root / path.lstrip("/")
        for name in {"pids", "memory"} & set(controllers.split(",")):
            yield root / name / path.lstrip("/")


def _counts(file: Path) -> Iterator[tuple[str, int]]:
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            key, _, count = line.partition(" ")
            # memory.events has a "max" of its own, which harms nobody.
            if key == "oom_kill" or (key == "max" and file.name == FILES["pids"]):
                yield key, int(count)
