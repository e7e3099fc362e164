"""Send HTTP requests to a port and say what came back.

Runs as `python3 -I drive_http.py` (Python 3.9 or newer); the contract is in README.md. A port that
speaks TLS, or no HTTP at all, is an answer, not an error: RFC 9112, RFC 8446 section 6 (alerts).
Cookies: RFC 6265, one host, so without domains. HTTP/2 is httpx's work and asked for by drive.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import http.client
import json
import re
import socket
import ssl
import string
import sys
import time
import urllib.parse
from typing import Any

BODY_LIMIT = 65536  # bytes of a body that are handed on, unless the drive says otherwise
LOOKED_AT = 4 << 20  # bytes of a body in which patterns and values are searched
MOST_REDIRECTS = 20
READ_LIMIT = 1 << 30  # bytes after which a body counts as never-ending
RETRY_PAUSE = 0.05
HEARD_OUT = 0.3  # seconds that a service may go on talking once nothing more is asked
AGAIN_PAUSE = 0.2  # seconds before a failed request is sent again; doubled each time
STARTING_UP = (502, 503, 504)
PATIENCE = 15.0  # seconds after the first request in which such an answer is not the last word
VARIABLE = re.compile(rb"\{\{\s*(\w+)\s*\}\}")
STEP = re.compile(r"""\.?([^.\[\]'"]+)|\[(\d+|'[^']*'|"[^"]*")\]""")  # of a JSON path
PATH_SAFE = string.punctuation  # sent as they are; blanks, controls and non-ASCII are escaped
TLS_ALERT, TLS_HANDSHAKE = 0x15, 0x16  # first byte of a TLS record (RFC 8446, 5.1)
# What web servers tell a client that speaks plain HTTP to their TLS port.
WANTS_TLS = re.compile(
    rb"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"
    rb"|speaking plain HTTP to an SSL-enabled|HTTPS required|requires TLS",
    re.IGNORECASE,
)


class NotHttp(Exception):  # noqa: N818 - reads as the finding it is
    """The port is open but what answers there is not HTTP; `data` is what it said."""

    def __init__(self, error: Exception, data: bytes = b"") -> None:
        super().__init__(f"not HTTP: {describe(error)}")
        self.data = data
        self.timed_out = isinstance(error, socket.timeout)


class _Heard:
    """Remembers the first bytes a server sent, which http.client throws away when it fails."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.first = b""

    def makefile(self, _mode: str) -> Any:
        """Hand http.client a file of which the beginning was looked at."""
        self.first = peek(self._sock)
        return self._sock.makefile("rb")


def peek(sock: socket.socket) -> bytes:
    """Look at the first bytes without taking them (a TLS socket cannot: nothing)."""
    if isinstance(sock, ssl.SSLSocket):
        return b""
    return sock.recv(4096, socket.MSG_PEEK)


def describe(error: Exception) -> str:
    """Say in a few words that do not vary from run to run what went wrong."""
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return "connection reset"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


def connect(drive: dict[str, Any]) -> socket.socket:
    """Connect within `timeout` seconds, again while refused for up to `retry_for` seconds."""
    until = time.monotonic() + float(drive.get("retry_for", 0))
    while True:
        try:
            address = (drive["host"], int(drive["port"]))
            return socket.create_connection(address, timeout=float(drive.get("timeout", 30)))
        except ConnectionRefusedError:
            if time.monotonic() >= until:
                raise
            time.sleep(RETRY_PAUSE)


def tls_of(drive: dict[str, Any]) -> dict[str, Any]:
    """How the drive wants TLS; a plain true or false is enough."""
    given = drive.get("tls")
    return given if isinstance(given, dict) else {"on": bool(given)}


def context_of(tls: dict[str, Any]) -> ssl.SSLContext:
    """Make a context that accepts any certificate and version, or one that checks."""
    if tls.get("check"):
        context = ssl.create_default_context(cafile=tls.get("authority") or None)
        context.check_hostname = bool(tls.get("name"))
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    return context


def secured(sock: socket.socket, drive: dict[str, Any]) -> socket.socket:
    """Speak TLS over a connection."""
    tls = tls_of(drive)
    return context_of(tls).wrap_socket(sock, server_hostname=tls.get("name") or drive["host"])


class Session:
    """What drives of one name share: cookies by name and path, and captured variables."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str], str] = {}
        self.variables: dict[str, bytes] = {}

    def learn(self, fields: dict[str, Any], path: str) -> None:
        """Take the cookies an answer sets, and drop those it ends."""
        for name, value in fields["headers"]:
            if name == "set-cookie":
                self._set(value, path)

    def _set(self, text: str, path: str) -> None:
        first, *rest = text.split(";")
        name, equals, value = first.strip().partition("=")
        if not equals:
            return
        attributes = {k.strip().lower(): v.strip() for k, _, v in (r.partition("=") for r in rest)}
        scope = attributes.get("path") or path.partition("?")[0].rpartition("/")[0] or "/"
        if ended(attributes):
            self.cookies.pop((name, scope), None)
        else:
            self.cookies[name, scope] = value

    def cookie_header(self, path: str) -> str:
        """The cookies that go to a path, the longest scope first (RFC 6265, 5.4)."""
        where = path.partition("?")[0]
        good = [(len(s), n, v) for (n, s), v in self.cookies.items() if inside(where, s)]
        return "; ".join(f"{n}={v}" for _, n, v in sorted(good, key=lambda c: -c[0]))


def inside(path: str, scope: str) -> bool:
    """Whether a path is in a cookie's scope (RFC 6265, 5.1.4)."""
    return path == scope or path.startswith(scope if scope.endswith("/") else scope + "/")


def ended(attributes: dict[str, str]) -> bool:
    """Whether a cookie's attributes end it."""
    if "max-age" in attributes:
        return AGE_OVER.fullmatch(attributes["max-age"]) is not None
    try:
        when = email.utils.parsedate_tz(attributes.get("expires", ""))
        return when is not None and email.utils.mktime_tz(when) < time.time()
    except (ValueError, OverflowError, TypeError, IndexError):
        return False  # a date that no calendar has: as if there were none (RFC 6265, 5.2.1)


AGE_OVER = re.compile(r"-[0-9]+|0+")  # of a cookie: seconds to live, none left


class Missing(Exception):  # noqa: N818 - reads as the finding it is
    """A variable, or a value to capture, is not there."""


def filled(drive: dict[str, Any], session: Session) -> dict[str, Any]:
    """Put variables in, and the session's cookies; raises Missing."""
    if not drive.get("session"):
        return drive

    def value(found: re.Match[bytes]) -> bytes:
        name = found[1].decode()
        if name not in session.variables:
            if 0 in (drive.get("expect_status") or ()):
                return found[0]  # any answer will do, so this is some text of its own
            raise Missing(f"no variable {name} was captured before")
        return session.variables[name]

    def put(text: str) -> str:
        raw = VARIABLE.sub(value, text.encode("utf-8", "surrogateescape"))
        return raw.decode("utf-8", "surrogateescape")

    body = VARIABLE.sub(value, base64.b64decode(drive.get("body") or ""))
    headers = [[k, put(v)] for k, v in drive.get("headers") or ()]
    if any(char in v for _, v in headers for char in "\r\n\0"):
        raise Missing("a captured variable has a line break and cannot go into a header")
    path = put(drive.get("path") or "/")
    return {**drive, "path": path, "headers": headers, "body": base64.b64encode(body).decode()}


def json_at(body: bytes, path: str) -> Any:
    """Find a value in a JSON text by a path like $.items[0].id; raises Missing."""
    try:
        found = json.loads(body)
        for name, index in STEP.findall(path.lstrip("$")):
            step = name or index.strip("'\"")
            found = found[int(step)] if isinstance(found, list) else found[step]
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise Missing(f"no JSON value at {path}") from error
    return found


def captured(want: dict[str, str], fields: dict[str, Any], session: Session) -> bytes:
    """Take one variable out of an answer; raises Missing."""
    source, expression = want["source"], want["expression"]
    if source == "json":
        found = json_at(fields["body"], expression)
        return (found if isinstance(found, str) else json.dumps(found)).encode()
    if source == "header":
        values = [v for k, v in fields["headers"] if k == expression.lower()]
    elif source == "cookie":
        values = [v for (name, _), v in session.cookies.items() if name == expression]
    else:
        match = re.search(expression.encode(), fields["body"], re.DOTALL)
        if not match:
            raise Missing(f"nothing in the body to capture as {want['name']}")
        return match[1] if match.re.groups else match[0]
    if not values:
        raise Missing(f"no {source} {expression} to capture as {want['name']}")
    return str(values[0]).encode("utf-8", "surrogateescape")


def head(drive: dict[str, Any], tls: bool) -> bytes:
    """Write the request: line, headers (the drive's win over our own), body."""
    given = [(str(k), str(v)) for k, v in drive.get("headers") or ()]
    names = {name.lower() for name, _ in given}
    body = base64.b64decode(drive.get("body") or "")
    method, port = drive.get("method") or "GET", int(drive["port"])
    host = tls_of(drive).get("name") or drive["host"]
    host = f"[{host}]" if ":" in host else host
    own = [
        ("Host", host if port == (443 if tls else 80) else f"{host}:{port}"),
        ("User-Agent", "minify"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        own.append(("Content-Length", str(len(body))))
    if drive.get("cookies"):
        own.append(("Cookie", drive["cookies"]))
    path = urllib.parse.quote(drive.get("path") or "/", safe=PATH_SAFE)
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{k}: {v}" for k, v in own if k.lower() not in names]
    lines += [f"{k}: {v}" for k, v in given]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def ask(drive: dict[str, Any], tls: bool) -> dict[str, Any]:
    """Send one request over a new connection and read its answer.

    Raises NotHttp when what answers is not HTTP, OSError when nothing does.
    """
    sock = connect(drive)
    with sock:
        deadline = time.monotonic() + float(drive.get("timeout", 30))
        if tls:
            sock = secured(sock, drive)
        heard = _Heard(sock)
        try:
            # A server may refuse a long body and close before it has it all; its answer is there.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(head(drive, tls))
            response = http.client.HTTPResponse(heard, method=drive.get("method") or "GET")  # type: ignore[arg-type]
            response.begin()
        except (http.client.HTTPException, OSError, ValueError) as error:
            if isinstance(error, ssl.SSLError):
                raise
            if heard.first:
                leave(sock)
            raise NotHttp(error, heard.first) from error
        fields = read_body(response, sock, deadline)
        fields["status"] = response.status
        fields["headers"] = sorted([k.lower(), v] for k, v in response.getheaders())
        return fields


def leave(sock: socket.socket) -> None:
    """Say that nothing more will come, and hear a talker out, but not for long.

    Closing with bytes unread resets the connection (RFC 1122, section 4.2.2.13): the service would
    now and then fail in the middle of its answer, and log it.
    """
    until = time.monotonic() + HEARD_OUT
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(65536):
                return


def read_body(
    response: http.client.HTTPResponse, sock: socket.socket, deadline: float
) -> dict[str, Any]:
    """Read a body to its end or the deadline (seconds, monotonic); an early end is flagged."""
    digest, size, kept, error = hashlib.sha256(), 0, bytearray(), ""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or size >= READ_LIMIT:
            error = "body did not end"
            break
        try:
            if not response.isclosed():
                sock.settimeout(left)
            data = response.read1(65536)
        except socket.timeout:  # noqa: UP041 - another class before Python 3.10
            error = "body did not end"
            break
        except (http.client.HTTPException, OSError, ValueError) as problem:
            error = f"body ended early: {describe(problem)}"
            break
        if not data:
            if response.length:
                error = f"body ended early: {response.length} bytes missing"
            break
        digest.update(data)
        size += len(data)
        kept += data[: LOOKED_AT - len(kept)]
    body = bytes(kept)
    return {"body": body, "body_sha256": digest.hexdigest(), "body_size": size, "error": error}


def ask_http2(drive: dict[str, Any], tls: bool) -> dict[str, Any]:
    """Send one request as HTTP/2 (over TLS by ALPN, else with prior knowledge; RFC 9113, 3)."""
    import httpx  # optional: the extra minify[http2]

    secure = tls_of(drive)
    host = f"[{drive['host']}]" if ":" in drive["host"] else drive["host"]
    path = urllib.parse.quote(drive.get("path") or "/", safe=PATH_SAFE)
    headers = [(str(k), str(v)) for k, v in drive.get("headers") or ()]
    if drive.get("cookies"):
        headers.append(("cookie", drive["cookies"]))
    digest, size, kept = hashlib.sha256(), 0, bytearray()
    try:
        client = httpx.Client(
            http1=False, http2=True, verify=context_of(secure), trust_env=False,
            timeout=float(drive.get("timeout", 30)), headers={"user-agent": "minify"},
        )  # fmt: skip
        extensions = {"sni_hostname": secure["name"]} if secure.get("name") else {}
        url = f"{'https' if tls else 'http'}://{host}:{drive['port']}{path}"
        body = base64.b64decode(drive.get("body") or "") or None
        method = drive.get("method") or "GET"
        with (
            client,
            client.stream(
                method, url, headers=headers, content=body, extensions=extensions
            ) as answer,
        ):
            for data in answer.iter_raw():
                digest.update(data)
                size += len(data)
                kept += data[: LOOKED_AT - len(kept)]
            fields = {
                "status": answer.status_code, "error": "", "body": bytes(kept),
                "body_sha256": digest.hexdigest(), "body_size": size,
                "headers": sorted([k.lower(), v] for k, v in answer.headers.multi_items()),
            }  # fmt: skip
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"HTTP/2: {type(error).__name__}") from error
    if answer.http_version != "HTTP/2":
        raise OSError(f"the server chose {answer.http_version}")
    return fields


def wants_tls(fields: dict[str, Any]) -> bool:
    """Whether an answer says that the port speaks TLS."""
    if fields["status"] == 0:
        return False
    return 400 <= fields["status"] < 500 and bool(WANTS_TLS.search(fields["body"]))


def exchange(drive: dict[str, Any]) -> dict[str, Any]:
    """Ask in plain HTTP or TLS as told; a TLS port that was asked in plain is asked again."""
    tls = bool(tls_of(drive).get("on"))
    if drive.get("http2"):
        return {**ask_http2(drive, tls), "protocol": "http/2"}
    try:
        fields = {**ask(drive, tls), "protocol": "https" if tls else "http"}
    except NotHttp as answer:
        alert = answer.data[:1] in (bytes((TLS_ALERT,)), bytes((TLS_HANDSHAKE,)))
        if not tls and (alert or not (answer.data or answer.timed_out)):
            again = secure_again(drive)
            if again:
                return again
        return silent(answer)
    return (not tls and wants_tls(fields) and secure_again(drive)) or fields


def secure_again(drive: dict[str, Any]) -> dict[str, Any] | None:
    """Ask once more in TLS, briefly; None when that is not the language either."""
    brief = {**drive, "retry_for": 0, "timeout": min(5.0, float(drive.get("timeout", 30)))}
    try:
        return {**ask(brief, True), "protocol": "https"}
    except (NotHttp, OSError):
        return None


def silent(answer: NotHttp) -> dict[str, Any]:
    """Describe a port that is open but does not speak HTTP; its greeting is the body."""
    return {
        "protocol": "tcp", "error": str(answer), "status": 0, "headers": [],
        "body": answer.data, "body_size": len(answer.data),
        "body_sha256": hashlib.sha256(answer.data).hexdigest(),
    }  # fmt: skip


def followed(drive: dict[str, Any], session: Session) -> dict[str, Any]:
    """Exchange, and follow as many redirects as the drive allows (RFC 9110, 15.4)."""
    left = min(int(drive.get("follow") or 0), MOST_REDIRECTS)
    while True:
        path = drive.get("path") or "/"
        fields = exchange({**drive, "cookies": session.cookie_header(path)})
        session.learn(fields, path)
        target = next((v for k, v in fields["headers"] if k == "location"), "")
        goal = redirect(drive, target)
        if not left or fields["status"] not in (301, 302, 303, 307, 308) or not goal:
            return fields
        left -= 1
        drive = {**drive, "path": goal}
        if fields["status"] == 303 or (
            fields["status"] in (301, 302) and (drive.get("method") or "GET") == "POST"
        ):
            names = ("content-type", "content-length")
            headers = [h for h in drive.get("headers") or () if h[0].lower() not in names]
            drive = {**drive, "method": "GET", "body": "", "headers": headers}


def redirect(drive: dict[str, Any], target: str) -> str:
    """The path a redirect leads to; empty when it leads to another service than this one."""
    if not target:
        return ""
    scheme = "https" if tls_of(drive).get("on") else "http"
    here = f"{scheme}://self{drive.get('path') or '/'}"
    given = [v for k, v in drive.get("headers") or () if k.lower() == "host"]
    own = {"self", "localhost", "127.0.0.1", drive["host"], *(g.partition(":")[0] for g in given)}
    try:
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(here, target))
        other_port = parts.port not in (None, int(drive["port"]))
    except ValueError:
        return ""
    if (parts.hostname or "") not in own or other_port or parts.scheme != scheme:
        return ""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def complaint(drive: dict[str, Any], fields: dict[str, Any]) -> str:
    """Say what about an answer is not as expected, or nothing."""
    wanted, pattern = drive.get("expect_status") or (), drive.get("expect_body") or ""
    expect = drive.get("expect") or {}
    status = fields["status"]
    if not (status in wanted or 0 in wanted if wanted else status < 500):
        return f"HTTP status {status}"
    if pattern and not re.search(pattern.encode(), fields["body"], re.DOTALL):
        return "expected text is not in the body"
    for name, regex in expect.get("headers") or ():
        values = [v for k, v in fields["headers"] if k == name.lower()]
        if not any(re.search(regex, v) for v in values):
            return f"header {name} is not as expected"
    for path, text in expect.get("json") or ():
        try:
            found = json_at(fields["body"], path)
        except Missing as missing:
            return str(missing)
        if found != json.loads(text):
            return f"JSON value at {path} is not as expected"
    return ""


def judge(drive: dict[str, Any], fields: dict[str, Any]) -> bool:
    """Decide whether an answer is as expected; `error` says in words why it is not."""
    expect = drive.get("expect") or {}
    if fields["protocol"] == "tcp":
        asked = drive.get("expect_status"), drive.get("expect_body"), *expect.values()
        return not any(asked) and not drive.get("capture")
    wrong = complaint(drive, fields)
    if wrong:
        fields["error"] = fields["error"] or wrong
        return False
    return not fields["error"].startswith("body ended early")


def attempt(drive: dict[str, Any], session: Session) -> dict[str, Any]:
    """Send a drive's request once; the answer has a body in bytes."""
    base: dict[str, Any] = {
        "drive": drive["id"], "port": int(drive["port"]), "ok": False, "status": 0, "headers": [],
        "body": b"", "body_sha256": hashlib.sha256(b"").hexdigest(), "body_size": 0, "error": "",
        "protocol": "",
    }  # fmt: skip
    try:
        fields = followed(filled(drive, session), session)
        good = judge(drive, fields)
        if good:
            for want in drive.get("capture") or ():
                session.variables[want["name"]] = captured(want, fields, session)
    except OSError as error:
        return {**base, "error": describe(error)}
    except ImportError as error:
        return {**base, "error": f"the Python module {error.name} is missing"}
    except Missing as missing:
        return {**base, "error": str(missing)}
    except Exception as error:  # whatever a container answered, the next drive gets its turn
        return {**base, "error": f"an answer that cannot be read: {type(error).__name__}"}
    return {**base, **fields, "ok": good, "error": fields["error"]}


def drive_one(drive: dict[str, Any], sessions: dict[Any, Session] | None = None) -> dict[str, Any]:
    """Do one drive; the answer has the fields of `minify.model.Observation`."""
    name = drive.get("session")
    shared = sessions if sessions is not None and name else {}
    session = shared.setdefault((name, drive["port"]), Session())
    pause = AGAIN_PAUSE
    for left in range(int(drive.get("retries") or 0), -1, -1):
        answer = attempt(drive, session)
        if answer["ok"] or not left:
            break
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
    limit = int(drive.get("body_limit") or BODY_LIMIT)
    answer["body"] = base64.b64encode(answer["body"][:limit]).decode("ascii")
    return answer


def drive_patiently(
    drive: dict[str, Any], sessions: dict[Any, Session], until: float
) -> dict[str, Any]:
    """Do one drive, again until a moment while a proxy says that what is behind it is not up yet.

    A web server that listens before its application does (nginx and php-fpm under one supervisor)
    answers 502, 503 or 504 for its first moments (RFC 9110, section 15.6). Whoever says how often
    to try again gets no more than that.
    """
    if drive.get("retries"):
        until = 0.0
    while True:
        answer = drive_one(drive, sessions)
        waiting = not answer["ok"] and answer.get("status") in STARTING_UP
        if not waiting or time.monotonic() >= until:
            return answer
        time.sleep(AGAIN_PAUSE)


def check(drive: dict[str, Any]) -> None:
    """Raise what a malformed drive raises, before anything is sent."""
    str(drive["id"]), int(drive["port"]), float(drive.get("timeout", 30))
    float(drive.get("retry_for", 0))
    int(drive.get("follow") or 0), int(drive.get("retries") or 0)
    re.compile((drive.get("expect_body") or "").encode())
    for _, pattern in (drive.get("expect") or {}).get("headers") or ():
        re.compile(pattern)
    for want in drive.get("capture") or ():
        re.compile(want["expression"] if want["source"] == "body" else "")
    words = [drive.get("method") or "", *(w for pair in drive.get("headers") or () for w in pair)]
    if any(char in word for word in words for char in "\r\n\0"):
        raise ValueError(f"drive {drive['id']}: line break in the method or a header")
    head(drive, False)


def main() -> int:
    """Answer each line of requests until stdin ends; returns the contract's exit status."""
    sessions: dict[Any, Session] = {}
    until = 0.0
    for line in iter(sys.stdin.readline, ""):
        until = until or time.monotonic() + PATIENCE
        try:
            drives = json.loads(line)["drives"]
            for drive in drives:
                check(drive)
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            print(f"drive_http: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            print(json.dumps(drive_patiently(drive, sessions, until)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
