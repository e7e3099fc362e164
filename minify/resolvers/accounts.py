"""Login shells: a program that logs people in starts the shell that passwd(5) names for them.

It looks for their keys in their homes, too. Without the shell sshd calls the user invalid, su and
ftp servers refuse; and no probe logs anybody in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Resolver, Scene

RULE = "accounts"
LIMIT = 1 << 20
LOGIN_FILES = (".ssh/authorized_keys", ".ssh/authorized_keys2", ".ssh/environment", ".ssh/rc")
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
        if everybody and fields[5].startswith("/"):
            yield from _home(scene, entry, fields[5].rstrip("/"))


def _home(scene: Scene, entry: Entry, home: str) -> Iterator[Need]:
    """Where a session starts, and the keys that let its owner in (sshd(8), AUTHORIZED_KEYS)."""
    for path in (home, *(f"{home}/{name}" for name in LOGIN_FILES)):
        if path and scene.tree.resolve(path).entry is not None:
            yield Need(path, Reason(RULE, entry.path, "read when its owner logs in"))
