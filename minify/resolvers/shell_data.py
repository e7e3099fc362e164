"""What is known about shells, as data: their names, their builtins, and who runs whom."""

from __future__ import annotations

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "rbash", "hush"})
# Interpreters that run their argument after preparing something (s6-overlay, dumb-init in #!).
CARRIERS = frozenset({"with-contenv", "env", "tini", "dumb-init", "busybox", "setpriv"})
START_FILES = frozenset({"profile", ".profile", ".bashrc", "bash.bashrc", ".bash_profile",
                         ".bash_login", ".zshrc", ".kshrc", ".shinit"})  # fmt: skip

# POSIX.1-2017 XCU 2.14 (special) and 2.9.1 (intrinsic), and what every shell above has as well.
_POSIX = """
: . break continue eval exec exit export readonly return set shift times trap unset
alias bg cd command false fc fg getopts hash jobs kill newgrp pwd read true type ulimit umask
unalias wait echo test [ local
"""
# bash(1) "SHELL BUILTIN COMMANDS"; ksh and zsh have most of them.
_BASH = """
bind builtin caller compgen complete compopt declare dirs disown enable help history let logout
mapfile popd printf pushd readarray shopt source suspend typeset
"""
BUILTINS = {
    "posix": frozenset(_POSIX.split()),
    "ash": frozenset([*_POSIX.split(), "printf", "source", "let"]),
    "dash": frozenset([*_POSIX.split(), "printf"]),
    "bash": frozenset([*_POSIX.split(), *_BASH.split()]),
}
BUILTINS["sh"] = BUILTINS["dash"]
for _name in ("zsh", "rbash", "ksh93"):
    BUILTINS[_name] = BUILTINS["bash"]

# Programs that run the command given as their arguments, after options, users, times, files.
_WRAPPERS = """
builtin busybox catatonit chpst chroot chrt command doas dumb-init env exec flock gosu hash
ionice logrun nice nohup nsenter numactl parallel prlimit run-as runuser s6-envdir s6-setuidgid
s6-svscan script setarch setlock setpriv setsid setuidgid softlimit start-stop-daemon stdbuf
strace su su-exec sudo systemd-cat taskset time timeout tini tini-static toybox type unbuffer
unshare watch which whereis with-contenv xargs
"""
WRAPPERS = frozenset(_WRAPPERS.split())
# Of these, the ones that run a builtin or a function as well.
INSIDE = frozenset({"builtin", "command", "hash", "time", "type"})
# Programs that run the commands after some of their own options.
AFTER_OPTION = {"find": frozenset({"-exec", "-execdir", "-ok", "-okdir"})}
# Programs that take a script as one word: after the option cluster that ends so, or (None) first.
STRINGS: dict[str, str | None] = {
    **dict.fromkeys(SHELLS, "c"),
    **dict.fromkeys(("su", "runuser", "script", "flock", "sg"), "c"),
    **dict.fromkeys(("eval", "trap", "watch"), None),
}
# Programs whose directory arguments are read as a whole: their files are what the script works on.
WHOLE_DIRS = frozenset({"run-parts", "find", "ls", "cp", "rsync", "tar", "cd"})
# Who runs the scripts of a package.json.
NODE_STARTERS = frozenset(
    {"npm", "npm-cli.js", "npx", "yarn", "yarn.js", "pnpm", "pnpm.cjs", "bun"}
)
