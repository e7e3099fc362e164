"""Policy rows: reading, order, conditions, drops that spare what was used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from minify.errors import UsageError
from minify.model import ImageConfig, KeepLevel, Reason
from minify.policies.rules import Action, Rule, apply, flag_rules, load_packs, parse_rules
from minify.tree import Tree
from tests.kit import Link, tree

TOUCH = Reason("touch:open", "strace", "x")
SWEPT = Reason("owntree", "/app/x")


@dataclass(frozen=True)
class View:
    tree: Tree
    config: ImageConfig = field(default_factory=ImageConfig)
    env: dict[str, str] = field(default_factory=dict)
    touched: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()
    level: KeepLevel = KeepLevel.REACH


def rows(text: str) -> tuple[Rule, ...]:
    return parse_rules(text, "test.yaml")


def kept_by(rules: tuple[Rule, ...], view: View, kept=None) -> set[str]:
    return {path for path, _ in apply(rules, view, kept or {}).keeps}


def test_the_shipped_packs_are_well_formed_and_every_row_has_a_reason() -> None:
    rules = load_packs()
    assert len({r.id for r in rules}) == len(rules) > 20
    assert all(r.reason and r.globs for r in rules)
    assert all(g.startswith(("/", "${")) for r in rules for g in r.globs)


def test_shipped_drops_spare_what_was_used() -> None:
    drops = [r for r in load_packs() if r.action is Action.DROP]
    assert drops
    assert all(r.only and not any(o.startswith("touch") for o in r.only) for r in drops)


def test_identity_keeps_accounts_but_no_secrets() -> None:
    view = View(tree({"/etc/passwd": "x", "/etc/shadow": "x", "/etc/nsswitch.conf": "x"}))
    found = kept_by(load_packs(), view)
    assert {"/etc/passwd", "/etc/nsswitch.conf"} <= found
    assert "/etc/shadow" not in found


def test_scanners_can_tell_whose_a_language_package_is() -> None:
    """Without the list they take it for one installed beside, with another version's faults."""
    listing = "/var/lib/dpkg/info/python3-flask.list"
    info = "/usr/lib/python3/dist-packages/Flask-2.2.2.egg-info"
    view = View(tree({listing: "x", info: "x", "/var/lib/dpkg/status": "x"}))
    assert listing in kept_by(load_packs(), view, {info: [TOUCH]})
    assert listing not in kept_by(load_packs(), view)
    assert "/var/lib/dpkg/status" in kept_by(load_packs(), view)


def test_a_directory_glob_takes_everything_below_and_a_plain_path_only_itself() -> None:
    view = View(tree({"/a/b/c": "x", "/d/e": "x"}))
    rules = rows("rules: [{id: r, keep: [/a/**, /d], reason: why}]")
    assert kept_by(rules, view) == {"/a", "/a/b", "/a/b/c", "/d"}


def test_globs_go_through_links_in_their_directory() -> None:
    view = View(tree({"/usr/lib/x.so": "x", "/lib": Link("usr/lib")}))
    assert kept_by(rows("rules: [{id: r, keep: [/lib/*.so], reason: w}]"), view) == {
        "/usr/lib/x.so"
    }
    dropped = apply(flag_rules(drop=["/lib/x.so"]), view, {"/usr/lib/x.so": [TOUCH]}).drops
    assert set(dropped) == {"/usr/lib/x.so"}


def test_the_last_matching_row_wins() -> None:
    view = View(tree({"/a/x": "x", "/a/y": "x"}))
    text = "rules: [{id: k, keep: [/a/**], reason: w}, {id: d, drop: [/a/x], reason: w}]"
    assert kept_by(rows(text), view) == {"/a", "/a/y"}
    back = rows(text) + flag_rules(keep=["/a/x"])
    assert kept_by(back, view) == {"/a", "/a/x", "/a/y"}


def test_a_drop_with_only_spares_what_has_another_reason() -> None:
    view = View(tree({"/doc/a": "x", "/doc/b": "x"}))
    rules = rows("rules: [{id: d, drop: [/doc/**], reason: w, only: [owntree, parent]}]")
    kept = {"/doc": [Reason("parent", "/doc/a")], "/doc/a": [SWEPT], "/doc/b": [SWEPT, TOUCH]}
    outcome = apply(rules, view, kept)
    assert set(outcome.drops) == {"/doc/a"}
    assert not outcome.findings


