"""`minify.lock`: the reviewed keep list, one path a line, diffable in git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minify.errors import UsageError
from minify.model import Finding, KeepLevel, KeepSet, Reason
from minify.tree import Tree

HEAD = "# minify.lock 1 — the paths kept and the rule that kept each first; review it, commit it"


@dataclass(frozen=True)
class Lock:
    """A lock as read: its image, level, rule by path; `size` in bytes of the output, 0: unknown."""

    image: str
    level: KeepLevel
    rules: dict[str, str]
    size: int = 0


def write_lock(keep: KeepSet, size: int = 0) -> str:
    """Write a keep set as lock text, `size` in bytes of the output; the same is the same text."""
    lines = [HEAD, f"image {keep.image}", f"level {keep.level.value}"]
    lines += [f"size {size}", ""] if size else [""]
    lines += [f"{quoted(p)}\t{r[0].rule}" for p, r in sorted(keep.paths.items())]
    return "\n".join(lines) + "\n"


def load_lock(source: str) -> Lock:
    """Read a lock file; raises UsageError."""
    try:
        text = Path(source).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        hint = "write one with: minify lock IMAGE"
        raise UsageError(f"cannot read {source}: {error.strerror}", hint=hint) from error
    return read_lock(text, source)


def read_lock(text: str, source: str) -> Lock:
    """Read lock text; raises UsageError naming the line that is wrong."""
    image, level, rules, size = "", KeepLevel.REACH, dict[str, str](), 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        path, _, rule = line.partition("\t")
        if line.startswith("/"):
            rules[unquoted(path)] = rule or "lock"
        elif line.startswith("image "):
            image = line.split()[1]
        elif line.startswith("level ") and line.split()[1] in list(KeepLevel):
            level = KeepLevel(line.split()[1])
        elif line.startswith("size ") and line.split()[1].isdigit():
            size = int(line.split()[1])
        else:
            raise UsageError(
                f"{source}:{number}: not a lock line: {line[:60]}",
                hint="a line is '/path<TAB>rule', 'image DIGEST', 'level LEVEL' or 'size BYTES'",
            )
    if not rules:
        raise UsageError(f"{source} names no path", hint="write one with: minify lock IMAGE")
    return Lock(image, level, rules, size)


def keep_from_lock(lock: Lock, tree: Tree, image: str) -> KeepSet:
    """Keep exactly what a lock names; a path this image lacks becomes a finding."""
    paths = {p: (Reason(r, "lock"),) for p, r in lock.rules.items() if tree.get(p)}
    missing = sorted(set(lock.rules) - set(paths))
    findings = tuple(Finding("lock", p, "in the lock, not in the image") for p in missing)
    return KeepSet(image, lock.level, paths, {}, findings)


def quoted(path: str) -> str:
    """A path as text of one line."""
    raw = path.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace").replace("\t", "\\t").replace("\n", "\\n")


def unquoted(text: str) -> str:
    """The path that `quoted` wrote."""
    if "\\" not in text:
        return text
    out, i = bytearray(), 0
    raw = text.encode()
    while i < len(raw):
        if raw[i : i + 2] == b"\\x":
            out.append(int(raw[i + 2 : i + 4], 16))
            i += 4
        elif raw[i : i + 2] in (b"\\t", b"\\n"):
            out += {b"\\t": b"\t", b"\\n": b"\n"}[raw[i : i + 2]]
            i += 2
        else:
            out.append(raw[i])
            i += 1
    return out.decode("utf-8", "surrogateescape")
