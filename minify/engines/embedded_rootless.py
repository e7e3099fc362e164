"""The embedded engine without root: the whole of minify as root of a user namespace.

An ordinary user with subordinate IDs (subuid(5)) can be root over 65536 IDs of its own, which is
all that unpacking owners, mounting overlays and running containers takes. The kernel refuses
fanotify marks there (fanotify_init(2)), so strace watches alone. That is still sound: what strace
does not see is what io_uring opens, and the containers' seccomp profile refuses io_uring.
"""

from __future__ import annotations

import os
import shutil

from minify.errors import Unsupported
from minify.run import program, run

ENTER = ("--user", "--map-auto", "--map-root-user", "--")
NOTE = (
    "rootless: fanotify is not permitted in a user namespace, strace alone watched; "
    "io_uring, which it does not see, is refused in the container; "
    "memory and processes are not limited"
)


def entering() -> tuple[str, ...]:
    """An argv prefix that makes a program root of a user namespace; empty when we are root.

    Raises Unsupported, saying what is missing.
    """
    if os.geteuid() == 0:
        return ()
    if not shutil.which("newuidmap") or not shutil.which("newgidmap"):
        raise Unsupported(
            "the embedded engine needs root, or subordinate IDs, and newuidmap is not installed",
            hint="on Debian: apt-get install uidmap",
        )
    prefix = (program("unshare"), *ENTER)
    tried = run([*prefix, "true"], timeout=30, check=False)
    if tried.returncode != 0:
        reason = (tried.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise Unsupported(
            f"the embedded engine needs root, or a user namespace, and that fails: {reason}",
            hint="as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 YOU; "
            "it takes util-linux 2.38; see: minify doctor",
        )
    return prefix


def check_root() -> None:
    """Raise Unsupported unless we are root, be it of a user namespace."""
    if os.geteuid() != 0:
        raise Unsupported(
            "the embedded engine needs root, be it of a user namespace",
            hint="run as root, or: unshare --user --map-auto --map-root-user -- minify ...",
        )
