"""Docker's default seccomp profile for a runtime specification, made from `seccomp.json`."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38
ADMIN = "CAP_SYS_ADMIN"
# uname(2) machine → the family in seccomp.json, and the architectures one kernel runs.
MACHINES = {
    "x86_64": ("x86", ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")),
    "aarch64": ("arm", ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")),
    "armv7l": ("arm", ("SCMP_ARCH_ARM",)),
    "i686": ("x86", ("SCMP_ARCH_X86",)),
    "ppc64le": ("ppc", ("SCMP_ARCH_PPC64LE",)),
    "s390x": ("s390", ("SCMP_ARCH_S390X", "SCMP_ARCH_S390")),
    "riscv64": ("riscv", ("SCMP_ARCH_RISCV64",)),
}


def profile(machine: str, release: str, capabilities: tuple[str, ...]) -> dict[str, Any]:
    """Make the `linux.seccomp` of a runtime specification (OCI runtime-spec, config-linux.md).

    `machine` and `release` are uname(2)'s. A machine that is unknown here gets what all have, for
    the architecture the runtime itself is of and no other.
    """
    rules = json.loads(importlib.resources.files(__package__).joinpath("seccomp.json").read_text())
    family, architectures = MACHINES.get(machine, ("", ()))
    names = set(rules["allow"]) | set(rules["architecture"].get(family, ()))
    for version, calls in rules["kernel"].items():
        if _version(release) >= _version(version):
            names |= set(calls)
    for capability, calls in rules["capability"].items():
        if capability in capabilities:
            names |= set(calls)
    conditional = [] if ADMIN in capabilities else _without_admin(rules, family)
    return {
        "defaultAction": ERRNO,
        "defaultErrnoRet": EPERM,
        **({"architectures": list(architectures)} if architectures else {}),
        "syscalls": [_allow(sorted(names)), *_by_argument(rules), *conditional],
    }


def _by_argument(rules: dict[str, Any]) -> list[dict[str, Any]]:
    made = []
    for name, rule in rules["equal"].items():
        for value in rule["values"]:
            made.append(_allow([name], rule["argument"], value, "SCMP_CMP_EQ"))
    return made


def _without_admin(rules: dict[str, Any], family: str) -> list[dict[str, Any]]:
    made = []
    for name, rule in rules["masked"].items():
        index = rule.get(f"argument_{family}", rule["argument"])
        one = _allow([name], index, rule["mask"], "SCMP_CMP_MASKED_EQ")
        one["args"][0]["valueTwo"] = rule["value"]
        made.append(one)
    nosys = sorted(rules["nosys"])
    return [*made, {"names": nosys, "action": ERRNO, "errnoRet": ENOSYS}]


def _allow(names: list[str], index: int = 0, value: int = 0, op: str = "") -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": ALLOW}
    return {**rule, "args": [{"index": index, "value": value, "op": op}]} if op else rule


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text)[:2])
