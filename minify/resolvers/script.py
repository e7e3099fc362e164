"""Scripts need the interpreter their first line names (execve(2), "Interpreter scripts")."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator

from minify.model import DEFAULT_PATH, Entry, Finding, KeepLevel, Kind, Reason
from minify.resolvers import Need, Scene

LIMIT = 255  # BINPRM_BUF_SIZE is 256 and the line must end within it (Linux 5.1 and later)
# env's options that take a value in the next word (env(1), GNU coreutils).
ENV_VALUED = ("-u", "--unset", "-C", "--chdir", "-a", "--argv0")


class ScriptResolver:
    """Asks for the interpreter of every kept script that can be or was run."""

    name = "script"
    level = KeepLevel.EXACT

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name the interpreter, and the program behind `env`; it will be asked in its turn."""
        runs = entry.executable or entry.path in scene.touched
        if entry.kind is not Kind.FILE or entry.size < 4 or not runs:
            return
        with scene.tree.opener(entry) as stream:
            words = shebang(stream.read(LIMIT + 1))
        if not words:
            return
        interpreter, argument = words
        reason = Reason(self.name, entry.path, f"#!{' '.join(w for w in words if w)}")
        path = posixpath.join(scene.config.workdir or "/", interpreter)
        if scene.tree.is_file(path):
            yield Need(path, reason)
        elif entry.executable:
            yield Finding(self.name, entry.path, f"interpreter not in the image: {interpreter}")
        if posixpath.basename(interpreter) == "env":
            yield from self._behind_env(scene, entry, argument)

    def _behind_env(self, scene: Scene, entry: Entry, argument: str) -> Iterator[Need | Finding]:
        name, path = env_command(argument, scene.env.get("PATH", DEFAULT_PATH))
        if not name:
            return
        found = which(scene, name, path)
        if found:
            yield Need(found, Reason(self.name, entry.path, f"#!env {name}"))
        else:
            yield Finding(self.name, entry.path, f"interpreter not on PATH: {name}")


def shebang(head: bytes) -> tuple[str, str] | None:
    """Split a file's first line as the kernel does: interpreter, and the one optional argument.

    None when it is no script, or one the kernel would refuse.
    """
    if not head.startswith(b"#!"):
        return None
    line, newline, _ = head[2 : LIMIT + 1].partition(b"\n")
    line = line if newline else head[2:LIMIT]
    line = line.partition(b"\0")[0].strip(b" \t")
    interpreter, argument = (*re.split(rb"[ \t]+", line, maxsplit=1), b"")[:2]
    if not newline and len(head) > LIMIT and not argument:
        return None  # the interpreter's name may be cut off: ENOEXEC
    text = interpreter.decode("utf-8", "surrogateescape")
    return (text, argument.strip(b" \t").decode("utf-8", "surrogateescape")) if text else None


def env_command(argument: str, path: str) -> tuple[str, str]:
    """Read env's one argument: the command it runs ("" if none) and the PATH it looks it up on."""
    split = argument.startswith(("-S", "-vS", "--split-string"))
    text = argument
    for prefix in ("--split-string=", "--split-string", "-vS", "-S"):
        if split and text.startswith(prefix):
            text = text[len(prefix) :]
            break
    try:
        words = shlex.split(text) if split else [text]
    except ValueError:
        words = text.split()
    todo = iter(words)
    for word in todo:
        if word in ENV_VALUED:
            next(todo, None)
        elif "=" in word and not word.startswith("-"):
            path = word[5:] if word.startswith("PATH=") else path
        elif word and not word.startswith("-"):
            return word, path
    return "", path


def which(scene: Scene, name: str, path: str) -> str:
    """Find a command on the image's PATH as execvp(3) does; "" when it is not there."""
    workdir = scene.config.workdir or "/"
    folders = [""] if "/" in name else path.split(":")
    for folder in folders:
        candidate = posixpath.join(workdir, folder, name)
        entry = scene.tree.resolve(candidate).entry
        if entry is not None and entry.executable:
            return candidate
    return ""


def make() -> ScriptResolver:
    """Make the resolver."""
    return ScriptResolver()