def test_a_users_drop_wins_over_evidence_and_says_so() -> None:
    view = View(tree({"/doc/a": "x"}))
    outcome = apply(flag_rules(drop=["doc"]), view, {"/doc": [TOUCH], "/doc/a": [TOUCH]})
    assert set(outcome.drops) == {"/doc", "/doc/a"}
    assert any(f.path == "/doc/a" and "touch:open" in f.message for f in outcome.findings)


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ("kept: ['**/libssl.so*']", True),
        ("kept: ['**/libnss.so*']", False),
        ("touched: ['/usr/bin/*']", True),
        ("listed: ['/srv/**']", True),
        ("exists: ['/etc/*.conf']", True),
        ("exists: ['/etc/*.ini']", False),
        ("env: [LANG]", True),
        ("env: ['LANG=de_*']", True),
        ("env: ['LANG=fr_*', TZ]", False),
        ("kept: ['**/libssl.so*'], env: [TZ]", False),
    ],
)
def test_conditions(when: str, met: bool) -> None:
    view = View(
        tree({"/x": "x", "/etc/a.conf": "x"}),
        env={"LANG": "de_DE.UTF-8"},
        touched=frozenset({"/usr/bin/a"}),
        listed=frozenset({"/srv/site"}),
    )
    rules = rows("rules: [{id: r, keep: [/x], reason: w, when: {" + when + "}}]")
    assert (kept_by(rules, view, {"/usr/lib/libssl.so.3": [TOUCH]}) == {"/x"}) is met


def test_variables_stand_for_each_of_their_values_or_for_no_glob_at_all() -> None:
    files = {"/l/de_DE.utf8/x": "x", "/l/de/y": "x", "/l/fr/z": "x", "/h/me": None, "/v[1]": None}
    config = ImageConfig(user="7", volumes=("/v[1]",), workdir="/h")
    passwd = "root:x:0:0::/root:/bin/sh\nme:x:7:7::/h/me:/bin/sh\n"
    view = View(tree({**files, "/etc/passwd": passwd}), config, {"LANG": "de_DE.UTF-8"})
    text = "rules: [{id: r, reason: w, keep: ['/l/${locale}/**', '${home}', '${volume}', '${TZ}']}]"
    assert kept_by(rows(text), view) == {
        "/l/de_DE.utf8", "/l/de_DE.utf8/x", "/l/de", "/l/de/y", "/h/me", "/v[1]",
    }  # fmt: skip


def test_shipped_rows_keep_volumes_working_directory_and_home_at_every_level() -> None:
    files = tree({"/var/lib/app/sub/x": "x", "/srv/work": None, "/home/me": None})
    config = ImageConfig(user="me", volumes=("/var/lib/app",), workdir="/srv/work")
    for level in KeepLevel:
        view = View(files, config, {"HOME": "/home/me"}, level=level)
        found = kept_by(load_packs(), view)
        assert found >= {"/var/lib/app", "/srv/work", "/home/me"}
        assert ("/var/lib/app/sub/x" in found) is (level is not KeepLevel.EXACT)


def test_levels_and_limits() -> None:
    files = tree({"/a": "xxxx"})
    rules = rows("rules: [{id: r, keep: [/a], reason: w, level: reach, limit: 3}]")
    assert not kept_by(rules, View(files, level=KeepLevel.EXACT))
    outcome = apply(rules, View(files), {})
    assert not outcome.keeps
    assert "4 bytes" in outcome.findings[0].message


def test_a_required_path_that_is_missing_is_a_finding() -> None:
    outcome = apply(rows("rules: [{id: r, require: [/a, /b], reason: w}]"), View(tree({})), {})
    assert [(f.rule, f.path) for f in outcome.findings] == [("policy:r", "/a"), ("policy:r", "/b")]


def test_a_keep_flag_that_matches_nothing_is_a_finding() -> None:
    outcome = apply(flag_rules(keep=["/etc/*.ini", "/a"]), View(tree({"/a": "x"})), {})
    assert [p for p, _ in outcome.keeps] == ["/a"]
    assert [f.path for f in outcome.findings] == ["/etc/*.ini/**"]


def test_what_is_kept_already_is_not_asked_for_again() -> None:
    view = View(tree({"/a": "x"}))
    rules = flag_rules(keep=["/a"])
    first = apply(rules, view, {})
    assert not apply(rules, view, {p: [r] for p, r in first.keeps}).keeps


def test_a_users_file_replaces_and_switches_rows(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("rules: [{id: identity, keep: [/x], reason: mine}]")
    rules = {r.id: r for r in load_packs([mine], off=["os-release"])}
    assert rules["identity"].globs == ("/x",)
    assert "os-release" not in rules
    with pytest.raises(UsageError, match="os-releas") as caught:
        load_packs(off=["os-releas"])
    assert "os-release" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [{id: a, kepe: [/x], reason: w}]", "did you mean keep"),
        ("rules: [{id: a, keep: /x, reason: w}]", "exactly one of"),
        ("rules: [{keep: [/x]}]", "an id and a reason"),
        ("rules: [{id: a, keep: [/x], reason: w, when: {moon: [full]}}]", "conditions are"),
        ("rules: [{id: a, keep: [/x], reason: w, level: deep}]", "level: one of"),
        ("rules: 3", "no list of rules"),
        ("rules: [", "test.yaml:2"),
    ],
)
def test_wrong_rows_are_named(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows(text)
    assert words in caught.value.message


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        rows("rules: [{id: a, keep: 3, reason: w}, {id: b, dorp: [/x], reason: w}]")
    assert "rule a" in caught.value.message
    assert "rule b" in caught.value.message
