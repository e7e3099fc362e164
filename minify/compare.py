"""Compare behaviours: what differs between two originals is noise, what only the copy does is not.

Values are compared as they are where both originals agree, else by their shape: the same text with
numbers, identifiers and times blanked out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from minify.model import Behaviour, Difference, Observation

# What varies from run to run without meaning anything: hex and decimal runs, dates, random names.
_VOLATILE = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}|(?<![0-9a-fA-F])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}|\d+"
)
_NAMES = re.compile(
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b"
)
# Where a run begins, and nowhere in it: a run that does not count is not looked at again and again.
# Long runs of base64-like text are tokens (session ids, nonces), not words.
_TOKENS = re.compile(
    r"(?<![\w+/=-])(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=-]{20,}"
    r"|(?<==)<[\w+/=-]+>"  # session=<TD0/axxhaNgK28kB>
    r"|(?<=[iI][dD]=)[\w-]+"  # log_id=16lwoy4W000
    r"|\b(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])\w{10,}"
)


# The container's own address, its gateway's and its companions', and the hardware address that
# Docker derives from it (RFC 1918): the engine gives them out as they are free.
_PLACES = re.compile(
    r"(?<![\d.])(?:10\.\d{1,3}|172\.(?:1[6-9]|2\d|3[01])|192\.168)\.\d{1,3}\.\d{1,3}(?!\.?\d)"
    r"|\b02:42(?::[0-9a-f]{2}){4}\b"
)


STREAM = "reply"  # what a service that does not speak HTTP said to an HTTP request
_TROUBLE = re.compile(
    r"error|warn|fail|fatal|panic|crit|emerg|exception|traceback|cannot|can't|could not|unable"
    r"|no such|not found|missing|denied|refused|invalid|unknown|undefined",
    re.IGNORECASE,
)


def shape(text: str) -> str:
    """Blank out what varies from run to run."""
    text = _TOKENS.sub("#", text)
    return re.sub(r"#+(?:[.:,]#+)*", "#", _VOLATILE.sub("#", _NAMES.sub("@", text)))


def anywhere(text: str) -> str:
    """Blank out the addresses that an engine gave to containers of this run."""
    return _PLACES.sub("(address)", text)


@dataclass(frozen=True)
class Comparison:
    """What A/A/B found."""

    differences: tuple[Difference, ...]
    noise: tuple[str, ...]
    compared: int


Field = tuple[str, str, Callable[[Behaviour], str | None]]


def compare(first: Behaviour, second: Behaviour, copy: Behaviour) -> Comparison:
    """Compare two runs of the original with one of the copy, field by field."""
    differences: list[Difference] = []
    noise: list[str] = []
    fields = [*_observations(first), *_whole()]
    for subject, name, get in fields:
        one, two, other = get(first), get(second), get(copy)
        if other in (one, two):
            continue
        if name == STREAM and one and other and _cut(one, other):
            noise.append(f"{subject}: {name}")
            continue
        if one != two and (name != "body" or _alike(one, two, other)):
            noise.append(f"{subject}: {name}")
            continue
        differences.append(Difference(subject, name, _short(one), _short(other)))
    return Comparison(tuple(sorted(differences)), tuple(sorted(set(noise))), len(fields))


def agree(one: Behaviour, two: Behaviour) -> bool:
    """Whether two runs of the original show no noise at all: not a field, log line or file."""
    if len(one.observations) != len(two.observations):
        return False
    if any(get(one) != get(two) for _, _, get in (*_observations(one), *_whole())):
        return False
    return _shapes(one.log) == _shapes(two.log) and _shapes(one.written) == _shapes(two.written)


def _shapes(texts: Iterable[str]) -> set[str]:
    return {shape(text) for text in texts}


def _alike(one: str | None, two: str | None, other: str | None) -> bool:
    """Whether a varying body has the originals' shape; if that varies too, anything goes."""
    shapes = [shape(v or "") for v in (one, two, other)]
    return shapes[0] != shapes[1] or shapes[2] == shapes[0]


def _cut(one: str, other: str) -> bool:
    """Whether two texts are the same up to a line's end where one of them breaks off."""
    less, more = sorted((one, other), key=len)
    return more.startswith(less) and less.endswith("\n")


def _short(value: str | None) -> str:
    text = "(nothing)" if value is None else value
    return text if len(text) <= 200 else text[:160] + f"… ({len(text)} characters)"


def _find(behaviour: Behaviour, drive: str, port: int) -> Observation | None:
    return next((o for o in behaviour.observations if (o.drive, o.port) == (drive, port)), None)


def _observations(first: Behaviour) -> Iterator[Field]:
    for seen in first.observations:
        subject, key = seen.drive, (seen.drive, seen.port)
        yield subject, "outcome", _of(key, lambda o: f"{'ok' if o.ok else 'failed'} {o.status}")
        yield subject, "protocol", _of(key, lambda o: o.protocol)
        for header in sorted({h for h, _ in seen.headers}):
            yield subject, f"header {header}", _of(key, _header(header))
        yield subject, "headers", _of(key, lambda o: " ".join(sorted({h for h, _ in o.headers})))
        # How much of it came before the connection was closed is a matter of time.
        astray = seen.protocol == "tcp" and bool(seen.error)
        yield subject, STREAM if astray else "body", _of(key, body_text)


def _of(
    key: tuple[str, int], get: Callable[[Observation], str]
) -> Callable[[Behaviour], str | None]:
    def field(behaviour: Behaviour) -> str | None:
        found = _find(behaviour, *key)
        return None if found is None else anywhere(get(found))

    return field


def _header(name: str) -> Callable[[Observation], str]:
    return lambda o: "; ".join(v for h, v in o.headers if h == name)


def body_text(seen: Observation) -> str:
    """The body for comparison: its text, and the digest of all of it where it was cut."""
    text = seen.body.decode("utf-8", "surrogateescape")
    return text if seen.body_size == len(seen.body) else f"{text}\n[sha256 {seen.body_sha256}]"


def _whole() -> Iterator[Field]:
    yield "container", "ready", lambda b: str(b.ready)
    yield (
        "container",
        "exit status",
        lambda b: "killed" if b.exit_code is None else str(b.exit_code),
    )
    yield "container", "ended by itself", lambda b: str(b.exited_alone)
    yield "container", "listening ports", lambda b: " ".join(str(p) for p in b.ports)
    yield "container", "health", lambda b: b.health


def new_lines(first: Behaviour, second: Behaviour, copy: Behaviour) -> tuple[str, ...]:
    """Log lines of the copy whose shape neither original logged."""
    known = {shape(line) for behaviour in (first, second) for line in behaviour.log}
    fresh = {shape(line): line for line in copy.log if shape(line) not in known}
    return tuple(fresh.values())


def is_trouble(line: str) -> bool:
    """Whether a log line tells of something that went wrong."""
    return _TROUBLE.search(line) is not None


def lost_lines(first: Behaviour, second: Behaviour, copy: Behaviour) -> tuple[str, ...]:
    """Log lines whose shape both originals logged and the copy did not."""
    theirs = {shape(line) for line in copy.log}
    both = {shape(line): line for line in first.log if shape(line) not in theirs}
    again = {shape(line) for line in second.log}
    return tuple(line for key, line in both.items() if key in again)


def unwritten(first: Behaviour, second: Behaviour, copy: Behaviour) -> tuple[str, ...]:
    """Paths that both originals wrote and the copy did not (numbers in names blanked out)."""
    theirs = {shape(p) for p in copy.written}
    again = {shape(p) for p in second.written}
    return tuple(p for p in first.written if shape(p) in again and shape(p) not in theirs)
