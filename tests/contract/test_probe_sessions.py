"""What drives do beyond one request: sessions, redirects, expectations, HTTP/2, WebSocket, gRPC."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minify.codec import to_plain
from minify.config.httpform import http_from, sequence_from
from minify.model import Exchange, GrpcDrive, HttpDrive, TcpDrive, WebSocketDrive

PROBES = Path(__file__).parents[2] / "probes"


class Shop(http.server.BaseHTTPRequestHandler):
    """A service with a log-in, an API token and a flaky page."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: object = None, *headers: tuple[str, str]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Length", str(len(raw))), *headers):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/login" and data == b"user=me":
            cookie = ("Set-Cookie", "id=s3cret; Path=/; HttpOnly")
            self.reply(302, None, ("Location", "/home"), cookie, ("Set-Cookie", "t=1; Path=/x"))
        elif self.path == "/token":
            self.reply(200, {"data": [{"token": "abc"}]}, ("X-Next", "/next"))
        else:
            self.reply(400, data.decode())

    def do_GET(self) -> None:
        state: dict[str, int] = self.server.state  # type: ignore[attr-defined]
        cookie = self.headers.get("Cookie", "")
        if self.path == "/home":
            self.reply(200 if cookie == "id=s3cret" else 403, {"cookie": cookie})
        elif self.path == "/logout":
            self.reply(200, None, ("Set-Cookie", "id=; Path=/; Max-Age=0"))
        elif self.path == "/flaky":
            state["flaky"] = state.get("flaky", 0) + 1
            self.reply(200 if state["flaky"] > 2 else 503)
        elif self.path == "/loop":
            self.reply(301, None, ("Location", "loop"))
        elif self.path == "/away":
            self.reply(302, None, ("Location", "http://elsewhere.example/"))
        else:
            self.reply(200, {"path": self.path, "auth": self.headers.get("Authorization", "")})


