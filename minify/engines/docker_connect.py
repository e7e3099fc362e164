"""The connection to a Docker engine: to which one, and whether it works on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docker.constants import DEFAULT_UNIX_SOCKET
from docker.errors import APIError, DockerException

from minify.engines.docker_client import Client
from minify.engines.docker_context import settings
from minify.errors import EngineError
from minify.ready import wait_until

HINT_START = "start Docker (or set DOCKER_HOST, or use --engine embedded); see: minify doctor"
UNIX = ("http+docker://", "http+unix://")
VOLUME = "minify-where-"
ARRIVED = 0.1  # seconds in which a connection within this machine is known at both ends
ACCEPTED = 2.0  # seconds an engine may take to accept a connection
PATIENCE = 10.0  # seconds to connect once more to an engine that has just answered


def connect(timeout: int = 120) -> Any:
    """Open the SDK's client on the engine the user means (docker_context); raises EngineError."""
    try:
        return Client(version="auto", timeout=timeout, **settings())
    except DockerException as error:
        reason = str(error).removeprefix("Error while fetching server API version: ")
        raise EngineError(
            f"no Docker engine answers: {reason.splitlines()[0][:160]}", hint=HINT_START
        ) from error


def address() -> str:
    """Where `connect` looks for an engine; raises EngineError for settings that are wrong."""
    try:
        return str(settings().get("base_url") or DEFAULT_UNIX_SOCKET)
    except DockerException as error:
        raise EngineError(f"wrong Docker settings: {error}", hint=HINT_START) from error


def is_local(client: Any) -> bool:
    """Whether the engine's containers are processes of ours, and our paths can be given to them.

    The kernel's release alone proves little: an engine inside a container (docker:dind on a
    published port) has our kernel, and so has the host's engine for a minify that runs in a
    container with the socket mounted; the process numbers they tell are not ours. Two proofs:

    - who answers has to be a process we see, in our own process namespace (`_peer`);
    - behind TCP, where anything may forward to anywhere: a volume that the engine makes, of a name
      nobody can guess, has to appear here where the engine says it is. That is a file system that
      both see at the same path, as for the layers and for what is mounted into containers.
    """
    try:
        # The engine counts all it has before it answers the second question.
        told = client.version(api_version=False).get("KernelVersion")
        if (told or client.info().get("KernelVersion")) != os.uname().release:
            return False
        if str(client.base_url).startswith(UNIX):
            return _is_ours(_unix_peer(address()), unseen=True)
        # What proves it is for root alone to see.
        return os.geteuid() == 0 and _is_ours(_tcp_peer(client.base_url)) and _same_files(client)
    except (APIError, DockerException, EngineError, OSError):
        return False


def _is_ours(pid: int | None, *, unseen: bool = False) -> bool:
    """Whether a process is of our process namespace; `unseen` answers when nobody can tell.

    No process at all (0) is one of a namespace that we do not see into.
    """
    if pid is None:
        return unseen
    if pid == 0:
        return False
    try:
        theirs, ours = (os.stat(f"/proc/{who}/ns/pid") for who in (pid, "self"))
    except OSError:  # an ordinary user; or who began to listen has ended, another took over
        return unseen
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _unix_peer(where: str) -> int | None:
    """Who began to listen on a socket (unix(7), SO_PEERCRED); None where that cannot be asked."""
    path = where.partition("://")[2]
    with socket.socket(socket.AF_UNIX) as ours:
        ours.settimeout(PATIENCE)
        try:
            ours.connect(path if path.startswith("/") else f"/{path}")
            told = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    return int(struct.unpack("3i", told)[0])


def _tcp_peer(base_url: str) -> int | None:
    """Who has the other end of a TCP connection; None where that end is not on this machine."""
    place = urlsplit(base_url)
    port = place.port or (443 if place.scheme == "https" else 80)
    with socket.create_connection((place.hostname or "", port), PATIENCE) as ours:
        near, far = ours.getsockname(), ours.getpeername()
        if not wait_until(lambda: bool(_inode(far, near)), ARRIVED):
            return None
        # The number is 0 until the engine has taken the connection from the kernel.
        wait_until(lambda: _inode(far, near) != "0", ACCEPTED)
        return _holder(_inode(far, near))


def _inode(local: tuple[Any, ...], remote: tuple[Any, ...]) -> str:
    """The number of the socket with these ends (proc(5), /proc/net/tcp), empty for none."""
    wanted = tuple((_plain(ip), port) for ip, port in (local[:2], remote[:2]))
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/net", name).read_text().splitlines()[1:]:
                words = line.split()
                if (_end(words[1]), _end(words[2])) == wanted:
                    return words[9]
    return ""


def _end(text: str) -> tuple[str, int]:
    """One end of a connection as the kernel writes it: words of 32 bits in its byte order."""
    raw, _, port = text.partition(":")
    words = (int(raw[at : at + 8], 16) for at in range(0, len(raw), 8))
    ip = ipaddress.ip_address(b"".join(struct.pack("=I", word) for word in words))
    return _plain(str(ip)), int(port, 16)


def _plain(text: str) -> str:
    """An IP address in one spelling: an IPv4 address is one in an IPv6 socket too."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _holder(inode: str) -> int | None:
    """The process that has a socket open; None where none that we see has."""
    wanted = f"socket:[{inode}]"
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(entry.path) == wanted for entry in os.scandir(folder)):
                return int(folder.parent.name)
    return None


def _same_files(client: Any) -> bool:
    """Whether a volume that the engine makes appears here."""
    with _volume(client) as folder:
        return os.path.isdir(folder)


@contextlib.contextmanager
def _volume(client: Any) -> Iterator[str]:
    made = client.create_volume(VOLUME + secrets.token_hex(16))
    try:
        yield str(made["Mountpoint"])
    finally:
        with contextlib.suppress(APIError):
            client.remove_volume(made["Name"])
