"""The runtime specification of a container, equal to Docker's defaults. Pure: values in, JSON out.

Source: OCI runtime-spec v1.0 (config.md, config-linux.md) and what `docker run` of 20.10 shows from
inside: capabilities, mounts, masked and read-only paths, devices, environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minify.engines import Launch
from minify.engines.embedded_seccomp import profile
from minify.engines.embedded_users import Identity
from minify.errors import Unsupported
from minify.model import DEFAULT_PATH, Image, Mount, Plan
from minify.tree import Tree, normalise

CAPABILITIES = tuple(
    "CAP_" + name
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID",
        "SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
    )
)  # fmt: skip
MASKED = ("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
          "/proc/interrupts", "/sys/firmware", "/sys/devices/virtual/powercap")  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
NAMESPACES = ("mount", "uts", "ipc", "pid")
FILES = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
# Where a link or file of the image gives way, as with Docker; and the place of our own mounts.
OWN = ("/proc", "/dev", "/sys", *FILES, "/.minify")
DEVICES = (("c", 1, 3), ("c", 1, 5), ("c", 1, 7), ("c", 1, 8), ("c", 1, 9), ("c", 5, 0),
           ("c", 5, 1), ("c", 5, 2), ("c", 136, None))  # fmt: skip
HOSTS = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


@dataclass(frozen=True)
class Machine:
    """What of this machine goes into a specification: uname(2), cgroup version, rootless."""

    machine: str
    release: str
    unified_cgroup: bool = False
    rootless: bool = False
    open_files: int = 1048576


@dataclass(frozen=True)
class Sources:
    """Host paths the specification refers to: the root, the three files, the volumes by target."""

    rootfs: str
    files: str
    volumes: tuple[tuple[str, str], ...] = ()


def environment(plan: Plan, image: Image, launch: Launch, home: str) -> list[str]:
    """The environment: Docker's defaults, the image's, the plan's, the launch's; order kept."""
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": plan.hostname}
    for item in (*image.config.env, *plan.env, *launch.env):
        name, equals, value = item.partition("=")
        if equals:
            env[name] = value
        else:
            env.pop(name, None)
    # The runtime would set it where it is missing or empty; done here, all runtimes agree.
    env["HOME"] = env.get("HOME") or home
    return [f"{name}={value}" for name, value in env.items()]


def volumes_of(plan: Plan, image: Image, launch: Launch) -> tuple[str, ...]:
    """The image's volumes that nothing is mounted over."""
    taken = {normalise(m.target) for m in (*plan.mounts, *launch.mounts)}
    found = {normalise(v) for v in image.config.volumes}
    return tuple(sorted(found - taken - {"/"}))


def files_of(plan: Plan) -> dict[str, str]:
    """Contents of the files Docker mounts over /etc; no name server, as none can be reached."""
    return {
        "resolv.conf": "# no network\noptions timeout:1 attempts:1\n",
        "hostname": plan.hostname + "\n",
        "hosts": f"{HOSTS}127.0.0.1\t{plan.hostname}\n{_hosts(plan)}",
    }


def _hosts(plan: Plan) -> str:
    pairs = (line.partition(":")[::2] for line in plan.surroundings.hosts)
    return "".join(f"{address}\t{name}\n" for name, address in pairs)


def specification(
    plan: Plan, image: Image, launch: Launch, who: Identity, sources: Sources, machine: Machine
) -> dict[str, Any]:
    """Make the `config.json` of a bundle."""
    if plan.surroundings.network or plan.surroundings.companions:
        raise Unsupported("the embedded engine has no networks", hint="use Docker: --engine docker")
    limit = {"type": "RLIMIT_NOFILE", "hard": machine.open_files, "soft": machine.open_files}
    # For another user than root only the bounding set, which is what execve(2) would leave.
    sets = ("bounding",) if who.uid else ("bounding", "permitted", "effective")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)},
            "args": [*launch.prefix, *plan.command(image.config)],
            "env": environment(plan, image, launch, who.home),
            "cwd": normalise(plan.workdir or image.config.workdir or "/"),
            "capabilities": {name: list(CAPABILITIES) for name in sets},
            "rlimits": [limit],
            "noNewPrivileges": False,
        },
        "root": {"path": sources.rootfs, "readonly": False},
        "hostname": plan.hostname,
        "mounts": _mounts(plan, launch, sources, machine),
        "linux": _linux(machine, plan),
    }


def _linux(machine: Machine, plan: Plan) -> dict[str, Any]:
    names = [*NAMESPACES, *(["cgroup"] if machine.unified_cgroup else [])]
    linux: dict[str, Any] = {
        # No network namespace: the supervisor has made one, and the container stays in it.
        "namespaces": [{"type": name} for name in names],
        "maskedPaths": list(MASKED),
        "readonlyPaths": list(READ_ONLY),
        "seccomp": profile(machine.machine, machine.release, CAPABILITIES),
    }
    if not machine.rootless:
        linux["resources"] = {"devices": _devices(), **_resources(plan)}
    return {name: value for name, value in linux.items() if value is not None}


def _resources(plan: Plan) -> dict[str, Any]:
    """Limits as cgroups have them: a period of processor time in microseconds, and its quota."""
    around = plan.surroundings
    period = 100_000
    quota = {"period": period, "quota": round(around.cpus * period)}
    return {
        **({"memory": {"limit": around.memory}} if around.memory else {}),
        **({"cpu": quota} if around.cpus else {}),
        **({"pids": {"limit": around.pids}} if around.pids else {}),
    }


def _devices() -> list[dict[str, Any]]:
    allowed: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    allowed += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for kind, major, minor in DEVICES:
        numbers = {"major": major} if minor is None else {"major": major, "minor": minor}
        allowed.append({"allow": True, "type": kind, **numbers, "access": "rwm"})
    return allowed


def _mounts(plan: Plan, launch: Launch, sources: Sources, machine: Machine) -> list[dict[str, Any]]:
    flags = ["nosuid", "noexec", "nodev"]
    # In a user namespace with one ID only there is no GID 5 for the terminals.
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    fixed = [
        _mount("/proc", "proc", "proc", flags),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", terminals + ([] if machine.rootless else ["gid=5"])),
        _mount("/sys", "sysfs", "sysfs", [*flags, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", *flags]),
        _mount("/dev/mqueue", "mqueue", "mqueue", flags),
        _mount("/dev/shm", "tmpfs", "shm", [*flags, "mode=1777", "size=67108864"]),
    ]
    if machine.rootless and not machine.unified_cgroup:
        fixed = [m for m in fixed if m["type"] != "cgroup"]
    wanted = [Mount(path, f"{sources.files}/{path[5:]}", False) for path in FILES]
    wanted += [Mount(target, source, False) for target, source in sources.volumes]
    by_target = {normalise(m.target): m for m in (*wanted, *launch.mounts, *plan.mounts)}
    # A mount below another one has to come after it.
    order = sorted(by_target, key=lambda path: (path.count("/"), path))
    return fixed + [_user_mount(path, by_target[path]) for path in order]


def _user_mount(target: str, mount: Mount) -> dict[str, Any]:
    if not mount.source:
        return _mount(target, "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec"])
    options = ["rbind", "rprivate", "ro" if mount.read_only else "rw"]
    return _mount(target, "bind", mount.source, options)


def _mount(target: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def volume_source(tree: Tree, path: str) -> str:
    """Where a volume's first content is in the image, every symlink followed; empty: nowhere."""
    found = tree.resolve(path)
    return found.real if found.real and tree.is_dir(path) else ""
