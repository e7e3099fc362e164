"""The runtime specification: Docker's defaults, made from values alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minify.engines import Launch
from minify.engines.embedded_seccomp import profile
from minify.engines.embedded_spec import (
    CAPABILITIES,
    Machine,
    Sources,
    environment,
    specification,
    volume_source,
    volumes_of,
)
from minify.engines.embedded_users import Identity, identity
from minify.errors import EngineError
from minify.model import Image, ImageConfig, Mount, Plan, Platform
from tests.kit import Link, tree

MACHINE = Machine("x86_64", "6.1.0")
SOURCES = Sources("/run/rootfs", "/run/files", (("/data", "/run/volume-0"),))


def image(**config: Any) -> Image:
    return Image("app", "sha256:0", Platform(), ImageConfig(**config))


def spec(plan: Plan | None = None, launch: Launch | None = None, **more: Any) -> dict[str, Any]:
    machine, who = more.pop("machine", MACHINE), more.pop("who", Identity())
    return specification(
        plan or Plan("app"), image(**more), launch or Launch(), who, SOURCES, machine
    )


# ---------------------------------------------------------------- what runs


@pytest.mark.parametrize(
    ("plan", "argv"),
    [
        (Plan(""), ("/entry", "a", "cmd")),
        (Plan("", argv=("x", "y")), ("/entry", "a", "x", "y")),
        (Plan("", entrypoint=("/other",)), ("/other",)),
        (Plan("", entrypoint=("/other",), argv=("x",)), ("/other", "x")),
    ],
)
def test_argv_as_docker_puts_it_together(plan: Plan, argv: tuple[str, ...]) -> None:
    assert plan.command(image(entrypoint=("/entry", "a"), cmd=("cmd",)).config) == argv


def test_environment_in_dockers_order() -> None:
    plan = Plan("", env=("B=plan", "NEW=1", "GONE"), hostname="box")
    found = environment(
        plan, image(env=("PATH=/p", "A=1", "B=image", "GONE=1", "E=")), Launch(env=("L=x",)), "/h"
    )
    assert found == [
        "PATH=/p", "HOSTNAME=box", "A=1", "B=plan", "E=", "NEW=1", "L=x", "HOME=/h",
    ]  # fmt: skip
    assert "HOME=/mine" in environment(Plan(""), image(env=("HOME=/mine",)), Launch(), "/h")
    assert environment(Plan(""), image(), Launch(), "/")[0].startswith("PATH=/usr/local/sbin:")


def test_the_process() -> None:
    launch = Launch(prefix=("/gate", "--"))
    made = spec(Plan("app", argv=("run",), workdir="/w/../x/"), launch, who=Identity(7, 8, (8, 9)))
    process = made["process"]
    assert process["args"] == ["/gate", "--", "run"]
    assert process["cwd"] == "/x"
    assert process["user"] == {"uid": 7, "gid": 8, "additionalGids": [8, 9]}
    assert process["capabilities"] == {"bounding": list(CAPABILITIES)}
    assert (process["terminal"], process["noNewPrivileges"]) == (False, False)
    assert set(spec()["process"]["capabilities"]) == {"bounding", "permitted", "effective"}
    assert len(CAPABILITIES) == 14
    json.dumps(made)


# ---------------------------------------------------------------- mounts


def test_mounts_come_after_those_they_lie_in() -> None:
    plan = Plan("", mounts=(Mount("/a/b/c", "/1"), Mount("/a", "/2"), Mount("/a/b", "", False)))
    launch = Launch(mounts=(Mount("/.minify", "/kit"),))
    mounts = spec(plan, launch)["mounts"]
    targets = [m["destination"] for m in mounts]
    assert targets.index("/a") < targets.index("/a/b") < targets.index("/a/b/c")
    assert targets[0] == "/proc" and "/data" in targets and "/.minify" in targets
    by_target = {m["destination"]: m for m in mounts}
    assert by_target["/a"]["options"] == ["rbind", "rprivate", "ro"]
    assert by_target["/a/b"]["type"] == "tmpfs"
    assert by_target["/etc/hosts"]["source"] == "/run/files/hosts"


def test_a_mount_of_the_user_replaces_a_volume_and_a_file() -> None:
    plan = Plan("", mounts=(Mount("/data/", "/mine"), Mount("/etc/hosts", "/my/hosts")))
    found = volumes_of(plan, image(volumes=("/data", "/other/", "/")), Launch())
    assert found == ("/other",)
    mounts = spec(plan)["mounts"]
    assert [m["source"] for m in mounts if m["destination"] == "/data"] == ["/mine"]
    assert [m["source"] for m in mounts if m["destination"] == "/etc/hosts"] == ["/my/hosts"]


def test_a_volumes_content_is_found_through_symlinks_inside_the_image() -> None:
    files = tree({"/real/data/f": "x", "/link": Link("/real"), "/up": Link("../../etc"), "/f": "x"})
    assert volume_source(files, "/link/data") == "/real/data"
    assert volume_source(files, "/up") == ""
    assert volume_source(files, "/none") == ""
    assert volume_source(files, "/f") == ""


@pytest.mark.parametrize("unified", [True, False])
@pytest.mark.parametrize("rootless", [True, False])
def test_machines(unified: bool, rootless: bool) -> None:
    made = spec(machine=Machine("aarch64", "5.10", unified, rootless))
    namespaces = {n["type"] for n in made["linux"]["namespaces"]}
    assert ("cgroup" in namespaces) is unified
    assert "network" not in namespaces  # the supervisor's own
    assert ("resources" in made["linux"]) is not rootless
    targets = [m["destination"] for m in made["mounts"]]
    assert ("/sys/fs/cgroup" in targets) is (unified or not rootless)


# ---------------------------------------------------------------- seccomp


def allowed(found: dict[str, Any]) -> set[str]:
    rules = found["syscalls"]
    return {
        n for r in rules if r["action"] == "SCMP_ACT_ALLOW" and "args" not in r for n in r["names"]
    }


def test_what_the_seccomp_profile_allows_and_refuses() -> None:
    found = profile("x86_64", "6.1.0-13-amd64", CAPABILITIES)
    assert found is not None
    names = allowed(found)
    assert {"openat", "execve", "ptrace", "arch_prctl", "chroot", "statx", "seccomp"} <= names
    refused = {"mount", "unshare", "setns", "keyctl", "bpf", "reboot", "init_module", "clone",
               "clone3", "io_uring_setup", "kexec_load", "userfaultfd", "socket"}  # fmt: skip
    assert not refused & names
    assert found["defaultErrnoRet"] == 1
    clone3 = next(r for r in found["syscalls"] if r["names"] == ["clone3"])
    assert clone3["errnoRet"] == 38  # ENOSYS: the C library falls back to clone


def test_the_seccomp_profile_follows_kernel_capabilities_and_machine() -> None:
    old = profile("x86_64", "4.4.0", CAPABILITIES)
    admin = profile("x86_64", "6.1.0", (*CAPABILITIES, "CAP_SYS_ADMIN"))
    arm = profile("aarch64", "6.1.0", CAPABILITIES)
    assert old and admin and arm
    assert "ptrace" not in allowed(old)
    assert {"mount", "clone", "clone3", "unshare"} <= allowed(admin)
    assert not any(r["names"] == ["clone3"] and "errnoRet" in r for r in admin["syscalls"])
    assert "arch_prctl" not in allowed(arm)
    s390 = profile("s390x", "6.1.0", CAPABILITIES)
    assert s390 is not None
    clone = next(r for r in s390["syscalls"] if r["names"] == ["clone"])
    assert clone["args"][0]["index"] == 1  # the arguments of clone(2) are swapped there


# ---------------------------------------------------------------- users


PASSWD = (
    "# comment\nroot:x:0:0:root:/root:/bin/sh\nbroken\nodd:x:many:1::/:\n"
    "app:x:1000:1001::/home/app:\n"
    "7:x:70:71::/seven:\napp:x:5:5::/second:\n"
)
GROUP = "root:x:0:\napp:x:1001:\nwheel:x:10:root,app\nbroken:x:one:app\naudio:x:29:app\n7:x:77:\n"
TREE = tree({"/etc/passwd": PASSWD, "/etc/group": GROUP})


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("", Identity(0, 0, (0, 10), "/root", "root")),
        ("root", Identity(0, 0, (0, 10), "/root", "root")),
        ("app", Identity(1000, 1001, (10, 29, 1001), "/home/app", "app")),
        ("1000", Identity(1000, 1001, (10, 29, 1001), "/home/app", "app")),
        ("app:audio", Identity(1000, 29, (29,), "/home/app", "app")),
        ("app:50", Identity(1000, 50, (50,), "/home/app", "app")),
        ("7", Identity(7, 0, (0,), "/", "")),
        ("7:7", Identity(7, 7, (7,), "/", "")),
        ("4294967294", Identity(4294967294, 0, (0,), "/", "")),
    ],
)
def test_users(user: str, wanted: Identity) -> None:
    assert identity(TREE, user) == wanted


@pytest.mark.parametrize(
    "user", ["nobody", "odd", "app:none", "4294967295", "-1", "٣", "app:broken"]
)
def test_users_there_are_none_of(user: str) -> None:
    with pytest.raises(EngineError):
        identity(TREE, user)


def test_users_of_an_image_without_files() -> None:
    assert identity(tree({"/app": "x"}), "") == Identity(0, 0, (0,), "/", "")
    looping = tree({"/etc/passwd": Link("passwd")})
    assert identity(looping, "5:6") == Identity(5, 6, (6,), "/", "")
    binary = tree({"/etc/passwd": b"\xff\x00:::::\n\nroot:x:0:0:::\n"})
    assert identity(binary, "root").uid == 0


def test_an_unknown_machine_is_filtered_too() -> None:
    vax = profile("vax", "6.1.0", CAPABILITIES)
    assert "architectures" not in vax  # the runtime's own
    assert vax["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "openat" in allowed(vax)
    assert not {"mount", "arch_prctl", "bpf"} & allowed(vax)


def test_sockets_of_the_kernels_cryptography_and_of_other_machines_are_refused() -> None:
    rules = [r for r in profile("x86_64", "6.1.0", CAPABILITIES)["syscalls"]
             if r["names"] == ["socket"]]  # fmt: skip
    families = {r["args"][0]["value"] for r in rules if r["args"][0]["op"] == "SCMP_CMP_EQ"}
    assert len(rules) == len(families)
    assert {1, 2, 10, 16, 17} <= families  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET
    assert not {38, 40} & families  # AF_ALG, AF_VSOCK
