"""What is not written down: values of the environment, headers, bodies, passwords.

A document says where a value was given and its hash, so that two plans can still be told apart.
Where such a value turns up in a text (a log line, a command line, an error), it is blanked out.
Values that say how a program is set up (paths, languages, switches) stay: without them nothing
could be resolved.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from minify.model import Drive, Evidence, Plan

T = TypeVar("T")
BLANK = "***"
MARK = "sha256:"
HINTS = re.compile(
    r"pass|pwd|secret|token|key|cred|auth|private|salt|cookie|session|dsn|signature|login|pin\b",
    re.I,
)
# Variables that say how to run, never who may: what resolvers and policies look at.
SETTINGS = re.compile(
    r"PATH|.*_PATH|.*PATH|HOME|.*_HOME|LANG|LANGUAGE|LC_\w+|TZ|TERM|.*_OPTIONS|.*_OPTS|.*_ARGS"
    r"|LD_\w+|MALLOC_\w+|(HTTPS?|NO)_PROXY|PORT|.*_PORT|PWD|SHELL"
)
PLAIN = re.compile(r"|\d{1,5}|true|false|yes|no|on|off|[a-z]{1,12}", re.I)
NEGOTIATION = re.compile(r"accept.*|content-.*|host|user-agent|range|origin|te|connection", re.I)
SHORTEST = 4  # a shorter value would blank out half a report


def is_setting(name: str, value: str) -> bool:
    """Whether a variable's value may be written down."""
    if HINTS.search(name) and name not in ("PWD", "OLDPWD"):
        return False
    if "@" in value and "://" in value:
        return False  # a URL with a password in it
    return bool(value.startswith("/") or PLAIN.fullmatch(value) or SETTINGS.fullmatch(name))


def hashed(value: str | bytes) -> str:
    """What stands for a value: enough of its SHA-256 to tell it from another."""
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return MARK + hashlib.sha256(raw).hexdigest()[:12]


def withheld(item: str) -> str:
    """NAME=VALUE as it is written down."""
    name, equals, value = item.partition("=")
    return item if not equals or is_setting(name, value) else f"{name}={hashed(value)}"


def is_withheld(item: str) -> bool:
    """Whether NAME=VALUE is one whose value was not written down."""
    return re.fullmatch(MARK + "[0-9a-f]{12}", item.partition("=")[2]) is not None


# ------------------------------------------------------------------------------ words of a plan


def words_of(plan: Plan) -> tuple[str, ...]:
    """The texts that must not turn up in what is written, the longest first."""
    found: set[str] = set()
    around = (item for one in plan.surroundings.companions for item in one.env)
    for item in (*plan.env, *around):
        name, _, value = item.partition("=")
        if not is_setting(name, value) and (HINTS.search(name) or _telling(value)):
            found.add(value)
    for drive in plan.drives:
        found |= set(_of_drive(drive))
    return tuple(sorted((w for w in found if len(w) >= SHORTEST), key=lambda w: (-len(w), w)))


def _telling(value: str) -> bool:
    """Whether a text is hardly a plain word: letters and digits, eight of them."""
    return len(value) >= 8 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _of_drive(drive: Drive) -> Iterator[str]:
    for name, value in getattr(drive, "headers", ()):
        if HINTS.search(name) or (_telling(value) and not NEGOTIATION.fullmatch(name)):
            yield value
            yield from value.split()[1:]  # what follows the scheme: Bearer, Basic
    yield getattr(drive, "password", "")
    yield from _of_body(str(getattr(drive, "path", "")).partition("?")[2])
    body = getattr(drive, "body", b"").decode("utf-8", "replace").strip()
    if _telling(body):
        yield body
    for text in (body, getattr(drive, "send", b"").decode("utf-8", "replace").strip()):
        yield from _of_body(text)
        if text.upper().startswith("AUTH "):
            yield from text.split()[1:]


def _of_body(text: str) -> Iterator[str]:
    """What is named like a secret in a JSON document or a form."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = dict(urllib.parse.parse_qsl(text)) if "=" in text else {}
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if HINTS.search(str(name)) and isinstance(value, str):
            yield value


# ------------------------------------------------------------------------------------ documents


def masked(value: T, words: Sequence[str]) -> T:
    """The same value with every such text blanked out, in whatever it is made of."""
    return _masked(value, words) if words else value


def _masked(value: Any, words: Sequence[str]) -> Any:
    if isinstance(value, enum.Enum):
        return value
    if isinstance(value, str):
        for word in words:
            value = value.replace(word, BLANK)
        return value
    if isinstance(value, bytes):
        for word in words:
            value = value.replace(word.encode("utf-8", "surrogateescape"), BLANK.encode())
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **{k: _masked(v, words) for k, v in fields.items()})
    if isinstance(value, Mapping):
        return {_masked(k, words): _masked(v, words) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_masked(v, words) for v in value)
    if isinstance(value, frozenset):
        return frozenset(_masked(v, words) for v in value)
    return value


def holds(value: object, words: Sequence[str]) -> bool:
    """Whether any such text is in a value: then it cannot be stored and taken again."""
    return bool(words) and _masked(value, words) != value


def plan_to_keep(plan: Plan) -> Plan:
    """A plan as it is written down."""
    return dataclasses.replace(
        plan,
        env=tuple(map(withheld, plan.env)),
        drives=tuple(_drive_to_keep(d, words_of(plan)) for d in plan.drives),
        stdin=_bytes(plan.stdin),
        cases=tuple(dataclasses.replace(c, stdin=_bytes(c.stdin)) for c in plan.cases),
        surroundings=dataclasses.replace(
            plan.surroundings,
            companions=tuple(
                dataclasses.replace(c, env=tuple(map(withheld, c.env)))
                for c in plan.surroundings.companions
            ),
        ),
    )


def _drive_to_keep(drive: Drive, words: Sequence[str]) -> Drive:
    changed: dict[str, Any] = {}
    if headers := getattr(drive, "headers", ()):
        changed["headers"] = tuple(
            (name, value if NEGOTIATION.fullmatch(name) else hashed(value))
            for name, value in headers
        )
    for name in ("body", "send"):
        if raw := getattr(drive, name, b""):
            changed[name] = _bytes(raw)
    if password := getattr(drive, "password", ""):
        changed["password"] = hashed(password)
    if statements := getattr(drive, "statements", ()):
        changed["statements"] = tuple(map(hashed, statements))
    if calls := getattr(drive, "calls", ()):
        changed["calls"] = tuple((name, hashed(message)) for name, message in calls)
    if steps := getattr(drive, "steps", ()):
        changed["steps"] = tuple(dataclasses.replace(s, send=_bytes(s.send)) for s in steps)
    return masked(dataclasses.replace(drive, **changed), words)


def _bytes(raw: bytes) -> bytes:
    return hashed(raw).encode() if raw else raw


def evidence_to_keep(evidence: Evidence, words: Sequence[str]) -> Evidence:
    """Evidence as it is written down."""
    return dataclasses.replace(
        evidence,
        env=frozenset(map(withheld, evidence.env)),
        argvs=masked(evidence.argvs, words),
        notes=masked(evidence.notes, words),
        failed_drives=masked(evidence.failed_drives, words),
    )
