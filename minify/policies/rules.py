"""Policy as data: rows that keep, drop or require paths, read from YAML; the last match wins.

A row: `id`, one of `keep`/`drop`/`require` with globs, `reason`, and optionally `when` (conditions,
all have to hold; see `facts`), `level` (the narrowest keep level it is for), `limit` (bytes it may
keep at most), `only` (a drop spares a path that has a reason whose rule matches none of these).
The packs that are shipped, a user's file and `--keep`/`--drop` are all the same thing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

from minify.errors import UsageError
from minify.globs import compile_globs, expand, with_real
from minify.model import Entry, Finding, KeepLevel, Kind, Reason
from minify.policies.facts import CONDITIONS, View, holds, substitute, variables
from minify.yamltext import parse_yaml

KEYS = ("id", "keep", "drop", "require", "reason", "when", "level", "limit", "only")
PACKS = "[0-9]*.yaml"  # packs of rows are numbered, and read in that order


class Action(StrEnum):
    """What a row does with the paths it matches."""

    KEEP = "keep"
    DROP = "drop"
    REQUIRE = "require"


@dataclass(frozen=True)
class Rule:
    """One row. `limit` is in bytes, 0: none. `only` empty: a drop spares nothing."""

    id: str
    action: Action
    globs: tuple[str, ...]
    reason: str
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()
    level: KeepLevel = KeepLevel.EXACT
    limit: int = 0
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The rule as it stands in reasons and findings."""
        return f"policy:{self.id}"


@dataclass(frozen=True)
class Outcome:
    """What the rows decide: paths to keep with the reason, kept paths to drop, findings."""

    keeps: tuple[tuple[str, Reason], ...] = ()
    drops: Mapping[str, Reason] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


# ---------------------------------------------------------------- reading


def load_packs(
    extra: Sequence[Path] = (), off: Sequence[str] = (), *, shipped: bool = True
) -> tuple[Rule, ...]:
    """Read the shipped packs in order, then the user's files; `off` names rows to leave out.

    A later row with the id of an earlier one replaces it. Raises UsageError, naming everything
    that is wrong in a file at once, and for an unknown id in `off`.
    """
    rules: dict[str, Rule] = {}
    folder = files("minify.policies")
    names = sorted(p.name for p in folder.iterdir() if Path(p.name).match(PACKS))
    texts = [(n, folder.joinpath(n).read_text("utf-8")) for n in names if shipped]
    for name, text in [*texts, *((str(p), _read(p)) for p in extra)]:
        for rule in parse_rules(text, name):
            rules.pop(rule.id, None)
            rules[rule.id] = rule
    for unknown in [i for i in off if i not in rules]:
        near = difflib.get_close_matches(unknown, rules, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(rules))}"
        raise UsageError(f"no policy rule has the id {unknown}", hint=hint)
    return tuple(r for r in rules.values() if r.id not in off)


def flag_rules(keep: Iterable[str] = (), drop: Iterable[str] = ()) -> tuple[Rule, ...]:
    """Turn `--keep` and `--drop` into rows; a directory means all below it, a drop wins."""
    made = []
    # Required rather than kept: a glob that matches nothing is worth a word.
    for name, action, globs in (("keep", Action.REQUIRE, keep), ("drop", Action.DROP, drop)):
        below = tuple(_whole(g) for g in globs)
        if below:
            made.append(Rule(f"--{name}", action, below, f"asked for with --{name}"))
    return tuple(made)


def parse_rules(text: str, name: str) -> tuple[Rule, ...]:
    """Read rows from YAML text; raises UsageError that lists every wrong row."""
    document = parse_yaml(text, name)
    rows = document.get("rules") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise UsageError(f"{name}: no list of rules", hint="the file holds `rules:` with rows")
    wrong = [
        f"{name}: rule {_label(row, number)}: {problem}"
        for number, row in enumerate(rows, 1)
        for problem in _problems(row)
    ]
    if wrong:
        raise UsageError("\n".join(wrong), hint=f"a row has the keys {', '.join(KEYS)}")
    return tuple(_rule(row) for row in rows)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise UsageError(f"cannot read the policy file {path}: {why}") from error


def _whole(pattern: str) -> str:
    absolute = pattern if pattern.startswith(("/", "**")) else f"/{pattern}"
    return absolute if absolute.endswith("**") else f"{absolute.rstrip('/')}/**"


def _label(row: Any, number: int) -> str:
    return str(row.get("id") or number) if isinstance(row, dict) else str(number)