@contextmanager
def shop() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.state = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(name: str, port: int, *drives: Any, packages: bool = False) -> list[dict[str, Any]]:
    sent = [{**to_plain(d), "host": "127.0.0.1", "port": port} for d in drives]
    flags = ["-I"] if packages else ["-I", "-S"]
    done = subprocess.run(
        [sys.executable, *flags, str(PROBES / name)], text=True, capture_output=True, timeout=60,
        input=json.dumps({"drives": sent}) + "\n",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def ask(port: int, **value: Any) -> dict[str, Any]:
    return run("drive_http.py", port, http_from(value, Path("/")))[0]


def body(answer: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(answer["body"]))


def steps(*sequence: Any) -> tuple[HttpDrive, ...]:
    return sequence_from({"name": "s", "sequence": list(sequence)}, Path("/"))


def test_log_in_then_act_then_log_out() -> None:
    with shop() as port:
        got = run(
            "drive_http.py", port,
            *steps(
                {"path": "/login", "form": {"user": "me"}, "status": 302},
                {"path": "/home", "status": 200},
                "/logout",
                {"path": "/home", "status": 403},
            ),
        )  # fmt: skip
    assert [(a["ok"], a["error"]) for a in got] == [(True, "")] * 4


def test_cookies_of_another_session_are_not_sent() -> None:
    login = http_from({"path": "/login", "form": {"user": "me"}, "session": "a"}, Path("/"))
    home = {"path": "/home", "status": 403}
    with shop() as port:
        other = http_from({**home, "session": "b"}, Path("/"))
        got = run("drive_http.py", port, login, other, http_from(home, Path("/")))
    assert [a["ok"] for a in got] == [True, True, True]


def test_captured_variables_go_into_path_header_and_body() -> None:
    with shop() as port:
        got = run(
            "drive_http.py", port,
            *steps(
                {
                    "path": "/token", "method": "POST",
                    "capture": {
                        "token": {"json": "$.data[0].token"}, "next": {"header": "X-Next"},
                        "word": {"body": '"(tok..)"'},
                    },
                },
                {"path": "{{next}}?w={{ word }}", "bearer": "{{token}}"}
                | {"expect_json": {"$.auth": "Bearer abc", "path": "/next?w=token"}},
                {"path": "/echo", "body": "<{{token}}>", "status": 400, "expect": "<abc>"},
                {"path": "/{{unknown}}"},
            ),
        )  # fmt: skip
    assert [a["ok"] for a in got] == [True, True, True, False]
    assert got[3]["error"] == "no variable unknown was captured before"


def test_what_is_not_there_to_capture_is_an_error() -> None:
    with shop() as port:
        got = run("drive_http.py", port, *steps({"path": "/", "capture": {"a": {"json": "$.no"}}}))
    assert (got[0]["ok"], got[0]["error"]) == (False, "no JSON value at $.no")


def test_redirects_are_followed_on_request_on_the_same_service() -> None:
    login = {"path": "/login", "form": {"user": "me"}}
    with shop() as port:
        assert ask(port, **login)["status"] == 302
        assert ask(port, **login, follow=True)["status"] == 200  # with the cookie, by GET
        assert ask(port, path="/loop", follow=3)["status"] == 301
        assert ask(port, path="/away", follow=True)["status"] == 302


def test_a_failed_request_is_sent_again_as_often_as_told() -> None:
    with shop() as port:
        assert ask(port, path="/flaky", retries=1)["status"] == 503
        assert ask(port, path="/flaky", retries=1)["status"] == 200


def test_expected_headers_and_values() -> None:
    with shop() as port:
        assert ask(port, expect_headers={"content-length": r"^\d+$"})["ok"]
        wrong = ask(port, expect_headers={"X-None": "."})
        assert (wrong["ok"], wrong["error"]) == (False, "header X-None is not as expected")
        wrong = ask(port, expect_json={"$.path": "/b"})
        assert (wrong["ok"], wrong["error"]) == (False, "JSON value at $.path is not as expected")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop.test",
         "-addext", "subjectAltName=DNS:shop.test", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    return folder


def server_context(folder: Path, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def test_a_certificate_is_checked_on_request(authority: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.socket = server_context(authority).wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port, pem = server.server_address[1], str(authority / "cert.pem")
    try:
        assert ask(port, tls=True)["ok"]
        assert ask(port, tls={"authority": pem, "name": "shop.test"})["ok"]
        assert "CERTIFICATE" in ask(port, tls={"check": True})["error"]
        assert "CERTIFICATE" in ask(port, tls={"authority": pem, "name": "other.test"})["error"]
    finally:
        server.shutdown()
        server.server_close()


def http2_once(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Answer one HTTP/2 request with what it was."""
    import h2.config
    import h2.connection
    import h2.events

    sock, _ = listener.accept()
    if context:
        sock = context.wrap_socket(sock, server_side=True)
    link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    link.initiate_connection()
    sock.sendall(link.data_to_send())
    with sock:
        while data := sock.recv(65536):
            for event in link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[b":path"]
                    link.send_headers(event.stream_id, [(":status", "200"), ("x-two", "2")])
                    link.send_data(event.stream_id, b"two " + path, end_stream=True)
            sock.sendall(link.data_to_send())


@pytest.mark.parametrize("tls", [False, True])
def test_http2(authority: Path, tls: bool) -> None:
    pytest.importorskip("h2")
    pytest.importorskip("httpx")
    drive = http_from({"path": "/a b?c", "http2": True, "tls": tls, "expect": "two"}, Path("/"))
    context = server_context(authority, "h2") if tls else None
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        done = pool.submit(http2_once, listener, context)
        (answer,) = run("drive_http.py", listener.getsockname()[1], drive, packages=True)
        done.result(10)
    assert (answer["ok"], answer["status"], answer["protocol"]) == (True, 200, "http/2")
    assert base64.b64decode(answer["body"]) == b"two /a%20b?c"
    assert ["x-two", "2"] in answer["headers"]


def test_http2_without_its_package_says_so() -> None:
    drive = HttpDrive("x", http2=True)
    (answer,) = run("drive_http.py", 1, drive)
    assert (answer["ok"], answer["error"]) == (False, "the Python module httpx is missing")


@contextmanager
def websocket(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server_module = pytest.importorskip("websockets.sync.server")

    def echo(link: Any) -> None:
        link.send(f"hello {link.request.path}")
        for message in link:
            link.send(message.upper() if isinstance(message, str) else message[::-1])

    with server_module.serve(echo, "127.0.0.1", 0, ssl=context) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]
        server.shutdown()


def test_websocket_open_send_expect(authority: Path) -> None:
    talk = (Exchange(b"", "hello /w"), Exchange(b"abc", "^ABC$"), Exchange(b"\xff\x00", ""))
    drive = WebSocketDrive("w", path="/w", steps=talk)
    with websocket() as port:
        (good,) = run("drive_websocket.py", port, drive, packages=True)
        wrong = WebSocketDrive("w", steps=(Exchange(b"a", "never"),), timeout=0.5)
        (bad,) = run("drive_websocket.py", port, wrong, packages=True)
        (greeted,) = run("drive_websocket.py", port, WebSocketDrive("w"), packages=True)
    assert (good["ok"], good["status"], good["protocol"]) == (True, 101, "websocket")
    assert base64.b64decode(good["body"]) == b"hello /w\nABC\n\x00\xff"
    assert (bad["ok"], bad["error"]) == (False, "expected message did not come")
    assert base64.b64decode(greeted["body"]) == b"hello /"


def test_websocket_where_there_is_none() -> None:
    pytest.importorskip("websockets")
    with shop() as port:
        (answer,) = run("drive_websocket.py", port, WebSocketDrive("w"), packages=True)
    assert (answer["ok"], answer["error"]) == (False, "refused with HTTP status 200")
    (answer,) = run("drive_websocket.py", 1, WebSocketDrive("w"), packages=True)
    assert not answer["ok"]


def test_tcp_steps_wait_for_their_own_answers() -> None:
    def talk(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(4096):
                connection.sendall(b"+" + data.upper())

    talked = (Exchange(b"get a\n", "GET A"), Exchange(b"quit\n", "QUIT"), Exchange(b"x", "no"))
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listener:
        done = pool.submit(talk, listener)
        drive = TcpDrive("t", 0, b"set a 1\n", "SET", timeout=1, steps=talked)
        (answer,) = run("drive_tcp.py", listener.getsockname()[1], drive)
        done.result(10)
    assert base64.b64decode(answer["body"]) == b"+SET A 1\n+GET A\n+QUIT\n+X"
    assert not answer["ok"]
    assert answer["error"].startswith("expected text did not come")


def test_grpc_by_reflection() -> None:
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("grpc_reflection")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from grpc_reflection.v1alpha import reflection

    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    message = file.message_type.add(name="Word")
    message.field.add(name="text", number=1, type=9, label=1)
    service = file.service.add(name="Echo")
    service.method.add(name="Say", input_type=".t.Word", output_type=".t.Word")
    service.method.add(name="Many", input_type=".t.Word", output_type=".t.Word")
    service.method[1].server_streaming = True
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Word"))

    def say(request: Any, context: Any) -> Any:
        if request.text == "no":
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing")
        return kind(text=request.text + "!")

    def many(request: Any, context: Any) -> Any:
        yield from (kind(text=str(n)) for n in range(3))

    coded = {"request_deserializer": kind.FromString,
             "response_serializer": lambda m: m.SerializeToString()}  # fmt: skip
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say, **coded),
        "Many": grpc.unary_stream_rpc_method_handler(many, **coded),
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Echo", handlers),))
    reflection.enable_server_reflection(["t.Echo", reflection.SERVICE_NAME], server, pool)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        found = run("drive_grpc.py", port, GrpcDrive("g", 1), packages=True)
        calls = (
            ("t.Echo/Say", '{"text": "hi"}'),
            ("t.Echo/Say", '{"text": "no"}'),
            ("t.X/Y", "{}"),
        )
        asked = run("drive_grpc.py", port, GrpcDrive("g", 1, calls), packages=True)
    finally:
        server.stop(0)
    assert [(a["part"], a["ok"], base64.b64decode(a["body"]).decode()) for a in found] == [
        ("reflection", True, "t.Echo/Say\nt.Echo/Many"),
        ("t.Echo/Say", True, '{"text": "!"}'),
        ("t.Echo/Many", True, '{"text": "0"}\n{"text": "1"}\n{"text": "2"}'),
    ]
    assert [bool(a.get("more")) for a in found] == [True, True, False]
    assert [(a["ok"], a["error"]) for a in asked] == [
        (True, ""), (True, ""), (False, "gRPC status NOT_FOUND"), (False, "no such method"),
    ]  # fmt: skip


def test_grpc_where_there_is_none() -> None:
    pytest.importorskip("grpc")
    (answer,) = run("drive_grpc.py", 1, GrpcDrive("g", 1, timeout=1), packages=True)
    assert (answer["ok"], answer["error"]) == (False, "no connection")
