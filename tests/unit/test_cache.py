from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import pytest

from minify import cache
from minify.bench import Bench
from minify.cache import find, key_for, prune, restore, store
from minify.engines import Engine
from minify.errors import UsageError
from minify.model import (
    HttpDrive,
    Image,
    ImageConfig,
    KeepLevel,
    Limits,
    Mount,
    OutputImage,
    Platform,
    RunDrive,
    Surroundings,
)
from minify.names import SOURCE_LABEL
from minify.options import Options
from minify.report import Report
from minify.workspace import Home, Run
from tests.report_kit import output, report_of

SOURCE = "sha256:" + "a" * 64
PLAIN = Options(image="shop:1")


@pytest.fixture(autouse=True)
def quick_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """What minify is, without reading all of it for each of many keys."""
    monkeypatch.setattr(cache, "tool_parts", lambda: iter(["minify"]))


def key(options: Options = PLAIN, digest: str = SOURCE, engine: str = "docker") -> str:
    return key_for(options, digest, engine)


# One other value for each option that can change the output or the report about it.
OTHER: dict[str, Any] = {
    "platform": "linux/arm64", "argv": ("x",), "entrypoint": ("x",), "env": ("A=1",), "user": "1",
    "workdir": "/w", "mounts": (Mount("/t"),), "drives": (HttpDrive("GET /x", path="/x"),),
    "default_drives": False, "ready_log": "up", "limits": Limits(observe=3), "keep": ("/k",),
    "drop": ("/d",), "policies": ("/p",), "policies_off": ("docs",),
    "keep_level": KeepLevel.EXACT, "verify": False, "repairs": 0, "light": True, "epoch": 5,
    "evidence": ("/e",), "lock": "/l", "max_size": 1, "min_reduction": 1.0, "max_growth": 1.0,
    "baseline": "/b", "forbid": ("shell",), "require": ("/r",),
    "surroundings": Surroundings(memory=1),
}  # fmt: skip
# What the result is called, where it comes from and goes, how long it may take: not what it is.
NAMES = {
    "image", "tag", "engine", "fresh", "force", "time_budget", "context", "dockerfile",
    "build_args", "build_target", "build_network", "builds", "output", "auth_file", "cert_dir",
    "tls_verify", "build_secrets", "build_ssh", "build_cache_from", "build_cache_to",
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in fields(Options) if f.name not in NAMES])
def test_every_option_is_part_of_the_key(name: str) -> None:
    """An option added later is in the key too, or this test asks for a value for it."""
    if name not in OTHER:
        default = getattr(PLAIN, name)
        other: Any = {bool: True, str: "/other", tuple: ("/other",)}.get(type(default), 77)
    else:
        other = OTHER[name]
    base = replace(PLAIN, max_growth=2.0) if name == "baseline" else PLAIN
    assert key(replace(base, **{name: other})) != key(base)


def test_what_runs_outside_cannot_be_pinned_down() -> None:
    assert key(replace(PLAIN, drives=(RunDrive("run x", ("x",)),))) == ""
    assert key(replace(PLAIN, surroundings=Surroundings(network="other"))) == ""


def test_names_are_not_part_of_the_key() -> None:
    other = Options(image="shop:2", tag="t", force=True, time_budget=5, context=".")
    assert key(other) == key()


def test_image_and_engine_are_part_of_the_key() -> None:
    assert key(digest="sha256:" + "d" * 64) != key()
    assert key(engine="embedded") != key()


def test_the_tool_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(cache, "tool_parts", lambda: iter(["minify", "2"]))
    assert key() != before


def test_the_tool_is_its_own_files_and_what_it_stands_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    parts = list(cache.tool_parts())
    text = "\n".join(parts)
    for wanted in ("minify cache.py ", "policies/forbidden.yaml ", "minify.probes watch_strace.py",
                   "click-"):  # fmt: skip
        assert wanted in text
    assert parts == list(cache.tool_parts())