def _problems(row: Any) -> Iterable[str]:
    if not isinstance(row, dict):
        yield "not a mapping"
        return
    for key in row:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            yield f"unknown key {key}" + (f", did you mean {near[0]}?" if near else "")
    if not isinstance(row.get("id"), str) or not isinstance(row.get("reason"), str):
        yield "needs an id and a reason"
    actions = [a for a in Action if a in row]
    if len(actions) != 1 or not _strings(row[actions[0]]):
        yield "needs exactly one of keep, drop and require, with a list of globs"
    when = row.get("when", {})
    if not isinstance(when, dict) or not all(c in CONDITIONS and _strings(when[c]) for c in when):
        yield f"when: conditions are {', '.join(CONDITIONS)}, each with a list of texts"
    if row.get("level", "exact") not in list(KeepLevel):
        yield f"level: one of {', '.join(KeepLevel)}"
    if not isinstance(row.get("limit", 0), int) or not _strings(row.get("only", ["*"])):
        yield "limit is a number of bytes, only a list of rule names"


def _strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _rule(row: dict[str, Any]) -> Rule:
    action = next(a for a in Action if a in row)
    return Rule(
        id=row["id"],
        action=action,
        globs=tuple(row[action]),
        reason=" ".join(row["reason"].split()),
        when=tuple((c, tuple(v)) for c, v in row.get("when", {}).items()),
        level=KeepLevel(row.get("level", "exact")),
        limit=row.get("limit", 0),
        only=tuple(row.get("only", ())),
    )


# ---------------------------------------------------------------- applying


def apply(rules: Sequence[Rule], view: View, kept: Mapping[str, Sequence[Reason]]) -> Outcome:
    """Say what the rows keep and drop, given what is kept so far.

    To be asked again when more is kept, as conditions may hold then. `drops` are kept paths; a
    directory with something left in it is never among them. A user's drop goes over everything
    that asks for a path, and says so in a finding.
    """
    values = variables(view)
    decided: dict[str, Rule] = {}
    findings: list[Finding] = []
    for rule in rules:
        if rule.level.rank > view.level.rank:
            continue
        if not all(holds(name, wanted, view, kept) for name, wanted in rule.when):
            continue
        chosen = replace(rule, globs=tuple(g for p in rule.globs for g in substitute(p, values)))
        if rule.action is Action.DROP:
            found = _to_drop(chosen, view, kept, decided)
        else:
            found = _to_keep(chosen, view, findings)
        decided.update(dict.fromkeys(found, chosen))
    drops = _drops(view, kept, decided)
    findings.extend(_overruled(kept, drops, decided))
    return Outcome(_keeps(kept, decided), drops, tuple(findings))


def _to_keep(rule: Rule, view: View, findings: list[Finding]) -> list[str]:
    named = {glob: list(expand(view.tree, glob)) for glob in rule.globs}
    paths = list(dict.fromkeys(p for found in named.values() for p in found))
    for glob, found in named.items():
        if rule.action is Action.REQUIRE and not found:
            findings.append(Finding(rule.name, glob, "nothing in the image matches"))
    total = sum(_size(view.tree.get(p)) for p in paths) if rule.limit else 0
    if total > rule.limit:
        text = f"left out {total} bytes: more than the rule's limit of {rule.limit}"
        findings.append(Finding(rule.name, " ".join(rule.globs), text))
        return []
    return paths


def _size(entry: Entry | None) -> int:
    return entry.size if entry is not None and entry.kind is Kind.FILE else 0


def _to_drop(
    rule: Rule, view: View, kept: Mapping[str, Sequence[Reason]], decided: Mapping[str, Rule]
) -> list[str]:
    globs = compile_globs(with_real(view.tree, rule.globs))
    only = compile_globs(rule.only)
    return [
        path
        for path in {**dict.fromkeys(kept), **dict.fromkeys(decided)}
        if globs.match(path)
        and (not rule.only or all(only.match(r.rule) for r in kept.get(path, ())))
    ]


def _keeps(
    kept: Mapping[str, Sequence[Reason]], decided: Mapping[str, Rule]
) -> tuple[tuple[str, Reason], ...]:
    return tuple(
        (path, Reason(rule.name, rule.reason))
        for path, rule in decided.items()
        if rule.action is not Action.DROP and all(r.rule != rule.name for r in kept.get(path, ()))
    )


def _drops(
    view: View, kept: Mapping[str, Sequence[Reason]], decided: Mapping[str, Rule]
) -> dict[str, Reason]:
    found = {p: r for p, r in decided.items() if r.action is Action.DROP and p in kept}
    above = {"/"}
    for path in kept:
        parent = "" if path in found else path.rpartition("/")[0]
        while parent and parent not in above:
            above.add(parent)
            parent = parent.rpartition("/")[0]
    return {p: Reason(r.name, r.reason) for p, r in found.items() if p not in above}


def _overruled(
    kept: Mapping[str, Sequence[Reason]], drops: Mapping[str, Reason], decided: Mapping[str, Rule]
) -> Iterable[Finding]:
    for path, reason in drops.items():
        needed = [r for r in kept[path] if r.rule != "parent" and not r.rule.startswith("policy:")]
        if needed and not decided[path].only:
            text = f"dropped although {needed[0].rule} asks for it ({needed[0].because})"
            yield Finding(reason.rule, path, text)
