"""The drives as programs, against real servers on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minify.codec import to_plain
from minify.model import HttpDrive, Observation, TcpDrive

PROBES = Path(__file__).parents[2] / "probes"
BIG = bytes(range(256)) * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/big":
            self.reply(200, BIG, ("X-Twice", "b"), ("X-Twice", "a"))
        elif self.path == "/moved":
            self.reply(302, b"", ("Location", "/big"))
        elif self.path == "/error":
            self.reply(503, b"down")
        elif self.path == "/stream":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"data: 1\n\n")
            self.wfile.flush()
            self.server.gate.wait(30)  # type: ignore[attr-defined]
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"few")
            self.close_connection = True
        else:
            seen = {k.lower(): v for k, v in self.headers.items()}
            self.reply(200, json.dumps({"path": self.path, **seen}).encode())

    def do_POST(self) -> None:
        self.reply(201, self.rfile.read(int(self.headers["Content-Length"])).upper())

    def do_HEAD(self) -> None:
        self.do_GET()


@contextmanager
def web(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.gate = threading.Event()  # type: ignore[attr-defined]
    if context:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.gate.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def tcp(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one conversation after another."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key", folder / "cert"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=somebody.else",
         "-days", "2", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def run(name: str, *drives: dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-I", str(PROBES / name)], text=True, capture_output=True, timeout=60,
        input=json.dumps({"drives": list(drives)}) + "\n",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    got = [json.loads(line) for line in done.stdout.splitlines()]
    fields = set(Observation.__dataclass_fields__)
    assert all(set(answer) == fields for answer in got)
    return got


def ask(port: int, drive: HttpDrive | TcpDrive, **more: Any) -> dict[str, Any]:
    plain = {**to_plain(drive), "host": "127.0.0.1", "port": port, **more}
    name = "drive_http.py" if isinstance(drive, HttpDrive) else "drive_tcp.py"
    return run(name, plain)[0]


def body(answer: dict[str, Any]) -> bytes:
    return base64.b64decode(answer["body"])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def echo(connection: socket.socket) -> None:
    while data := connection.recv(4096):
        connection.sendall(data.upper())


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_a_whole_body_is_measured_and_its_beginning_kept() -> None:
    with web() as port:
        got = ask(port, HttpDrive("big", path="/big"))
    assert (got["ok"], got["status"], got["protocol"], got["error"]) == (True, 200, "http", "")
    assert got["body_size"] == len(BIG)
    assert got["body_sha256"] == hashlib.sha256(BIG).hexdigest()
    assert body(got) == BIG[:65536]
    headers = [tuple(h) for h in got["headers"]]
    assert headers == sorted(headers)
    assert [v for k, v in headers if k == "x-twice"] == ["a", "b"]


def test_what_is_sent() -> None:
    with web() as port:
        got = ask(port, HttpDrive("h", path="/p?q=1", headers=(("X-A", "1"), ("HOST", "name"))))
    sent = json.loads(body(got))
    assert (sent["path"], sent["host"], sent["user-agent"], sent["x-a"]) == (
        "/p?q=1", "name", "minify", "1",
    )  # fmt: skip


def test_a_post_has_its_body_and_a_head_has_none() -> None:
    with web() as port:
        post = ask(port, HttpDrive("p", method="POST", body=b"abc"))
        head = ask(port, HttpDrive("h", method="HEAD", path="/big"))
    assert (post["status"], body(post)) == (201, b"ABC")
    assert (head["status"], head["body_size"], head["ok"]) == (200, 0, True)


@pytest.mark.parametrize(
    ("drive", "status", "ok"),
    [
        (HttpDrive("moved", path="/moved"), 302, True),
        (HttpDrive("error", path="/error"), 503, False),
        (HttpDrive("wanted", path="/error", expect_status=(503,)), 503, True),
        (HttpDrive("unwanted", path="/", expect_status=(404,)), 200, False),
        (HttpDrive("text", path="/abc", expect_body=r'"path": "/a.c"'), 200, True),
        (HttpDrive("no-text", path="/abc", expect_body="nonsense"), 200, False),
    ],
)
def test_what_counts_as_good(drive: HttpDrive, status: int, ok: bool) -> None:
    with web() as port:
        got = ask(port, drive)
    assert (got["status"], got["ok"], bool(got["error"])) == (status, ok, not ok)


def test_a_body_without_end_is_cut_and_flagged() -> None:
    with web() as port:
        got = ask(port, HttpDrive("sse", path="/stream", timeout=0.5))
    assert (got["ok"], got["error"], body(got)) == (True, "body did not end", b"data: 1\n\n")


def test_a_body_that_ends_early_is_not_good() -> None:
    with web() as port:
        got = ask(port, HttpDrive("short", path="/short"))
    assert not got["ok"]
    assert got["error"].startswith("body ended early")


def test_tls_when_told_and_when_found_out(certificate: ssl.SSLContext) -> None:
    with web(certificate) as port:
        told = ask(port, HttpDrive("told", tls=True))
        found = ask(port, HttpDrive("found"))
    for got in (told, found):
        assert (got["ok"], got["status"], got["protocol"]) == (True, 200, "https")


def test_a_server_that_asks_for_tls_in_words(certificate: ssl.SSLContext) -> None:
    words = b"400 The plain HTTP request was sent to HTTPS port"

    def talk(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":
            connection.recv(4096)
            head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(words)
            connection.sendall(head + words)
            return
        with certificate.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    with tcp(talk) as port:
        got = ask(port, HttpDrive("words"))
    assert (got["protocol"], got["status"], body(got)) == ("https", 200, b"hi")


def test_a_port_that_speaks_something_else() -> None:
    with tcp(lambda c: c.sendall(b"220 mail.example ESMTP\r\n")) as port:
        greets = ask(port, HttpDrive("greets"))
        wanted = ask(port, HttpDrive("wanted", expect_status=(200,)))
    with tcp(silent) as port:
        quiet = ask(port, HttpDrive("quiet", timeout=0.3))
    with tcp(lambda c: None) as port:
        closes = ask(port, HttpDrive("closes"))
    for got in (greets, quiet, closes):
        assert (got["protocol"], got["ok"], got["status"]) == ("tcp", True, 0)
        assert got["error"].startswith("not HTTP")
    assert body(greets) == b"220 mail.example ESMTP\r\n"
    assert not wanted["ok"]


def test_nobody_there() -> None:
    port = closed_port()
    for drive in (HttpDrive("h"), TcpDrive("t", port)):
        got = ask(port, drive)
        assert (got["ok"], got["error"]) == (False, "connection refused")


def test_trying_again_while_refused() -> None:
    port = closed_port()
    plain = {**to_plain(HttpDrive("late")), "host": "127.0.0.1", "port": port, "retry_for": 30}
    with subprocess.Popen(
        [sys.executable, "-I", str(PROBES / "drive_http.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin and program.stdout
        program.stdin.write(json.dumps({"drives": [plain]}) + "\n")
        program.stdin.flush()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        got = json.loads(program.stdout.readline())
        server.shutdown()
        server.server_close()
        thread.join()
    assert (got["ok"], got["status"]) == (True, 200)


def test_a_proxy_whose_application_is_not_up_yet_is_asked_again() -> None:
    """nginx and php-fpm under one supervisor: 502 until the second listens."""
    answers = iter((502, 503, 200))

    class Starting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Starting)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    got = ask(server.server_address[1], HttpDrive("early"))
    server.shutdown()
    server.server_close()
    thread.join()
    assert (got["ok"], got["status"]) == (True, 200)


def test_answers_come_in_order() -> None:
    with web() as port:
        base = {"host": "127.0.0.1", "port": port}
        got = run("drive_http.py", *({**base, "id": str(i), "path": f"/{i}"} for i in range(5)))
    assert [a["drive"] for a in got] == ["0", "1", "2", "3", "4"]


def test_tcp_echo_until_matched_or_quiet() -> None:
    with tcp(echo) as port:
        matched = ask(port, TcpDrive("m", port, b"ping\n", "PI.G"))
        quiet = ask(port, TcpDrive("q", port, b"ping\n"))
        missed = ask(port, TcpDrive("x", port, b"ping\n", "pong", timeout=0.5))
    assert (matched["ok"], body(matched), matched["protocol"]) == (True, b"PING\n", "tcp")
    assert (quiet["ok"], quiet["body_size"]) == (True, 5)
    assert quiet["body_sha256"] == hashlib.sha256(b"PING\n").hexdigest()
    assert (missed["ok"], missed["error"]) == (False, "expected text did not come: timeout")


def test_tcp_servers_that_say_nothing_or_close() -> None:
    with tcp(silent) as port:
        quiet = ask(port, TcpDrive("quiet", port))
        asked = ask(port, TcpDrive("asked", port, b"x", timeout=0.3))
    with tcp(lambda c: c.sendall(b"bye")) as port:
        closes = ask(port, TcpDrive("closes", port, expect="hello"))
    assert (quiet["ok"], quiet["error"]) == (True, "")
    assert (asked["ok"], asked["error"]) == (True, "silent")
    assert (closes["ok"], closes["error"]) == (False, "expected text did not come: closed")


@pytest.mark.parametrize("drive", [HttpDrive("http"), TcpDrive("tcp", 1, b"a\nb\nc\n", "A")])
def test_a_service_is_heard_out(drive: HttpDrive | TcpDrive) -> None:
    ended: list[str] = []
    done = threading.Event()

    def slowly(connection: socket.socket) -> None:
        try:
            for line in connection.makefile("rb"):
                connection.sendall(line.upper())
                time.sleep(0.02)
            ended.append("told of its end")
        except OSError as error:
            ended.append(type(error).__name__)
        done.set()

    with tcp(slowly) as port:
        got = ask(port, drive)
        assert done.wait(5)
    assert (got["ok"], got["protocol"], ended) == (True, "tcp", ["told of its end"])


@pytest.mark.parametrize("name", ["drive_http.py", "drive_tcp.py"])
@pytest.mark.parametrize("line", ["", "{}", '{"drives": [{"id": "a", "host": "h"}]}', "[]", "no"])
def test_a_bad_request_is_refused(name: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(PROBES / name)], input=line + "\n", text=True,
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad request" in done.stderr


def test_a_request_cannot_be_split_by_line_breaks() -> None:
    with web() as port:
        got = ask(port, HttpDrive("path", path="/ä b HTTP/1.1\r\nEvil: 1"))
    sent = json.loads(body(got))
    assert "evil" not in sent
    assert sent["path"] == "/%C3%A4%20b%20HTTP/1.1%0D%0AEvil:%201"
    drive = {"id": "a", "host": "h", "port": 1, "headers": [["A", "b\r\nEvil: 1"]]}
    done = subprocess.run(
        [sys.executable, "-I", str(PROBES / "drive_http.py")], text=True, capture_output=True,
        input=json.dumps({"drives": [drive]}) + "\n", timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
