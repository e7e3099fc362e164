"""A service that needs another one: every page is what the line protocol of that one answers."""

import http.server
import signal
import socket
import sys


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as words:
            words.sendall(b"WORD\nQUIT\n")
            answer = words.makefile("rb").readline()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the word is " + answer)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", 8080), Page).serve_forever()
