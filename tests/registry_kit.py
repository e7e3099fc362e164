"""A real registry on loopback, with a password and a self-signed certificate, for tests."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minify.images.registry import Access

NEEDED = ("docker-registry", "skopeo", "openssl", "htpasswd")
MISSING = [name for name in NEEDED if not shutil.which(name)]
USER, PASSWORD = "robot", "correct horse"


@dataclass(frozen=True)
class Registry:
    host: str
    access: Access
    log: Path

    def uploads(self) -> int:
        """How many blob uploads were finished so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum("PUT /v2/" in line and "/blobs/uploads/" in line for line in lines)


def config_text(root: Path, port: int) -> str:
    return f"""
version: 0.1
log: {{level: info, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {root}/store}}
http:
  addr: 127.0.0.1:{port}
  tls: {{certificate: {root}/certs/ca.crt, key: {root}/key.pem}}
auth:
  htpasswd: {{realm: test, path: {root}/htpasswd}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(root: Path, port: int) -> None:
    (root / "certs").mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(root / "key.pem"), "-out", str(root / "certs" / "ca.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(
        ["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True, text=True
    )
    (root / "htpasswd").write_text(done.stdout)
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    auths = {"auths": {f"localhost:{port}": {"auth": token}}}
    (root / "auth.json").write_text(json.dumps(auths))
    (root / "config.yml").write_text(config_text(root, port))


def wait_for(port: int, root: Path) -> None:
    context = ssl.create_default_context(cafile=str(root / "certs" / "ca.crt"))
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"https://localhost:{port}/v2/", context=context)
        except urllib.error.HTTPError as answer:
            assert answer.code == 401
            return
        except OSError:
            assert time.monotonic() < deadline, (root / "log").read_text()
            time.sleep(0.05)


@contextmanager
def serving(root: Path) -> Iterator[Registry]:
    """Run a registry out of an empty folder."""
    port = free_port()
    prepare(root, port)
    with (root / "log").open("wb") as log:
        child = subprocess.Popen(
            ["docker-registry", "serve", str(root / "config.yml")], stdout=log, stderr=log
        )
    try:
        wait_for(port, root)
        access = Access(str(root / "auth.json"), str(root / "certs"), retries=0, timeout=60)
        yield Registry(f"localhost:{port}", access, root / "log")
    finally:
        child.terminate()
        child.wait(10)
