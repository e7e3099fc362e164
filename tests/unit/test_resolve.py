from __future__ import annotations

from minify.engines import Loaded
from minify.model import (
    Access,
    Evidence,
    Image,
    ImageConfig,
    KeepLevel,
    KeepSet,
    Outcome,
    Platform,
    Reason,
    Touch,
)
from minify.policies.rules import flag_rules
from minify.resolve import Rules, resolve
from minify.tree import Tree
from tests.kit import Exec, Link, tree

TREE = tree(
    {
        "/bin": Link("usr/bin"),
        "/usr/bin/env": b"",
        "/usr/bin/tool": Exec(b"#!/bin/env interp\n"),
        "/usr/bin/interp": Exec(b"\0"),
        "/data/a": b"",
        "/data/b": b"",
        "/var/log": None,
        "/link": Link("/data/a"),
        "/dangling": Link("/nowhere"),
        "/secret": b"",
    }
)


def kept(
    tree_: Tree, *touches: Touch, level: KeepLevel = KeepLevel.EXACT, **flags: list[str]
) -> KeepSet:
    image = Image("i", "sha256:i", Platform(), ImageConfig(env=("PATH=/usr/bin",)))
    evidence = Evidence("sha256:i", frozenset(touches))
    rules = Rules(level, flag_rules(flags.get("keep", []), flags.get("drop", [])))
    return resolve(Loaded(image, tree_), evidence, rules)


def touch(path: str, access: Access = Access.OPEN, outcome: Outcome = Outcome.OK) -> Touch:
    return Touch(path, access, outcome)


def test_every_path_has_a_reason_and_its_parents() -> None:
    found = kept(TREE, touch("/link"))
    assert {"/link", "/data", "/data/a"} <= set(found.paths)
    assert all(found.paths.values())
    assert "/data/b" not in found.paths


def test_what_a_script_needs_is_kept_through_links() -> None:
    found = kept(TREE, touch("/bin/tool", Access.EXEC))
    assert {"/bin", "/usr/bin/tool", "/usr/bin/env", "/usr/bin/interp"} <= set(found.paths)


def test_absence_keeps_nothing_but_the_links_on_the_way() -> None:
    found = kept(
        TREE, touch("/dangling", outcome=Outcome.ABSENT), touch("/no", outcome=Outcome.ABSENT)
    )
    assert "/dangling" in found.paths
    assert "/no" not in found.paths


def test_a_place_to_write_is_kept() -> None:
    found = kept(TREE, touch("/var/log/app/new.log", Access.WRITE))
    assert "/var/log" in found.paths


def test_flags_keep_and_drop() -> None:
    found = kept(TREE, touch("/data/a"), keep=["/secret"], drop=["/data/a"])
    assert "/secret" in found.paths
    assert found.paths["/secret"][0].rule.startswith("policy:--keep")
    assert "/data/a" not in found.paths
    assert isinstance(found.dropped["/data/a"], Reason)


def test_resolution_is_monotone_and_idempotent() -> None:
    small = kept(TREE, touch("/data/a"))
    large = kept(TREE, touch("/data/a"), touch("/bin/tool", Access.EXEC))
    assert set(small.paths) <= set(large.paths)
    again = kept(TREE, *(touch(p) for p in large.paths))
    assert set(again.paths) == set(large.paths)
