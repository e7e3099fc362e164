"""One container of a Docker engine, from created to removed."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ReadTimeout

from minify.engines import OUTPUT_LIMIT, Launch
from minify.engines.docker_disk import Disk
from minify.engines.docker_output import Gathered, run_inside
from minify.engines.limits import refused
from minify.engines.written import TOO_MANY, changes, leaves
from minify.errors import EngineError, TraceError
from minify.model import Image, Mount, Plan

FETCHED = 256 << 20  # bytes; a larger file is not copied out of a container
LAST_WORDS = 10.0  # seconds for the output of an ended container to arrive


@dataclass(frozen=True)
class Place:
    """Where the engine is: `local` on this kernel, `direct` when its network is reachable too.

    `disk` is what can be read of its store here.
    """

    local: bool
    direct: bool
    disk: Disk


class DockerContainer:
    """Container over the SDK's low-level client."""

    def __init__(
        self,
        client: Any,
        container_id: str,
        place: Place,
        ignored: Sequence[str],
        stdin: bytes = b"",
    ) -> None:
        self.id = container_id
        self._stdin = stdin
        self._client = client
        self._place = place
        self._ignored = tuple(ignored)
        self._state: dict[str, Any] = {}
        self._output: Gathered | None = None
        self._closed = False
        self._cut = False
        self._refused: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        client: Any,
        plan: Plan,
        image: Image,
        launch: Launch,
        labels: dict[str, str],
        place: Place,
    ) -> DockerContainer:
        """Create a container for a plan; raises EngineError."""
        mounts = (*launch.mounts, *plan.mounts)
        ports = sorted({*plan.ports, *image.config.tcp_ports})
        host = client.create_host_config(
            binds=[_bind(m) for m in mounts if m.source] or None,
            tmpfs={m.target: "" for m in mounts if not m.source} or None,
            port_bindings=None if place.direct else {p: ("127.0.0.1", None) for p in ports},
            # We read along; what the engine keeps beside must not fill its disk.
            log_config={"Type": "json-file", "Config": {"max-size": "16m", "max-file": "1"}},
            **_around(plan),
        )
        argv = _argv(plan, image, launch)
        try:
            made = client.create_container(
                image=image.handle,
                platform=plan.platform or None,
                host_config=host,
                entrypoint=argv[0],
                command=argv[1],
                environment=[*plan.env, *launch.env] or None,
                user=plan.user or None,
                working_dir=plan.workdir or None,
                hostname=plan.hostname or None,
                ports=ports or None,
                stdin_open=bool(plan.stdin),
                networking_config=_alias(client, plan),
                labels=labels,
                # The trial runs the health check itself, when it wants, as a drive.
                healthcheck={"test": ["NONE"]},
            )
        except APIError as error:
            raise EngineError(f"cannot create a container: {error.explanation}") from error
        return cls(
            client,
            made["Id"],
            place,
            ["/.minify", *image.config.volumes, *(m.target for m in mounts)],
            plan.stdin,
        )

    def start(self) -> None:
        """Start it; raises TraceError when the runtime cannot start its command."""
        try:
            # Attached before the start: what a short-lived container wrote may never reach the
            # engine's log, or not in time.
            streams = {"stdout": True, "stderr": True, "stream": True, "logs": False}
            self._output = Gathered(self._client.attach(self.id, **streams))
            if self._stdin:
                self._feed()
            self._client.start(self.id)
        except APIError as error:
            raise TraceError(
                f"the container does not start: {error.explanation}",
                hint="try it by hand: docker run --rm IMAGE",
            ) from error
        self._refresh()

    def _feed(self) -> None:
        """Send standard input from a thread: nobody reads it before the container runs."""
        attached = self._client.attach_socket(self.id, params={"stdin": 1, "stream": 1})
        sock = getattr(attached, "_sock", attached)

        def send() -> None:
            with contextlib.suppress(OSError):
                sock.sendall(self._stdin)
                sock.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()

    def _refresh(self) -> dict[str, Any]:
        try:
            self._state = self._client.inspect_container(self.id)
        except NotFound as error:
            raise TraceError("the container was removed while it was in use") from error
        return self._state

    @property
    def pid(self) -> int | None:
        """PID 1 as the host sees it; None for a remote engine or once it has ended."""
        pid = int((self._state.get("State") or {}).get("Pid") or 0)
        return pid if pid and self._place.local and self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        # Behind a virtual machine's socket the PID would be of some other process here.
        for name in ("cgroup", "mountinfo"):
            with contextlib.suppress(OSError):
                if self.id in Path(f"/proc/{pid}/{name}").read_text(errors="replace"):
                    return True
        return False

    @property
    def root(self) -> Path | None:
        """The container's root directory as the host sees it."""
        return Path(f"/proc/{self.pid}/root") if self.pid else None

    @property
    def beside(self) -> tuple[str, ...]:
        """Nothing: the container's address is reached from where we are."""
        return ()

    def address(self, port: int) -> tuple[str, int]:
        """The bridge address, or the published port where that can't be reached."""
        network = (self._state or self._refresh())["NetworkSettings"]
        if not self._place.direct:
            published = (network.get("Ports") or {}).get(f"{port}/tcp") or []
            return ("127.0.0.1", int(published[0]["HostPort"])) if published else ("127.0.0.1", 0)
        addresses = [network.get("IPAddress")]
        addresses += [n.get("IPAddress") for n in (network.get("Networks") or {}).values()]
        return next((a for a in addresses if a), "127.0.0.1"), port

    def put(self, archive: bytes) -> None:
        """Unpack a tar archive at the container's root."""
        try:
            self._client.put_archive(self.id, "/", archive)
        except APIError as error:
            raise EngineError(f"cannot copy into the container: {error.explanation}") from error

    def fetch(self, path: str, sink: Path) -> bool:
        """Copy a regular file out of the container."""
        try:
            chunks, _ = self._client.get_archive(self.id, path)
        except APIError:
            return False
        with tempfile.TemporaryFile() as spool:
            for chunk in chunks:
                spool.write(chunk)
                if spool.tell() > FETCHED:
                    return False
            spool.seek(0)
            with tarfile.open(fileobj=spool) as archive:
                member = next((m for m in archive if m.isreg()), None)
                stream = archive.extractfile(member) if member else None
                if stream is None:
                    return False
                with sink.open("wb") as out:
                    shutil.copyfileobj(stream, out)
        return True

    def execute(self, argv: Sequence[str], timeout: float) -> tuple[int, bytes]:
        """Run a command inside; exit status 124 says it was too slow (as timeout(1))."""
        try:
            return run_inside(self._client, self.id, argv, timeout)
        except APIError as error:
            raise TraceError(
                f"cannot run in the container: {shlex.join(argv)}: {error.explanation}"
            ) from error

    def signal(self, name: str) -> None:
        """Send a signal to PID 1."""
        with contextlib.suppress(APIError):
            self._client.kill(self.id, signal=name)

    def running(self) -> bool:
        """Whether PID 1 is alive."""
        if self.pid is not None:
            return True
        return bool(self._refresh()["State"]["Running"])

    def exit_code(self) -> int | None:
        """The exit status once it has ended."""
        state = self._refresh()["State"]
        return None if state["Running"] else int(state["ExitCode"])

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for its end."""
        try:
            self._client.wait(self.id, timeout=timeout)
            return True
        except (ReadTimeout, RequestsConnectionError):
            return False
        except APIError as error:
            raise TraceError(f"cannot wait for the container: {error.explanation}") from error

    def kill(self) -> None:
        """End it at once."""
        self.signal("SIGKILL")

    def log(self) -> tuple[str, ...]:
        """Lines it wrote so far."""
        if self._output is None:
            return ()
        if not self.running():
            self._output.wait(LAST_WORDS)
        return tuple(self._output.data.decode(errors="replace").splitlines())

    def health(self) -> str:
        """Always empty: the trial runs the health check as a drive."""
        return ""

    def cut(self) -> tuple[str, ...]:
        """What of this run was refused or not kept so far."""
        if (pid := self.pid) is not None:
            self._refused = refused(pid) or self._refused
        words = list(self._refused)
        if not words and (self._state.get("State") or {}).get("OOMKilled"):
            words.append("it was killed for want of memory: give it more (--memory)")
        if self._output is not None and self._output.full:
            words.append(f"it wrote more than {OUTPUT_LIMIT >> 20} MiB, the rest was not kept")
        return (*words, *([TOO_MANY] if self._cut else ()))

    def written(self) -> tuple[str, ...]:
        """Paths the run created or changed, without directories on the way.

        Read from the container's own overlay where it is on this disk: the engine's diff says the
        same, after it has walked the image.
        """
        upper = self._place.disk.written(self._state)
        if upper is not None:
            found = changes(upper)
            told = tuple(leaves((path for path, _ in found), self._ignored))
            self._cut = self._cut or found.cut
            return told
        try:
            listed = self._client.diff(self.id) or []
        except APIError:
            return ()
        return tuple(leaves((c["Path"] for c in listed if c["Kind"] in (0, 1, 2)), self._ignored))

    def close(self) -> None:
        """Remove it with its anonymous volumes; safe to call twice."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(APIError):
                self._client.remove_container(self.id, force=True, v=True)


def _around(plan: Plan) -> dict[str, Any]:
    """The host configuration's keys for what surrounds the container."""
    around = plan.surroundings
    hosts = dict(h.partition(":")[::2] for h in around.hosts)
    found = {
        "extra_hosts": hosts,
        "mem_limit": around.memory,
        "nano_cpus": round(around.cpus * 1e9),
        "pids_limit": around.pids,
        "network_mode": around.network,
    }
    return {key: value for key, value in found.items() if value}


def _alias(client: Any, plan: Plan) -> Any:
    """The container's own name in the network it shares with its companions."""
    around = plan.surroundings
    if not (around.network and around.alias):
        return None
    endpoint = client.create_endpoint_config(aliases=[around.alias])
    return client.create_networking_config({around.network: endpoint})


def _bind(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"


def _argv(plan: Plan, image: Image, launch: Launch) -> tuple[list[str] | None, list[str] | None]:
    """What to send as Entrypoint and Cmd; None leaves the image's own."""
    if launch.prefix:
        return [launch.prefix[0]], [*launch.prefix[1:], *plan.command(image.config)]
    return list(plan.entrypoint) or None, list(plan.argv) or None
