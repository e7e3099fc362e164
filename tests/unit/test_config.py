from __future__ import annotations

from pathlib import Path

import pytest

from minify.config.read import mount_from, read_options
from minify.errors import UsageError
from minify.model import ExecDrive, HttpDrive, KeepLevel, SignalDrive, TcpDrive

ROOT = Path(__file__).resolve().parents[2]

FULL = """\
image: app:1
command: serve --port 80
env: {TZ: Europe/Paris, DEBUG: true}
user: 1000
http_probes:
  - GET /health
  - {method: POST, path: /login, form: {user: a}, status: [200, 302]}
tcp_probes: ["6379:PING\\r\\n", 5432]
exec_probes: [[app, --version], "true"]
signal_probes: [HUP]
mounts: ["./data:/data:rw", /scratch]
keep: ["/opt/**"]
keep_level: package
ready_timeout: 5
verify: false
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "minify.yaml"
    path.write_text(text)
    return path


def test_everything_becomes_options(tmp_path: Path) -> None:
    options = read_options(written(tmp_path, FULL))
    assert options.argv == ("serve", "--port", "80")
    assert options.env == ("TZ=Europe/Paris", "DEBUG=true")
    assert options.user == "1000"
    kinds = [type(d) for d in options.drives]
    assert kinds == [
        HttpDrive,
        HttpDrive,
        TcpDrive,
        TcpDrive,
        ExecDrive,
        ExecDrive,
        SignalDrive,
    ]
    assert options.mounts[0].source == str(tmp_path / "data")
    assert not options.mounts[0].read_only
    assert options.mounts[1].source == ""
    assert options.keep_level is KeepLevel.PACKAGE
    assert options.limits.ready == 5
    assert options.verify is False


def test_all_errors_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = "imagee: x\nhttp_probes:\n  - GET /\n  - {pth: /x}\nready_timeout: soon\n"
    with pytest.raises(UsageError) as caught:
        read_options(written(tmp_path, text))
    told = caught.value.message
    assert "minify.yaml:1: unknown key 'imagee', did you mean 'image'?" in told
    assert "minify.yaml:4: unknown key 'pth', did you mean 'path'?" in told
    assert "minify.yaml:5: ready_timeout" in told


def test_what_was_probably_meant_is_said(tmp_path: Path) -> None:
    text = "keep_level: reech\nmax_size: 10 bananas\nbuild_args: [A]\n"
    text += "http_probes: [{path: /, basic: x}]\n"
    with pytest.raises(UsageError) as caught:
        read_options(written(tmp_path, text))
    told = caught.value.message
    assert "did you mean 'reach'?" in told
    assert "max_size: '10 bananas' is not a size, as in 10MB" in told
    assert "basic: 'x' is not USER:PASSWORD" in told
    assert "build_args: ['A'] is not a mapping (NAME: VALUE)" in told


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"minify.yaml:3: not YAML: "):
        read_options(written(tmp_path, "tag: x\nenv: {A: 1\nkeep: x\n"))


@pytest.mark.parametrize("text", ["a: [", "\t- x", "- just\n- a list\n", "http_probes: GET /"])
def test_what_is_no_configuration_is_a_usage_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        read_options(written(tmp_path, text))


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_options(written(tmp_path, "")).drives == ()


def test_a_malformed_probe_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FOO"):
        read_options(written(tmp_path, "http_probes: ['FOO /']"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("sample_apps/*/*.yaml")), ids=str)
def test_the_samples_are_valid(path: Path) -> None:
    assert read_options(path).image == ""


@pytest.mark.parametrize("text", ["/a:b", "x:/y:rx"])
def test_malformed_mounts(text: str) -> None:
    with pytest.raises(UsageError):
        mount_from(text, Path("/"))


def test_places_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    path = tmp_path / "minify.yaml"
    path.write_text(
        "image: oci:in:v1\noutput: [oci:out, docker-archive:/x.tar, docker://h/n:1]\n"
        "layers: shared\nauth_file: auth.json\ntls_verify: false\n"
    )
    options = read_options(path)
    assert options.image == f"oci:{tmp_path}/in:v1"
    assert options.output == (f"oci:{tmp_path}/out", "docker-archive:/x.tar", "docker://h/n:1")
    assert (options.layers, options.tls_verify) == ("shared", False)
    assert options.auth_file == str(tmp_path / "auth.json")
