from __future__ import annotations

import pytest

from minify.errors import UsageError
from minify.lock import keep_from_lock, read_lock, write_lock
from minify.model import Finding, KeepLevel, KeepSet, Reason
from minify.names import default_tag
from minify.why import explain
from tests.kit import Link, tree

TREE = tree(
    {
        "/bin/sh": Link("dash"),
        "/bin/dash": b"",
        "/lib/c.so": b"",
        "/doc": b"",
        "/x\udcff": b"",
        "/lib/module/part": b"",
        "/lib/other": b"",
    }
)
KEEP = KeepSet(
    "sha256:i",
    KeepLevel.REACH,
    {
        "/bin/sh": (Reason("touch:exec", "strace", "/bin/sh"),),
        "/bin/dash": (Reason("links", "/bin/sh"), Reason("touch:exec", "strace")),
        "/lib/c.so": (Reason("elf", "/bin/dash", "needs c.so"),),
        "/x\udcff": (Reason("touch:open", "strace"),),
    },
    {"/doc": Reason("policy:docs", "documentation")},
    (
        Finding("data", "/big", "left out"),
        Finding("companions", "/bin/dash", "left out 2 programs: tool, ...", ("/lib/module",)),
    ),
)


def test_a_lock_reads_back() -> None:
    lock = read_lock(write_lock(KEEP), "minify.lock")
    again = keep_from_lock(lock, TREE, "sha256:i")
    assert set(again.paths) == set(KEEP.paths)
    assert again.level is KeepLevel.REACH
    assert write_lock(KEEP) == write_lock(KEEP)


def test_a_lock_names_what_the_image_lost() -> None:
    lock = read_lock("/gone\telf\n/bin/dash\telf\n", "f")
    found = keep_from_lock(lock, TREE, "i")
    assert [f.path for f in found.findings] == ["/gone"]
    assert list(found.paths) == ["/bin/dash"]


@pytest.mark.parametrize("text", ["", "nonsense\n", "level huge\n/a\tx\n"])
def test_other_text_is_no_lock(text: str) -> None:
    with pytest.raises(UsageError, match="f"):
        read_lock(text, "f")


def test_reasons_lead_back_to_the_touch() -> None:
    lines = explain(KEEP, TREE, "/lib/c.so").lines
    assert "needs c.so" in lines[1]
    assert "/bin/dash: touch:exec" in lines[2]


def test_a_link_is_followed() -> None:
    assert explain(KEEP, TREE, "/bin/sh").lines[0] == "/bin/sh leads to /bin/dash"


def test_a_dropped_path_says_why() -> None:
    found = explain(KEEP, TREE, "/doc")
    assert "policy:docs" in found.lines[0]
    assert (found.kept, found.exists) == (False, True)
    assert not explain(KEEP, TREE, "/nowhere").exists


def test_a_rule_that_left_a_path_out_is_quoted() -> None:
    found = explain(KEEP, TREE, "/lib/module/part")
    assert "rule companions, because of /bin/dash, left out 2 programs" in found.lines[0]
    assert "no rule of level reach" in explain(KEEP, TREE, "/lib/other").lines[0]


@pytest.mark.parametrize(
    ("reference", "tag"),
    [
        ("app:1", "app:1-min"),
        ("app", "app:latest-min"),
        ("host:5000/team/app:2", "host:5000/team/app:2-min"),
        ("host:5000/app", "host:5000/app:latest-min"),
        ("app@sha256:" + "0" * 64, "app:latest-min"),
        ("sha256:" + "ab" * 32, "minified:abababababab"),
    ],
)
def test_default_tag(reference: str, tag: str) -> None:
    assert default_tag(reference) == tag
