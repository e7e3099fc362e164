"""Configurations of wrong types: an error that names the field, or what Docker makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minify.engines.docker_image import image_of
from minify.engines.embedded_users import identity
from minify.errors import EngineError
from minify.images.archive import read_docker_archive
from minify.images.config import image_of_config, output_config
from minify.images.oci import read_oci_layout
from minify.model import Image
from minify.names import source_of
from tests.image_kit import Layout, config, docker_archive, sha256, tar
from tests.kit import tree

LAYER = tar([])
STRINGS = ("User", "WorkingDir", "StopSignal")
LISTS = ("Entrypoint", "Cmd", "Env", "Shell")
OBJECTS = ("Labels", "ExposedPorts", "Volumes", "Healthcheck")
SCALARS: list[Any] = [7, 1.5, True, "x", [], ["x"], {}, {"a": 1}, [1], [None], [["x"]], "a\0b"]
CHECKS = [
    {"Test": ["CMD", "true"], key: value}
    for key in ("Interval", "Timeout", "StartPeriod", "Retries")
    for value in (1e999, -1, 1.5, "3", [], {}, True, 1 << 63, 10**400)
] + [{"Test": 5}, {"Test": {"CMD": "x"}}, {"Test": [5]}]


def wrong() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = [("Healthcheck", check) for check in CHECKS]
    for value in SCALARS:
        found += [(key, value) for key in STRINGS if not isinstance(value, str) or "\0" in value]
        listed = ("x", [], ["x"])
        found += [(key, value) for key in LISTS if value not in listed]
        found += [(key, value) for key in OBJECTS if not isinstance(value, dict)]
    return [*found, ("Labels", {"a": 1}), ("Labels", {"a": []}), ("Env", ["A=\0"])]


def stored(run: Any) -> bytes:
    document = json.loads(config([LAYER]))
    document["config"] = run
    return json.dumps(document).replace("Infinity", "1e999").encode()


def used(image: Image) -> None:
    """Everything that is asked of a configuration anywhere."""
    assert image.config.shell
    assert image.config.health_command is not None
    assert image.config.tcp_ports is not None
    assert image.config.environment is not None
    assert isinstance(source_of(image), str)
    assert output_config(image, [sha256(LAYER)], epoch=None, labels={"a": "b"})


@pytest.mark.parametrize(("key", "value"), wrong(), ids=repr)
def test_a_field_of_a_wrong_type_is_named(key: str, value: Any) -> None:
    with pytest.raises(EngineError, match=rf"malformed image configuration: config\.{key}"):
        image_of_config("i", stored({key: value}), [])
    if "inf" not in repr(value):
        with pytest.raises(EngineError, match=rf"config\.{key}"):
            image_of("i", {"Id": sha256(b""), "Config": {key: value}})


@pytest.mark.parametrize("value", [7, [], "x", True])
def test_a_configuration_that_is_no_object(value: Any) -> None:
    with pytest.raises(EngineError, match="config is not an object"):
        image_of_config("i", stored(value), [])


@pytest.mark.parametrize("key", ["created", "os", "architecture", "variant"])
def test_what_is_outside_of_config(key: str) -> None:
    document = {**json.loads(config([LAYER])), key: ["x"]}
    with pytest.raises(EngineError, match=f"configuration: {key} is not a string"):
        image_of_config("i", json.dumps(document).encode(), [])


def test_what_docker_takes_is_taken() -> None:
    lenient = {
        "Entrypoint": "/app", "Cmd": None, "Env": None, "Shell": "/bin/ash", "Labels": None,
        "ExposedPorts": {"²/tcp": {}, "80/tcp": {}, "99999/tcp": {}, "0": None, "8" * 5000: {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "x"], "Retries": 0, "Interval": None},
    }  # fmt: skip
    image = image_of_config("i", stored(lenient), [])
    used(image)
    assert (image.config.entrypoint, image.config.tcp_ports) == (("/app",), (80,))
    assert image.config.health_command == ("/bin/ash", "x")
    for empty in (None, {}, {k: None for k in (*STRINGS, *LISTS, *OBJECTS)}):
        used(image_of_config("i", stored(empty), []))


def test_halves_of_surrogate_pairs_can_be_written_out() -> None:
    raw = stored({"Env": ["A=X"], "Labels": {"X": "X"}}).replace(b"X", b"\\ud800")
    image = image_of_config("i", raw, [])
    used(image)
    assert image.config.env[0].encode() == b"A=?"


@pytest.mark.parametrize("user", ["²", "9" * 5000, "-1", "4294967295", "0:²", "0:" + "9" * 5000])
def test_users_that_are_no_numbers(user: str) -> None:
    with pytest.raises(EngineError, match="not in the image"):
        identity(tree({"/etc/passwd": b"x:x:" + b"9" * 5000 + b":0:::\n"}), user)


def test_files_on_disk_say_it_too(tmp_path: Path) -> None:
    (tmp_path / "i.tar").write_bytes(docker_archive([LAYER], conf=stored({"Labels": []})))
    with pytest.raises(EngineError, match=r"config\.Labels is not an object: \[\]"):
        read_docker_archive(tmp_path / "i.tar", spool=tmp_path)
    made = Layout(tmp_path / "layout")
    made.add(made.image([LAYER], conf=stored({"Shell": 3})))
    with pytest.raises(EngineError, match=r"config\.Shell is not a list of strings: 3"):
        read_oci_layout(tmp_path / "layout", spool=tmp_path)
