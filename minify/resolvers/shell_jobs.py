"""Tables of commands that a daemon or a tool hands to a shell: what they hold, as shell text.

crontab(5), supervisord.conf, Procfile, logrotate(8), the scripts of a package.json. None of them
is run while an image is observed for a few seconds: the job of the night is seen here or never.
"""

from __future__ import annotations

import posixpath
import re

from minify.jsontext import parse_json
from minify.model import Entry
from minify.resolvers import Scene
from minify.resolvers.shell_data import NODE_STARTERS

CRON_SYSTEM = re.compile(r"/etc/(?:crontab|cron\.d/[\w-]+)")  # names with a dot are passed over
CRON_USERS = re.compile(r"/var/spool/cron/(?:crontabs/|tabs/)?[\w.-]+|/etc/crontabs/[\w.-]+")
CRON_NAMED = re.compile(r".*/(?:crontab|[\w-]+\.cron(?:tab)?)")
SUPERVISOR = re.compile(r".*/supervisor[^/]*(?:/.*)?\.(?:conf|ini)|.*/supervisord?\.conf")
ROTATE = re.compile(r"/etc/logrotate\.(?:conf|d/[^/]+)")
PROCFILE = re.compile(r".*/Procfile")
PACKAGE = re.compile(r"(?!.*/node_modules/|/usr/share/nodejs/).*/package\.json")

_TIMES = re.compile(rb"^[ \t]*(?:@\w+|(?:[\d*/,a-zA-Z?~-]+[ \t]+){4}[\d*/,a-zA-Z?~-]+)[ \t]+(.+)$",
                    re.MULTILINE)  # fmt: skip
_PARTS = re.compile(rb"^[^#\n]*?\brun-parts\b[^\n/]{0,200}(/[\w./-]+)", re.MULTILINE)
_PART = re.compile(r"[\w-]+")
_USER = re.compile(rb"^\S+[ \t]+")
_COMMAND = re.compile(rb"^[ \t]*command[ \t]*=[ \t]*(.+(?:\n[ \t]+\S.*)*)", re.MULTILINE)
_FORMAT = re.compile(rb"%\(\w+\)[sd]|%%")
_PROCESS = re.compile(rb"^[\w-]+:[ \t]*(.+)$", re.MULTILINE)
_ACTION = re.compile(
    rb"^[ \t]*(?:postrotate|prerotate|firstaction|lastaction|preremove)[ \t]*$"
    rb"(.*?)^[ \t]*endscript",
    re.MULTILINE | re.DOTALL,
)
# Scripts of a package.json that are for its developers.
_DEVELOPERS = re.compile(
    r"(?:pre|post)?(?:test|lint|build|dev|watch|format|prettier|eslint|prepare|prepublish|husky"
    r"|coverage|doc|type|clean|release|publish|version|install|storybook|e2e|analy|debug|audit"
    r"|tsc|compile|check|fix|commit|bench)"
)


def is_table(path: str) -> bool:
    """Whether a file is one of these tables, by its place and name."""
    kinds = (CRON_SYSTEM, CRON_USERS, CRON_NAMED, SUPERVISOR, ROTATE, PROCFILE, PACKAGE)
    return any(kind.fullmatch(path) for kind in kinds)


def read_table(scene: Scene, entry: Entry) -> tuple[bytes, str]:
    """The commands of a table as shell text, and a folder where they are looked up first.

    Empty for the distribution's own jobs, which look after what is not in a small image.
    """
    if entry.layer == 0 and any(other.layer for other in scene.tree.entries.values()):
        return b"", ""
    beside = ""
    if PACKAGE.fullmatch(entry.path):
        words = {posixpath.basename(w) for argv in scene.argvs for w in argv}
        if not words & NODE_STARTERS:
            return b"", ""
        beside = f"{posixpath.dirname(entry.path)}/node_modules/.bin"
    return jobs(entry.path, scene.tree.read(entry.path)), beside


def parts(scene: Scene, entry: Entry) -> list[str]:
    """The scripts that a crontab's run-parts(8) runs, less those of the distribution's base.

    What somebody installed (logrotate) has its job there; dpkg and apt look after themselves.
    """
    if not CRON_SYSTEM.fullmatch(entry.path):
        return []
    tree, found = scene.tree, list[str]()
    for folder in dict.fromkeys(_PARTS.findall(scene.tree.read(entry.path))):
        real = tree.real(folder.decode("utf-8", "surrogateescape"))
        for name in tree.children(real) if real else ():
            job = tree.entries[f"{real}/{name}"]
            if job.executable and job.layer and _PART.fullmatch(name):
                found.append(job.path)
    return found


def jobs(path: str, text: bytes) -> bytes:
    """The commands of a table as lines of shell text; empty where there are none."""
    if CRON_SYSTEM.fullmatch(path):
        lines = [_USER.sub(b"", job) for job in _TIMES.findall(text)]
        return b"\n".join(line for line in lines if b"run-parts" not in line)
    if CRON_USERS.fullmatch(path) or CRON_NAMED.fullmatch(path):
        return b"\n".join(_TIMES.findall(text))
    if SUPERVISOR.fullmatch(path):
        found = (_FORMAT.sub(b"", c).replace(b"\n", b" ") for c in _COMMAND.findall(text))
        return b"\n".join(found)
    if ROTATE.fullmatch(path):
        return b"\n".join(_ACTION.findall(text))
    if PROCFILE.fullmatch(path):
        return b"\n".join(_PROCESS.findall(text))
    return b"\n".join(_scripts(text)) if PACKAGE.fullmatch(path) else b""


def _scripts(text: bytes) -> list[bytes]:
    try:
        package = parse_json(text)
    except ValueError:
        return []
    scripts = package.get("scripts") if isinstance(package, dict) else None
    if not isinstance(scripts, dict):
        return []
    return [str(v).encode() for k, v in scripts.items() if not _DEVELOPERS.match(str(k))]
