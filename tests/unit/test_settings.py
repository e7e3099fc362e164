"""Every setting is a key, a flag and a variable; the stronger wins, `minify config` says who."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minify.cli.build import build_command
from minify.cli.settings import config_command, keyed_flags
from minify.config.layers import Layer, effective, read_variables, unknown_variables, variable
from minify.config.read import base_options, options_from, schema
from minify.errors import UsageError
from minify.options import Options

ARGUMENTS = {"image", "command"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MINIFY_CONFIG", "MINIFY_TAG", "MINIFY_REPAIRS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def shown(*argv: str) -> dict[str, dict[str, object]]:
    """What `minify config --json` prints for these flags."""
    from click.testing import CliRunner

    done = CliRunner().invoke(config_command, ["--json", *argv], standalone_mode=False)
    if done.exception:
        raise done.exception
    return dict(json.loads(done.stdout))


def test_every_setting_is_a_flag_too() -> None:
    keys = set(schema()["properties"])
    flags = set(keyed_flags(build_command))
    assert keys - flags - ARGUMENTS - FILE_ONLY == set()
    assert flags - keys == set()


# Lists of mappings: on the command line they would be unreadable; the variable takes YAML.
FILE_ONLY: set[str] = set()


def test_every_option_has_a_key() -> None:
    named = {"argv": "command", "drives": "http_probes", "limits": "ready_timeout",
             "default_drives": "default_probes", "lock": "from_lock",
             "surroundings": "memory", "cases": "runs", "builds": "compose"}  # fmt: skip
    fields = {named.get(f, f) for f in Options.__dataclass_fields__} - {"epoch"}
    assert fields - set(schema()["properties"]) == set()


def test_the_defaults_in_the_schema_are_the_real_ones() -> None:
    properties = schema()["properties"]
    defaults = {k: v["default"] for k, v in properties.items() if "default" in v}
    assert options_from(defaults, Path("/")).limits == Options().limits
    for key in ("engine", "repairs", "verify", "light", "fresh", "force"):
        assert defaults[key] == getattr(Options(), key)
    assert defaults["keep_level"] == Options().keep_level.value


def test_flag_over_environment_over_file_over_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "minify.yaml").write_text("image: a\ntag: of-file\nrepairs: 1\nuser: 7\n")
    monkeypatch.setenv("MINIFY_TAG", "of-environment")
    monkeypatch.setenv("MINIFY_REPAIRS", "2")
    found = shown("--tag", "of-flag")
    assert found["tag"] == {"value": "of-flag", "origin": "--tag"}
    assert found["repairs"] == {"value": 2, "origin": "MINIFY_REPAIRS"}
    assert found["user"] == {"value": 7, "origin": "minify.yaml:4"}
    assert found["engine"] == {"value": "auto", "origin": "default"}
    options = base_options()
    assert (options.tag, options.repairs, options.user) == ("of-environment", 2, "7")


def test_probes_of_a_flag_replace_those_of_the_file_by_kind(folder: Path) -> None:
    (folder / "minify.yaml").write_text("http_probes: [GET /a]\ntcp_probes: [80]\n")
    made = base_options(None, {"http_probes": ["GET /b"]})
    assert [d.id for d in made.drives] == ["GET /b", "tcp 80"]


def test_paths_start_where_their_layer_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "m.yaml").write_text("mounts: ['./data:/data']\npolicies: [p.yaml]\n")
    monkeypatch.setenv("MINIFY_CONFIG", "deep/m.yaml")
    options = base_options()
    assert options.mounts[0].source == str(folder / "deep" / "data")
    assert options.policies == (str(folder / "deep" / "p.yaml"),)
    monkeypatch.setenv("MINIFY_POLICIES", "q.yaml")
    assert base_options().policies == (str(folder / "q.yaml"),)


def test_files_of_probes_start_where_their_layer_is(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "body").write_text("from the folder of the file")
    (folder / "body").write_text("from here")
    probe = {"path": "/", "body_file": "body"}
    (folder / "deep" / "m.yaml").write_text(json.dumps({"http_probes": [probe]}))
    of_file = base_options("deep/m.yaml").drives[0]
    of_flag = base_options("deep/m.yaml", {"http_probes": [probe]}).drives[0]
    bodies = [getattr(d, "body", b"") for d in (of_file, of_flag)]
    assert bodies == [b"from the folder of the file", b"from here"]


PROPERTIES = {
    "tag": {"type": "string"},
    "user": {"type": ["string", "integer"]},
    "keep": {"type": "array", "items": {"type": "string"}},
    "verify": {"type": "boolean"},
    "repairs": {"type": "integer"},
}


def wrong(value: object, wanted: object) -> str:
    import jsonschema

    return "; ".join(e.message for e in jsonschema.Draft202012Validator(wanted).iter_errors(value))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("tag", "1.0", "1.0"),
        ("tag", "yes", "yes"),
        ("user", "1000", 1000),
        ("keep", "/a/**\n\n  /b: c\n", ["/a/**", "/b: c"]),
        ("keep", "*", ["*"]),
        ("keep", '["/a", "/b"]', ["/a", "/b"]),
        ("verify", "false", False),
        ("repairs", "3", 3),
    ],
)
def test_a_variable_is_read_as_its_key_wants_it(key: str, text: str, value: object) -> None:
    layer, complaints = read_variables({variable(key): text}, PROPERTIES, wrong)
    assert complaints == ()
    assert layer.data == {key: value}
    assert layer.origins == {key: variable(key)}


def test_all_wrong_variables_are_told_at_once() -> None:
    _, complaints = read_variables(
        {"MINIFY_VERIFY": "perhaps", "MINIFY_REPAIRS": "many"}, PROPERTIES, wrong
    )
    assert [c.partition(":")[0] for c in complaints] == ["MINIFY_VERIFY", "MINIFY_REPAIRS"]


def test_a_wrong_variable_is_a_usage_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIFY_REPAIRS", "many")
    with pytest.raises(UsageError, match="MINIFY_REPAIRS"):
        base_options()


def test_variables_that_are_no_settings_are_named() -> None:
    given = {
        "MINIFY_TAGG": "",
        "MINIFY_HOME": "",
        "MINIFY_PORT_80": "",
        "PATH": "",
        "MINIFY_TAG": "",
    }
    assert unknown_variables(given, PROPERTIES) == ("MINIFY_TAGG (did you mean MINIFY_TAG?)",)


def test_effective_names_the_strongest() -> None:
    low, high = Layer({"tag": "a"}, {"tag": "f:1"}), Layer({"tag": "b"}, {"tag": "--tag"})
    first = effective(PROPERTIES, [low, high])[0]
    assert (first.key, first.value, first.origin) == ("tag", "b", "--tag")


DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_setting_is_documented() -> None:
    import re

    pages = "".join(page.read_text() for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"))
    text = " ".join(re.findall(r"`([^`\n]+)`", pages))
    words = set(re.findall(r"[\w-]+", text))
    keys = [k for k in schema()["properties"] if not {k, "--" + k.replace("_", "-")} & words]
    request = schema()["$defs"]["http_request"]["properties"]
    assert keys == []
    assert [k for k in request if k not in words and k != "name"] == []


def test_the_examples_in_the_documentation_are_valid(tmp_path: Path) -> None:
    import re

    from minify.config.read import read_config

    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        path = tmp_path / "minify.yaml"
        path.write_text(block)
        read_config(path)
