"""What a trial does to a running container, one noun per kind of drive.

A drive becomes one observation, a finding one (`CrawlDrive`, ...) as many as it finds requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Tls:
    """How TLS is spoken: `check` the certificate against `authority` (PEM; empty: the system's).

    `name` is the server name asked for and checked; empty: the address. Unchecked by default: a
    container is reached by an address that no certificate names.
    """

    on: bool = False
    check: bool = False
    authority: str = ""
    name: str = ""


@dataclass(frozen=True)
class Capture:
    """Take a variable out of an answer. `source`: json, header, cookie or body (a pattern)."""

    name: str
    source: str
    expression: str


@dataclass(frozen=True)
class HttpExpect:
    """More that an answer must show: header patterns, and JSON values by path (as JSON text)."""

    headers: tuple[tuple[str, str], ...] = ()
    json: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HttpDrive:
    """Send an HTTP request and look at the answer. `port` 0 means every exposed TCP port.

    `expect_status` empty: anything below 500 is good. Drives of one `session` share cookies and
    captured variables, which replace {{name}} in path, headers and body. `follow` is how many
    redirects are followed, `retries` how often a failed one is sent again. `body_limit` is how
    many bytes of the answer are handed on.
    """

    KIND: ClassVar[str] = "http"
    id: str
    method: str = "GET"
    path: str = "/"
    port: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    expect_status: tuple[int, ...] = ()
    expect_body: str = ""
    expect: HttpExpect = HttpExpect()
    tls: Tls = Tls()
    timeout: float = 30.0
    session: str = ""
    capture: tuple[Capture, ...] = ()
    follow: int = 0
    retries: int = 0
    http2: bool = False
    body_limit: int = 64 * 1024


@dataclass(frozen=True)
class Exchange:
    """One step of a conversation: send these bytes, wait until this pattern is answered."""

    send: bytes = b""
    expect: str = ""


@dataclass(frozen=True)
class TcpDrive:
    """Connect, send some bytes, look at what comes back until it is quiet or closed.

    `steps` follow on the same connection; each waits for its own answer.
    """

    KIND: ClassVar[str] = "tcp"
    id: str
    port: int
    send: bytes = b""
    expect: str = ""
    timeout: float = 10.0
    steps: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class WebSocketDrive:
    """Open a WebSocket, then send messages and wait for their answers. `port` 0: every one."""

    KIND: ClassVar[str] = "websocket"
    id: str
    path: str = "/"
    port: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[Exchange, ...] = ()
    tls: Tls = Tls()
    timeout: float = 10.0


@dataclass(frozen=True)
class SqlDrive:
    """Run SQL statements one after the other. `dialect`: postgresql or mysql."""

    KIND: ClassVar[str] = "sql"
    id: str
    dialect: str
    port: int
    statements: tuple[str, ...] = ()
    user: str = ""
    password: str = ""
    database: str = ""
    timeout: float = 30.0


@dataclass(frozen=True)
class GrpcDrive:
    """Call gRPC methods; without a list, every unary one that server reflection names.

    `calls`: (method as package.Service/Method, request as JSON text).
    """

    KIND: ClassVar[str] = "grpc"
    id: str
    port: int
    calls: tuple[tuple[str, str], ...] = ()
    tls: Tls = Tls()
    timeout: float = 30.0


@dataclass(frozen=True)
class ExecDrive:
    """Run a command inside the container."""

    KIND: ClassVar[str] = "exec"
    id: str
    argv: tuple[str, ...]
    expect_exit: int = 0
    timeout: float = 60.0


@dataclass(frozen=True)
class RunDrive:
    """Run a command on this host, such as the user's own tests, against the container.

    It gets MINIFY_URL, MINIFY_HOST, MINIFY_PORT and MINIFY_PORT_<N>; its exit status counts.
    """

    KIND: ClassVar[str] = "run"
    id: str
    argv: tuple[str, ...]
    folder: str = ""
    expect_exit: int = 0
    timeout: float = 600.0


@dataclass(frozen=True)
class SignalDrive:
    """Send a signal to PID 1 and wait until the service is ready again."""

    KIND: ClassVar[str] = "signal"
    id: str
    signal: str


@dataclass(frozen=True)
class CrawlDrive:
    """Visit pages and their assets from `start` on, within the same host. `port` 0: every one."""

    KIND: ClassVar[str] = "crawl"
    id: str
    start: tuple[str, ...] = ("/",)
    port: int = 0
    depth: int = 3
    limit: int = 100
    forms: bool = False
    exclude: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls = Tls()
    timeout: float = 30.0


@dataclass(frozen=True)
class OpenApiDrive:
    """Send requests generated from the OpenAPI document the service itself serves at `path`."""

    KIND: ClassVar[str] = "openapi"
    id: str
    path: str
    port: int = 0
    valid: int = 3
    invalid: int = 1
    limit: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls = Tls()
    timeout: float = 30.0


@dataclass(frozen=True)
class GraphqlDrive:
    """Introspect a GraphQL endpoint and ask for every query field that needs no argument."""

    KIND: ClassVar[str] = "graphql"
    id: str
    path: str = "/graphql"
    port: int = 0
    depth: int = 2
    limit: int = 100
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls = Tls()
    timeout: float = 30.0


@dataclass(frozen=True)
class Case:
    """One run of a program that ends by itself: arguments, standard input, what to expect.

    `argv` replaces the image's command. `expect` is a pattern its output must contain.
    """

    id: str
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    expect_exit: int = 0
    expect: str = ""
    timeout: float = 60.0


FindingDrive = CrawlDrive | OpenApiDrive | GraphqlDrive
Drive = (
    HttpDrive
    | TcpDrive
    | WebSocketDrive
    | SqlDrive
    | GrpcDrive
    | ExecDrive
    | RunDrive
    | SignalDrive
    | CrawlDrive
    | OpenApiDrive
    | GraphqlDrive
)
# What reaches the service over its network, so that no default probe is needed.
NETWORK = frozenset(
    {"http", "tcp", "websocket", "sql", "grpc", "run", "crawl", "openapi", "graphql"}
)