@pytest.mark.parametrize("name", ["policies", "evidence", "lock", "baseline"])
def test_the_contents_of_files_are_part_of_the_key(tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    value: Any = str(file) if name in ("lock", "baseline") else (str(file),)
    growth = 1.0 if name == "baseline" else None
    options = replace(PLAIN, max_growth=growth, **{name: value})
    absent = key(options)
    file.write_text("one")
    one = key(options)
    file.write_text("two")
    assert len({absent, one, key(options)}) == 3
    file.write_text("one")
    assert key(options) == one


def mount_changes() -> list[tuple[str, Callable[[Path], Any]]]:
    return [
        ("content", lambda d: (d / "f").write_text("two")),
        ("mode", lambda d: (d / "f").chmod(0o600)),
        ("new file", lambda d: (d / "g").write_text("")),
        ("link", lambda d: (d / "l").symlink_to("f")),
        ("folder", lambda d: (d / "sub").mkdir()),
        ("renamed", lambda d: (d / "f").rename(d / "h")),
    ]


@pytest.mark.parametrize(("_name", "change"), mount_changes(), ids=lambda v: str(v)[:8])
def test_what_is_mounted_is_part_of_the_key(
    tmp_path: Path, _name: str, change: Callable[[Path], Any]
) -> None:
    (tmp_path / "f").write_text("one")
    options = replace(PLAIN, mounts=(Mount("/data", str(tmp_path)),))
    before = key(options)
    assert before == key(options)
    change(tmp_path)
    assert key(options) not in (before, "")


def test_a_mount_without_content_of_its_own_is_not_cached(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert key(replace(PLAIN, mounts=(Mount("/data", str(tmp_path)),))) == ""
    assert key(replace(PLAIN, mounts=(Mount("/data", "/no/such"),))) == ""
    assert key(replace(PLAIN, mounts=(Mount("/data", "/usr"),))) == ""  # too large to look through


class Images:
    """An engine that holds images by name and digest; enough for names and the cache."""

    name = "docker"

    def __init__(self) -> None:
        self.images = {"shop:1": image("shop:1", SOURCE)}
        self.saved: list[bytes] = []

    def find(self, reference: str) -> Image | None:
        return self.images.get(reference)

    def save(self, packed: OutputImage, *, tag: str = "") -> str:
        self.saved += [Path(layer.file).read_bytes() for layer in packed.packed]
        raw = json.dumps({"config": {"Labels": {SOURCE_LABEL: SOURCE}}})
        self.images[packed.digest] = image(packed.digest, packed.digest, raw)
        return packed.digest

    def tag(self, image_id: str, reference: str) -> None:
        self.images[reference] = self.images[image_id]

    def remove_image(self, image_id: str) -> None:
        if [i.digest for i in self.images.values()].count(image_id) < 2:
            self.images.pop(image_id, None)


def image(reference: str, digest: str, raw: str = "{}") -> Image:
    return Image(reference, digest, Platform(), ImageConfig(raw=raw))


@pytest.fixture
def engine() -> Images:
    return Images()


@pytest.fixture
def bench(engine: Images, tmp_path: Path) -> Bench:
    run = tmp_path / "run"
    run.mkdir()
    return Bench(cast(Engine, engine), Home(tmp_path / "home"), Run("token", run))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with one result in it, under the key of PLAIN."""
    made = output(tmp_path)
    assert store(tmp_path / "cache", key(), report_of(made), made)
    Path(made.layer_file).unlink()  # the run's scratch folder is gone by then
    return tmp_path / "cache"


def restored(bench: Bench, folder: Path, options: Options = PLAIN) -> Report | None:
    entry = find(folder, key(options))
    return entry and restore(bench, options, entry)


def test_a_result_comes_back_from_the_cache(bench: Bench, engine: Images, folder: Path) -> None:
    report = restored(bench, folder, replace(PLAIN, tag="other:2"))
    assert report is not None
    assert report.minified.reference == "other:2"
    assert engine.saved == [b"layer"]
    assert engine.images["other:2"].digest == report.minified.digest
    assert cache.NOTE in report.notes


def test_an_image_the_engine_has_is_only_tagged(bench: Bench, engine: Images, folder: Path) -> None:
    assert restored(bench, folder)
    shutil.rmtree(folder / "layers")
    assert restored(bench, folder, replace(PLAIN, tag="again:1"))
    assert len(engine.saved) == 1
    assert "again:1" in engine.images


def test_the_folder_can_be_moved(bench: Bench, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "restored")
    shutil.rmtree(folder)
    assert restored(bench, tmp_path / "restored")


def test_a_name_in_use_is_not_moved(bench: Bench, engine: Images, folder: Path) -> None:
    engine.images["taken:1"] = image("taken:1", "sha256:other")
    with pytest.raises(UsageError, match="in use"):
        restored(bench, folder, replace(PLAIN, tag="taken:1"))


def damage(what: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        (file,) = folder.glob(what)
        raw = file.read_bytes()
        middle = len(raw) // 2
        file.write_bytes(raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :])

    return change


def emptied(what: str) -> Callable[[Path], Any]:
    return lambda folder: next(folder.glob(what)).write_bytes(b"")


def other_name(folder: Path) -> None:
    """A result under a key that is not its own, as a careless restore might leave it."""
    (file,) = folder.glob("results/*.json")
    file.rename(file.with_name(key(replace(PLAIN, user="1")) + ".json"))


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (damage("results/*.json"), PLAIN),
        (damage("layers/*.tar"), PLAIN),
        (emptied("results/*.json"), PLAIN),
        (emptied("layers/*.tar"), PLAIN),
        (lambda folder: shutil.rmtree(folder / "layers"), PLAIN),
        (shutil.rmtree, PLAIN),
        (other_name, replace(PLAIN, user="1")),
    ],
)
def test_a_damaged_result_is_no_result(
    bench: Bench, engine: Images, folder: Path, change: Callable[[Path], Any], options: Options
) -> None:
    change(folder)
    assert not restored(bench, folder, options)
    assert engine.saved == []


def test_a_damaged_layer_is_written_again(bench: Bench, folder: Path, tmp_path: Path) -> None:
    damage("layers/*.tar")(folder)
    made = output(tmp_path)
    assert store(folder, key(), report_of(made), made)
    assert restored(bench, folder)


@pytest.mark.parametrize(
    "changes", [{"exit_code": 3}, {"exit_code": 7}, {"exit_code": 9}, {"tagged": False}]
)
def test_only_good_results_are_kept(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = output(tmp_path)
    assert not store(tmp_path / "cache", key(), report_of(made, **changes), made)
    assert find(tmp_path / "cache", key()) is None


def test_a_folder_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    made = output(tmp_path)
    assert not store(tmp_path / "cache", key(), report_of(made), made)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    folder, keys = tmp_path / "cache", []
    for number in range(3):
        made = output(tmp_path, bytes([number]) * 100)
        keys.append(key(replace(PLAIN, user=str(number))))
        assert store(folder, keys[-1], report_of(made), made)
        os.utime(folder / "results" / f"{keys[-1]}.json", (number, number))
    cache.touch(folder, keys[0])
    prune(folder, 200)
    assert [bool(find(folder, k)) for k in keys] == [True, False, True]
    assert len(list(folder.glob("layers/*"))) == 2
    prune(folder, 0)
    assert [bool(find(folder, k)) for k in keys] == [True, False, False]


def test_results_share_a_layer(tmp_path: Path) -> None:
    made, folder = output(tmp_path), tmp_path / "cache"
    for user in ("1", "2"):
        assert store(folder, key(replace(PLAIN, user=user)), report_of(made), made)
    assert len(list(folder.glob("layers/*"))) == 1
    assert len(list(folder.glob("results/*"))) == 2


def test_an_image_of_several_layers_comes_back(
    bench: Bench, engine: Images, tmp_path: Path
) -> None:
    made = output(tmp_path, b"base", b"application")
    assert store(tmp_path / "cache", key(), report_of(made), made)
    for layer in made.packed:
        Path(layer.file).unlink()
    assert restored(bench, tmp_path / "cache")
    assert engine.saved == [b"base", b"application"]
    (tmp_path / "cache/layers" / f"{made.packed[0].diff_id.removeprefix('sha256:')}.tar").unlink()
    engine.images.pop(made.digest)
    assert not restored(bench, tmp_path / "cache")


def test_an_empty_key_finds_nothing(folder: Path) -> None:
    assert find(folder, "") is None


def test_the_way_to_a_former_result_loads_little() -> None:
    """What only a new result needs would cost a hit most of its second."""
    code = (
        "import sys, minify.cli, minify.sweep, minify.cache, minify.reports.as_text;"
        "print(*(m for m in sys.modules if m.split('.')[0] in "
        "('tree_sitter', 'jsonschema', 'rich', 'elftools') or "
        "m in ('minify.pipeline', 'minify.resolvers', 'minify.runs.kit')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
