"""Shell scripts: every command they name in any branch, what they source, the files they name.

Asked for a script, it reads that; asked for the shell itself, it reads the scripts given as
arguments (`sh -c`, CMD-SHELL health checks, the image's entrypoint).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from minify.folders import is_shared
from minify.globs import expand
from minify.model import DEFAULT_PATH, Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.places import load_places
from minify.resolvers import Need, Resolver, Scene
from minify.resolvers.shell_data import (
    AFTER_OPTION,
    CARRIERS,
    INSIDE,
    SHELLS,
    START_FILES,
    STRINGS,
    WHOLE_DIRS,
    WRAPPERS,
)
from minify.resolvers.shell_jobs import is_table, parts, read_table
from minify.resolvers.shell_offers import BASICS, PROFILES, logs_in, offered, runs_mounted
from minify.resolvers.shell_parse import Command, first_words, read_script
from minify.resolvers.shell_reading import (
    DIR_BYTES,
    DIR_FILES,
    RULE,
    Reading,
    begin,
    find_files,
    is_builtin,
    lookup,
)
from minify.syntax import LIMIT

Words = tuple[tuple[str, ...], ...]  # of each word of a command, everything it may be
DEEPEST = 8  # scripts sourcing scripts, strings within strings


class Shell:
    """Resolver of shell scripts and of script text in arguments."""

    name = RULE
    level = KeepLevel.REACH

    def needs(self, scene: Scene, entry: Entry) -> Iterable[Need | Finding]:
        """Name what a script, or the text a shell was given, may run, source or read."""
        if entry.kind is not Kind.FILE:
            return
        if _is_shell(scene, entry.path):
            yield from _arguments(scene, entry)
        if is_table(entry.path) and entry.size <= LIMIT:
            yield from _jobs(scene, entry)
        shell = _script_kind(scene, entry)
        if not shell:
            return
        if entry.size > LIMIT:
            yield Finding(RULE, entry.path, f"script larger than {LIMIT >> 20} MB: not analysed")
            return
        text, reading = scene.tree.read(entry.path), begin(scene, entry.path, entry.path, shell)
        yield from _finish(reading, _read(reading, text, 0))
        if scene.authored(entry.path):
            yield from _promised(reading, text)


def make() -> Resolver:
    """Make the resolver."""
    return Shell()


def _promised(reading: Reading, text: bytes) -> Iterator[Need]:
    """What the author of a script means it to run when others say so."""
    names = {name: f"offers to run {name}" for name in offered(text)}
    if runs_mounted(text):
        names |= dict.fromkeys(BASICS, "runs scripts that somebody may mount")
    for name, why in names.items():
        if found := lookup(reading, name):
            yield reading.need(found, why)
    home = reading.scene.env.get("HOME") or "/root"
    for pattern in PROFILES if logs_in(text) else ():
        for path in expand(reading.scene.tree, pattern.replace("${HOME}", home)):
            yield reading.need(path, "read by a login shell")


def _jobs(scene: Scene, entry: Entry) -> Iterator[Need | Finding]:
    """Read the commands of a crontab and its like."""
    text, beside = read_table(scene, entry)
    reading = begin(scene, entry.path, entry.path, "sh")
    if scripts := parts(scene, entry):
        yield from (Need(p, Reason(RULE, entry.path, "run by run-parts")) for p in scripts)
        text += b"\nrun-parts\n"
    if beside:
        known = reading.names.values.get("PATH") or {DEFAULT_PATH}
        reading.names.values["PATH"] = {f"{beside}:{path}" for path in known}
    yield from _finish(reading, _read(reading, text, 0))


def interpreter(head: bytes) -> str:
    """The name of the shell in a `#!` line (execve(2)), or empty."""
    if not head.startswith(b"#!"):
        return ""
    line = head[2:].split(b"\n", 1)[0].decode("latin-1").split()
    for word in line[:4]:
        name = posixpath.basename(word)
        if name in SHELLS or name == "execlineb":
            return name
        if name not in CARRIERS and not word.startswith("-") and "=" not in word:
            return ""
    return ""


def _script_kind(scene: Scene, entry: Entry) -> str:
    name = posixpath.basename(entry.path)
    touched = entry.path in scene.touched
    named = name.endswith((".sh", ".bash", ".ash")) or name in START_FILES
    # What is sourced under a name that only the run knows is no program.
    sourced = named and scene.authored(entry.path) and not load_places().vendored.match(entry.path)
    if not (entry.executable or touched or sourced) or entry.size < 3:
        return ""
    head = scene.tree.read(entry.path, 256)
    if shell := interpreter(head):
        return shell
    given = touched and any(entry.path in _script_argument(scene, argv) for argv in scene.argvs)
    return "bash" if (named or given) and b"\0" not in head and head[:2] != b"#!" else ""


def _script_argument(scene: Scene, argv: tuple[str, ...]) -> tuple[str, ...]:
    # `sh FILE`: the first argument that is no option.
    if not argv or posixpath.basename(argv[0]) not in SHELLS:
        return ()
    plain = [a for a in argv[1:] if not a.startswith("-")][:1]
    return tuple(r for a in plain if (r := scene.tree.real(a, scene.config.workdir or "/")))


def _is_shell(scene: Scene, path: str) -> bool:
    return posixpath.basename(path) in SHELLS | {"busybox"}


def _finish(reading: Reading, found: Iterator[Need | Finding]) -> Iterator[Need | Finding]:
    seen = {reading.because}
    for item in found:
        key = item.path if isinstance(item, Need) else item.message
        if key not in seen:
            seen.add(key)
            yield item
    if reading.unknown:
        message = f"{reading.unknown} commands have names known only at run time"
        yield Finding(RULE, reading.because, message)


def _arguments(scene: Scene, entry: Entry) -> Iterator[Need | Finding]:
    """Read the scripts that were, or will be, given to this shell as an argument."""
    config = scene.config
    argvs = set(scene.argvs) | {(*config.entrypoint, *config.cmd), config.health_command}
    for argv in sorted(argvs):
        for at, word in enumerate(argv):
            if posixpath.basename(word) not in SHELLS:
                continue
            reading = begin(scene, entry.path, "", posixpath.basename(word))
            if word.startswith("/"):
                real = scene.tree.real(word)
            else:
                found = lookup(reading, word)
                real = scene.tree.real(found) if found else None
            if real == entry.path:
                command = Command(tuple((w,) for w in argv[at:]))
                yield from _finish(reading, _strings(reading, command.words, 0))


def _read(reading: Reading, source: bytes, depth: int) -> Iterator[Need | Finding]:
    if source in reading.done or depth > DEEPEST:
        return
    reading.done.add(source)
    if b"\0" in source[:1024]:
        # A self-extracting script has data after its text; anything else is no script.
        source = source.split(b"\0", 1)[0].rpartition(b"\n")[0]
    if reading.shell == "execlineb":
        yield from _execline(reading, source)
        return
    script = read_script(source, reading.names)
    if script.broken:
        yield Finding(RULE, reading.because, "syntax not understood in places: analysed in part")
        for name in first_words(source):
            if not is_builtin(reading, name) and (found := lookup(reading, name)):
                yield reading.need(found, f"command {name}")
    sourced = [item for c in script.commands for item in _sourced(reading, c.words, depth)]
    yield from sourced
    if sourced:  # what was sourced may have given names their values
        script = read_script(source, reading.names)
    for command in script.commands:
        yield from _command(reading, command.words, depth)
    for word in sorted(script.words):
        yield from _paths(reading, word)


def _execline(reading: Reading, source: bytes) -> Iterator[Need | Finding]:
    # execlineb has no keywords: any word may be a program.
    for line in source.decode("utf-8", "surrogateescape").splitlines():
        if not line.lstrip().startswith("#"):
            for word in line.split():
                if found := lookup(reading, word.strip("\"'")):
                    yield reading.need(found, f"command {word}")


def _sourced(reading: Reading, words: Words, depth: int) -> Iterator[Need | Finding]:
    if len(words) < 2 or not {".", "source"} & set(words[0]):
        return
    for name in words[1]:
        for path in find_files(reading, name):
            yield reading.need(path, "sourced")
            entry = reading.scene.tree.resolve(path).entry
            if entry is not None and entry.size <= LIMIT:
                yield from _read(reading, reading.scene.tree.read(path), depth + 1)


def _command(
    reading: Reading, words: Words, depth: int, *, outside: bool = False
) -> Iterator[Need | Finding]:
    """Read a simple command; `outside`: another program starts it, so that no builtin will do."""
    if not words or depth > DEEPEST:
        return
    if not words[0]:
        reading.unknown += 1
    for name in words[0]:
        if reading.names.functions.get(name) and not outside:
            yield from _any_command(reading, words[1:], depth, most=len(words))
        elif outside or name not in reading.names.functions:
            found = None if is_builtin(reading, name) and not outside else lookup(reading, name)
            if found:
                yield reading.need(found, f"command {name}")
            yield from _external(reading, posixpath.basename(name), words, depth)
        yield from _special(reading, posixpath.basename(name), words, depth)


def _external(reading: Reading, base: str, words: Words, depth: int) -> Iterator[Need | Finding]:
    """Read what a program runs in turn, if it is one that runs others."""
    if base in WRAPPERS:
        outside = base not in INSIDE
        yield from _any_command(reading, words[1:], depth, most=2, outside=outside)
    yield from _strings(reading, words, depth)


def _special(reading: Reading, base: str, words: Words, depth: int) -> Iterator[Need | Finding]:
    """Read the commands after an option (`find -exec`), and directories used as a whole."""
    options = AFTER_OPTION.get(base, frozenset())
    for at, word in enumerate(words[1:], 2):
        if options & set(word):
            yield from _command(reading, words[at:], depth + 1, outside=True)
        if base in WHOLE_DIRS:
            for value in word:
                yield from _directory(reading, value)


def _any_command(
    reading: Reading, words: Words, depth: int, *, most: int, outside: bool = False
) -> Iterator[Need | Finding]:
    """Read the first few words that are commands as such: options and users come before them."""
    for at, word in enumerate(words):
        known = any(
            lookup(reading, w) or is_builtin(reading, w) or w in reading.names.functions
            for w in word
            if w and not w.startswith("-")
        )
        if known:
            yield from _command(reading, words[at:], depth + 1, outside=outside)
            most -= 1
        if most <= 0:
            return


def _strings(reading: Reading, words: Words, depth: int) -> Iterator[Need | Finding]:
    """Read script text given as one word: `sh -c TEXT`, `eval TEXT`, `trap TEXT SIGNAL`."""
    for name in words[0] if words else ():
        base = posixpath.basename(name)
        if base not in STRINGS:
            continue
        option = STRINGS[base]
        for at, word in enumerate(words[1:], 1):
            after = option is None or any(
                w in ("--command", "--session-command")
                or (w.startswith("-") and not w.startswith("--") and w.endswith(option))
                for w in words[at - 1]
            )
            for value in word if after else ():
                raw = value.encode("utf-8", "surrogateescape")
                if not value.startswith("-") and len(raw) <= LIMIT:
                    yield from _read(reading, raw, depth + 1)
            if option is None and base == "trap":
                break


def _paths(reading: Reading, word: str) -> Iterator[Need | Finding]:
    """Keep what a word names by an absolute path, if it is there."""
    start = word.find("/")
    if start < 0 or len(word) > 1024 or "\n" in word:
        return
    value = word
    if start > 0:  # --config=/etc/x, PATTERN:/etc/x, @/etc/x
        if word[start - 1] not in "=:@,(\"'<>" and not word.startswith("./"):
            return
        value = word[start:] if not word.startswith("./") else word
    for path in find_files(reading, value) if value != "/" else ():
        yield reading.need(path, "named in the script")
    path = posixpath.normpath(value)
    tree = reading.scene.tree
    if path.startswith("/") and tree.is_dir(path) and not is_shared(tree, path):
        yield reading.need(path, "named in the script")


def _directory(reading: Reading, value: str) -> Iterator[Need | Finding]:
    """Keep the files of a directory the script works on as a whole, if they are few."""
    tree = reading.scene.tree
    if not value.startswith("/"):
        return
    real = tree.real(value)
    if real is None or is_shared(tree, value):
        return
    if not tree.is_dir(real):
        return
    files, size = [], 0
    for entry in tree.walk(real):
        files.append(entry.path)
        size += entry.size
        if len(files) > DIR_FILES or size > DIR_BYTES:
            yield Finding(RULE, reading.because, f"works on {real}, too large to keep whole")
            return
    for path in files:
        yield reading.need(path, f"in {real}, a directory the script works on")
