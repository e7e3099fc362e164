"""A shop window of protocols: pages, log-in, upload, API documents, WebSocket, a line protocol."""

import base64
import hashlib
import http.cookies
import http.server
import json
import os
import signal
import socketserver
import struct
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
STATE = {"word": "", "orders": []}


def load() -> None:
    STATE["word"] = (HERE / "words" / "greeting.txt").read_text().strip()


def reload(*_args: object) -> None:
    STATE["word"] = (HERE / "words" / "reloaded.txt").read_text().strip()
    print("reloaded")


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, status: int, body: object, kind: str = "application/json", **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def logged_in(self) -> bool:
        cookies = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        return "id" in cookies and cookies["id"].value == "s3cret"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/greeting":
            self.reply(200, {"word": STATE["word"]})
        elif path == "/home":
            self.reply(200 if self.logged_in() else 403, {"logged_in": self.logged_in()})
        elif path == "/openapi.json":
            self.reply(200, (HERE / "openapi.json").read_bytes())
        elif path == "/report":
            import csv  # loaded on the first request only
            import io

            text = io.StringIO()
            csv.writer(text).writerows([["n", "square"], *([n, n * n] for n in range(3))])
            self.reply(200, text.getvalue().encode(), "text/csv")
        elif path == "/ws" and self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        elif path.startswith("/items/"):
            number = path.rpartition("/")[2]
            self.reply(200, {"id": int(number)}) if number.isdigit() else self.reply(400, "no number")
        else:
            self.page(path)

    do_HEAD = do_GET

    def page(self, path: str) -> None:
        import mimetypes

        file = (HERE / "site" / path.lstrip("/")).resolve()
        file = file / "index.html" if file.is_dir() else file
        if not file.is_relative_to(HERE / "site") or not file.is_file():
            self.reply(404, (HERE / "site" / "404.html").read_bytes(), "text/html")
            return
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        self.reply(200, file.read_bytes(), kind)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/login":
            good = data == b"user=me&password=secret"
            self.reply(302 if good else 403, {}, Location="/home",
                       **({"Set_Cookie": "id=s3cret; Path=/; HttpOnly"} if good else {}))
        elif self.path == "/token":
            self.reply(200 if self.logged_in() else 403, {"data": [{"token": "abc123"}]})
        elif self.path == "/orders":
            self.order(data)
        elif self.path == "/upload":
            self.reply(201, {"digest": hashlib.sha256(data.partition(b"\r\n\r\n")[2]).hexdigest()})
        elif self.path == "/graphql":
            self.graphql(data)
        else:
            self.reply(404, {})

    def order(self, data: bytes) -> None:
        if self.headers.get("Authorization") != "Bearer abc123":
            self.reply(401, {})
            return
        try:
            item = json.loads(data)["item"]
        except (ValueError, KeyError, TypeError):
            self.reply(422, {"error": "an order names an item"})
            return
        self.reply(201, {"item": item}, Location="/orders/1")

    def graphql(self, data: bytes) -> None:
        query = json.loads(data)["query"]
        if "__schema" in query:
            self.reply(200, (HERE / "schema.json").read_bytes())
        else:
            self.reply(200, {"data": {"greeting": STATE["word"]}})

    def websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"),
                            ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while True:
            first, second = self.rfile.read(2)
            size = second & 127
            if size == 126:
                (size,) = struct.unpack(">H", self.rfile.read(2))
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(size)))
            kind = first & 15
            if kind == 8:
                self.wfile.write(bytes((0x88, len(text))) + text)
                return
            answer = (STATE["word"] + " " + text.decode()).encode()
            self.wfile.write(bytes((0x81, len(answer))) + answer)


class Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "QUIT":
                return
            answer = {"PING": "PONG", "ECHO": rest, "WORD": STATE["word"]}.get(word, "ERROR")
            self.wfile.write(f"{answer}\n".encode())


def main() -> int:
    load()
    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    lines = socketserver.ThreadingTCPServer(("", 7000), Lines)
    threading.Thread(target=lines.serve_forever, daemon=True).start()
    http.server.ThreadingHTTPServer(("", 8080), Web).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
