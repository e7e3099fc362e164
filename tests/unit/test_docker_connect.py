"""Which engine is meant, as the docker command line sees it; and whose process answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minify import doctor
from minify.engines import docker_connect
from minify.engines.docker_connect import address, is_local
from minify.engines.docker_context import settings
from minify.errors import EngineError
from minify.sweep import open_engine
from minify.workspace import Home, Run

FIRST, SECOND = "unix:///first.sock", "tcp://second.example:2376"


def context(folder: Path, name: str, *keys: str, **endpoint: Any) -> None:
    """Write a context as `docker context create` does, with empty key files of these names."""
    key = hashlib.sha256(name.encode()).hexdigest()
    meta, tls = folder / "contexts/meta" / key, folder / "contexts/tls" / key / "docker"
    meta.mkdir(parents=True)
    document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(document))
    tls.mkdir(parents=True)
    for file in keys:
        (tls / file).write_text("")


@pytest.fixture
def docker_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of the docker command line with two contexts, and no variable set."""
    for name in ("HOST", "CONTEXT", "TLS_VERIFY", "CERT_PATH"):
        monkeypatch.delenv(f"DOCKER_{name}", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    context(tmp_path, "first", Host=FIRST, SkipTLSVerify=False)
    context(tmp_path, "second", "ca.pem", "cert.pem", "key.pem", Host=SECOND)
    return tmp_path


@pytest.mark.parametrize(
    ("host", "variable", "current", "found"),
    [
        ("unix:///host.sock", "second", "first", "unix:///host.sock"),
        ("unix:///host.sock", "none", "none", "unix:///host.sock"),
        ("", "second", "first", SECOND),
        ("", "first", "none", FIRST),
        ("", "default", "first", "http+unix:///var/run/docker.sock"),
        ("", "", "first", FIRST),
        ("", "", "default", "http+unix:///var/run/docker.sock"),
        ("", "", "", "http+unix:///var/run/docker.sock"),
    ],
)
def test_the_engine_is_found_as_the_command_line_does(
    docker_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    variable: str,
    current: str,
    found: str,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setenv("DOCKER_CONTEXT", variable)
    (docker_home / "config.json").write_text(json.dumps({"currentContext": current}))
    assert address() == found


def test_a_context_is_found_without_a_settings_file(
    docker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "first")
    assert not (docker_home / "config.json").exists()
    assert settings() == {"base_url": FIRST}


@pytest.mark.parametrize("text", ["{", "[]", '{"currentContext": 3}'])
def test_a_settings_file_that_is_broken_names_no_context(docker_home: Path, text: str) -> None:
    (docker_home / "config.json").write_text(text)
    assert settings() == {}


@pytest.mark.parametrize("by", ["DOCKER_CONTEXT", "currentContext"])
def test_a_context_there_is_none_of_is_named_with_those_known(
    docker_home: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "DOCKER_CONTEXT":
        monkeypatch.setenv(by, "typo")
    else:
        (docker_home / "config.json").write_text('{"currentContext": "typo"}')
    with pytest.raises(EngineError, match=f"'typo' .*{by}.*known: default, first, second"):
        address()
    (check,) = doctor._docker()
    assert not check.ok and "typo" in check.detail


def test_no_other_engine_is_taken_where_the_context_is_wrong(
    docker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "typo")
    home = Home(docker_home / "home")
    with pytest.raises(EngineError, match="typo"):
        open_engine("auto", Run("token", docker_home), home)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"Endpoints": {"docker": []}}'])
def test_a_context_that_cannot_be_read(
    docker_home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "first")
    key = hashlib.sha256(b"first").hexdigest()
    (docker_home / "contexts/meta" / key / "meta.json").write_text(text)
    with pytest.raises(EngineError, match=r"'first' .*cannot be read"):
        settings()


def test_keys_of_contexts(docker_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context(docker_home, "ca", "ca.pem", Host=SECOND)
    context(docker_home, "plain", Host="tcp://third:2375", SkipTLSVerify=False)
    context(docker_home, "trusting", Host=SECOND, SkipTLSVerify=True)
    found = {}
    for name in ("second", "ca", "plain", "trusting"):
        monkeypatch.setenv("DOCKER_CONTEXT", name)
        found[name] = settings().get("tls")
    tls = docker_home / "contexts/tls"
    second = tls / hashlib.sha256(b"second").hexdigest() / "docker"
    assert found["second"].cert == (str(second / "cert.pem"), str(second / "key.pem"))
    assert found["second"].verify is True and found["second"].ca_cert == str(second / "ca.pem")
    assert found["ca"].cert is None and found["ca"].ca_cert.endswith("ca.pem")
    assert found["plain"] is None
    assert found["trusting"].verify is False


def test_keys_of_the_variables_are_not_those_of_a_context(
    docker_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "first")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert settings() == {"base_url": FIRST}
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (docker_home / name).write_text("")
    monkeypatch.setenv("DOCKER_HOST", SECOND)
    assert settings()["tls"].cert[0] == str(docker_home / "cert.pem")


@contextlib.contextmanager
def accepting(host: str) -> Iterator[int]:
    """A port that takes connections, and keeps them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held: list[socket.socket] = []
    server = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")

    def accept() -> None:
        with contextlib.suppress(OSError):  # until the test closes it
            while True:
                held.append(server.accept()[0])

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for one in (server, *held):
            one.close()


@pytest.mark.parametrize(
    ("listen", "ask"), [("127.0.0.1", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1")]
)
def test_who_answers_at_a_port(listen: str, ask: str) -> None:
    try:
        with accepting(listen) as port:
            place = f"[{ask}]" if ":" in ask else ask
            assert docker_connect._tcp_peer(f"http://{place}:{port}") == os.getpid()
    except OSError:
        pytest.skip("no IPv6 here")


def test_who_listens_at_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert docker_connect._unix_peer(f"unix://{path}") is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert docker_connect._unix_peer(f"unix://{path}") == os.getpid()


def test_whose_process_it_is() -> None:
    assert docker_connect._is_ours(os.getpid())
    assert not docker_connect._is_ours(0, unseen=True)  # in a namespace we do not see into
    assert not docker_connect._is_ours(None)
    assert docker_connect._is_ours(None, unseen=True)


class Client:
    """An engine that makes volumes somewhere."""

    def __init__(self, base_url: str, kernel: str, volumes: Path, visible: bool) -> None:
        self.base_url = base_url
        self._kernel = kernel
        self._volumes = volumes
        self._visible = visible
        self.names: list[str] = []

    def version(self, api_version: bool = True) -> dict[str, str]:
        return {"KernelVersion": self._kernel}

    def create_volume(self, name: str) -> dict[str, str]:
        self.names.append(name)
        if self._visible:
            (self._volumes / name).mkdir()
        return {"Name": name, "Mountpoint": str(self._volumes / name)}

    def remove_volume(self, name: str) -> None:
        self.names.remove(name)


@pytest.mark.parametrize(
    ("root", "kernel", "visible", "found"),
    [
        (True, "", True, True),
        (True, "", False, False),
        (True, "1.2-other", True, False),
        (False, "", True, False),
    ],
)
def test_an_engine_behind_tcp_is_ours_when_its_files_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    root: bool,
    kernel: str,
    visible: bool,
    found: bool,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    with accepting("127.0.0.1") as port:
        client = Client(f"http://127.0.0.1:{port}", kernel or os.uname().release, tmp_path, visible)
        assert is_local(client) is found
    assert client.names == []
