"""Login shells: a program that logs people in starts the shell that passwd(5) names for them.

Without it sshd calls the user invalid, su and ftp servers refuse, and no probe logs anybody in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene

RULE = "accounts"
LIMIT = 1 << 20
# Programs through which anybody may come in, and those that become somebody else's account.
LOGINS = frozenset({"sshd", "login", "dropbear", "in.telnetd", "telnetd", "vsftpd", "proftpd",
                    "pure-ftpd", "cockpit-ws", "shellinaboxd", "xrdp-sesman"})  # fmt: skip
CHANGERS = frozenset({"su", "runuser", "sudo", "doas", "newgrp", "sg"})


class Accounts:
    """Resolver of the shells of accounts."""

    name = RULE
    level = KeepLevel.REACH

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the shells of the accounts that a kept login program may start."""
        name = entry.path.rpartition("/")[2]
        if entry.kind is not Kind.FILE or not entry.executable or name not in LOGINS | CHANGERS:
            return ()
        return _shells(scene, entry, everybody=name in LOGINS)


def make() -> Resolver:
    """Make the resolver."""
    return Accounts()


def _shells(scene: Scene, entry: Entry, *, everybody: bool) -> Iterator[Need]:
    real = scene.tree.real("/etc/passwd")
    if real is None or not scene.tree.is_file(real):
        return
    for line in scene.tree.read(real, LIMIT).decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) < 7 or not (everybody or fields[2] != "0"):
            continue
        shell = fields[6].strip() or "/bin/sh"
        if shell.startswith("/") and scene.tree.is_file(shell):
            yield Need(shell, Reason(RULE, entry.path, f"the shell of {fields[0]}"))
