from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minify.errors import UsageError
from minify.model import HttpDrive
from minify.options import Options
from minify.provenance import statement
from tests.report_kit import GOOD


def made(options: Options) -> dict[str, Any]:
    return dict(json.loads(statement(GOOD, options)))


def test_it_names_output_source_evidence_and_tool() -> None:
    found = made(Options(image="shop:1"))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [{"name": "shop:1-min", "digest": {"sha256": "b" * 64}}]
    build, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert build["resolvedDependencies"][0]["digest"] == {"sha256": "a" * 64}
    assert run["byproducts"] == [{"name": "evidence", "digest": {"sha256": "c" * 64}}]
    assert run["builder"]["version"] == {"minify": "1.2.3"}
    assert build["externalParameters"]["probes"] == ["GET /"]


def test_every_place_has_the_digest_it_has_there() -> None:
    places = {"shop:1-min": "sha256:" + "b" * 64, "docker://r/shop:1": "sha256:" + "e" * 64}
    found = json.loads(statement(replace(GOOD, outputs=places), Options()))
    assert found["subject"] == [
        {"name": "shop:1-min", "digest": {"sha256": "b" * 64}},
        {"name": "docker://r/shop:1", "digest": {"sha256": "e" * 64}},
    ]


def test_it_names_the_files_that_were_read_by_content(tmp_path: Path) -> None:
    for name in ("p.yaml", "e.json", "minify.lock"):
        (tmp_path / name).write_text(name)
    options = Options(
        policies=(str(tmp_path / "p.yaml"),), evidence=(str(tmp_path / "e.json"),),
        lock=str(tmp_path / "minify.lock"),
    )  # fmt: skip
    dependencies = made(options)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [d["name"] for d in dependencies[1:]] == [
        "policy p.yaml", "evidence e.json", "lock minify.lock",
    ]  # fmt: skip
    assert dependencies[1]["digest"]["sha256"] == hashlib.sha256(b"p.yaml").hexdigest()


def test_no_secret_gets_in() -> None:
    drive = HttpDrive("login", headers=(("authorization", "hunter2"),), body=b"hunter2")
    text = statement(GOOD, Options(env=("TOKEN=hunter2",), drives=(drive,)))
    assert "hunter2" not in text
    assert "TOKEN" in text


def test_the_same_input_gives_the_same_bytes() -> None:
    assert statement(GOOD, Options()) == statement(GOOD, Options())


def test_a_file_that_is_gone_is_said() -> None:
    with pytest.raises(UsageError, match=r"no-such\.yaml"):
        statement(GOOD, Options(policies=("/no-such.yaml",)))
