"""Shells of accounts, kept where somebody may log in."""

from __future__ import annotations

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.accounts import make
from tests.kit import Content, Exec, tree

PASSWD = "root:x:0:0:::/bin/bash\nbob:x:1000:1000::/home/bob:/bin/zsh\nodd\nplain:x:7:7:::\n"


def shells(program: str, passwd: str = PASSWD) -> set[str]:
    files: dict[str, Content] = {f"/bin/{n}": Exec(b"\x7fELF") for n in ("sh", "bash", "zsh")}
    made = tree({**files, program: Exec(b"\x7fELF"), "/etc/passwd": passwd})
    none = frozenset[str]()
    scene = Scene(made, ImageConfig(), {}, frozenset(), none, none, KeepLevel.REACH)
    items = make().needs(scene, made.entries[program])
    return {item.path for item in items if isinstance(item, Need)}


def test_anybody_may_come_in_through_a_login_service() -> None:
    assert shells("/usr/sbin/sshd") == {"/bin/bash", "/bin/zsh", "/bin/sh"}


def test_root_need_not_become_root() -> None:
    assert shells("/usr/bin/su") == {"/bin/zsh", "/bin/sh"}


def test_other_programs_and_shells_that_are_not_there() -> None:
    assert shells("/usr/bin/ls") == set()
    assert shells("/usr/sbin/sshd", "a:x:1:1:::/usr/sbin/nologin\n") == set()


def test_keys_of_those_who_may_log_in() -> None:
    keys = "/home/bob/.ssh/authorized_keys"
    files: dict[str, Content] = {"/usr/sbin/sshd": Exec(b"\x7fELF"), keys: "ssh-ed25519 A",
                                 "/home/bob/.ssh/id_ed25519": "-",
                                 "/etc/passwd": PASSWD}  # fmt: skip
    made = tree(files)
    none = frozenset[str]()
    scene = Scene(made, ImageConfig(), {}, frozenset(), none, none, KeepLevel.REACH)
    items = make().needs(scene, made.entries["/usr/sbin/sshd"])
    assert {i.path for i in items if isinstance(i, Need)} == {"/home/bob", keys}
