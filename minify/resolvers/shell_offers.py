"""What a script's author promises beyond what the script itself runs.

An entrypoint that ends in `exec "$@"` runs whatever it is given, and the words it compares its
first argument with are commands it was made for. One that runs every `*.sh` in a `something.d`
runs what somebody mounts there. A login shell reads the profiles (bash(1), INVOCATION).
"""

from __future__ import annotations

import re

# `exec "$@"`, also behind a program that changes the user.
ARGUMENTS = b'"$@"'
EXEC = re.compile(rb"\bexec[ \t]")
ALONE = re.compile(rb'(?:^|[;)&|{])[ \t]*"\$@"', re.M)
PARTS = re.compile(rb"[#\n]")
COMMENT = re.compile(rb"^[ \t]*#.*$", re.M)
_WORD = rb"""["']?[\w./-]+["']?"""
# A branch of a `case`, and a test of the first argument.
LABEL = re.compile(
    rb"(?:^|\bin[ \t]|;;)[ \t]*\(?(" + _WORD + rb"(?:[ \t]*\|[ \t]*" + _WORD + rb")*)[ \t]*\)", re.M
)
FIRST = re.compile(rb"""["']?\$\{?1(?::-)?\}?["']?[ \t]*==?[ \t]*(""" + _WORD + rb")")
# A directory of scripts, run or sourced one after another.
PATH = re.compile(rb"/[\w./-]*+")
SCRIPTS = re.compile(rb"\*\.sh\b")
LOGIN = re.compile(
    rb"\b(?:ba|da|a|k|z)?sh[ \t]+(?:-[a-km-z]*l[a-z]*|--login)\b"
    rb"|\b(?:su|runuser)[ \t]+(?:-[ \t]|-l\b|--login\b)|\bsudo[ \t]+-i\b"
)
PROFILES = (
    "/etc/profile", "/etc/profile.d/*.sh", "/etc/bash.bashrc", "/etc/bashrc",
    "${HOME}/.profile", "${HOME}/.bash_profile", "${HOME}/.bash_login", "${HOME}/.bashrc",
)  # fmt: skip
# What short scripts are made of; each is small, and a busybox has them in one.
BASICS = (
    "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dirname", "echo", "env",
    "expr", "false", "find", "grep", "head", "hostname", "id", "ln", "ls", "mkdir", "mktemp", "mv",
    "printf", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sh", "sleep", "sort", "stat",
    "tail", "tee", "test", "touch", "tr", "true", "uname", "uniq", "wc", "whoami", "xargs",
)  # fmt: skip


def offered(text: bytes) -> tuple[str, ...]:
    """Words that a script compares its arguments with, where it runs them; commands among them."""
    text = COMMENT.sub(b"", text)
    if not _runs_arguments(text):
        return ()
    labels = [word for label in LABEL.findall(text) for word in label.split(b"|")]
    found = {word.strip(b" \t\"'").decode("latin-1") for word in (*labels, *FIRST.findall(text))}
    return tuple(sorted(found))


def _runs_arguments(text: bytes) -> bool:
    """Whether arguments are run, also by `exec` with other words between, but for a comment."""
    if ARGUMENTS not in text:
        return False
    if ALONE.search(text):
        return True
    firsts = ((part, EXEC.search(part)) for part in PARTS.split(text))
    return any(found and part.find(ARGUMENTS, found.end()) > 0 for part, found in firsts)


def runs_mounted(text: bytes) -> bool:
    """Whether a script runs the scripts in a directory, so that somebody may mount another."""
    folders = any(path.find(b".d/", 2) > 0 for path in PATH.findall(text))
    return folders and SCRIPTS.search(text) is not None


def logs_in(text: bytes) -> bool:
    """Whether a script starts a login shell."""
    return LOGIN.search(text) is not None
