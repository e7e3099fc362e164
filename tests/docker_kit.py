"""A Docker engine's API with prepared answers, behind a socket of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What one URL says; `cut`: the connection breaks off after so many bytes, and after `held`."""

    body: bytes
    kind: str = "application/json"
    status: int = 200
    chunked: bool = False
    cut: int | None = None
    held: threading.Event | None = None


Said = Answer | Callable[[str], Answer]
UNKNOWN = Answer(b'{"message": "no such thing"}', status=404)


def told(document: object) -> Answer:
    """An answer in JSON."""
    return Answer(json.dumps(document).encode())


@contextlib.contextmanager
def docker_engine(answers: Mapping[str, Said], api: str = "1.41") -> Iterator[list[str]]:
    """Answer at DOCKER_HOST; yields the URLs that were asked for. Paths are given without /vX.Y."""
    version = told({"ApiVersion": api, "Version": "99.1", "KernelVersion": os.uname().release})
    known: dict[str, Said] = {"/version": version, **answers}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            path = re.sub(r"^/v\d+\.\d+(?=/)", "", urlsplit(self.path).path)
            said = known.get(path, UNKNOWN)
            self._send(said if isinstance(said, Answer) else said(self.path))

        def do_POST(self) -> None:
            self.do_GET()

        def _send(self, said: Answer) -> None:
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            if said.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(0, len(said.body), 1000):
                    part = said.body[at : at + 1000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
                return
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body[: said.cut])
            if said.held is not None:
                self.wfile.flush()
                said.held.wait(10)
            self.close_connection = said.cut is not None

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "client"

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "docker.sock"))
        with Server(path, Handler) as server, _host(f"unix://{path}"):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            yield asked
            server.shutdown()


@contextlib.contextmanager
def _host(address: str) -> Iterator[None]:
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
