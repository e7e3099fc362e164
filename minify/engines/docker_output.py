"""What a container, or a command inside one, writes: gathered by a thread as it comes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from docker.errors import APIError

from minify.engines import OUTPUT_LIMIT

TOO_SLOW = 124  # exit status of timeout(1)


class Gathered:
    """A stream of the engine under way.

    In a thread, for the SDK's own time limit is one between two chunks and shared by all calls.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._thread = threading.Thread(target=self._gather, args=(chunks,), daemon=True)
        self._thread.start()

    def _gather(self, chunks: Iterable[bytes]) -> None:
        # The stream breaks off when the container is removed under it: what came, came.
        with contextlib.suppress(APIError, OSError, ValueError):
            for chunk in chunks:
                if self._size < OUTPUT_LIMIT:
                    self._chunks.append(chunk)
                    self._size += len(chunk)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end of the stream; returns whether it ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def full(self) -> bool:
        """Whether more may have come than is kept."""
        return self._size >= OUTPUT_LIMIT

    @property
    def data(self) -> bytes:
        """What came so far."""
        return b"".join(self._chunks)


def run_inside(
    client: Any, container_id: str, argv: Sequence[str], timeout: float
) -> tuple[int, bytes]:
    """Run a command in a running container: its status and output; 124 when it was too slow.

    Raises APIError when the container has ended or the command cannot be started.
    """
    made = client.exec_create(container_id, list(argv))
    output = Gathered(client.exec_start(made["Id"], stream=True))
    ended = output.wait(timeout)
    status = client.exec_inspect(made["Id"])["ExitCode"] if ended else None
    return (TOO_SLOW if status is None else int(status)), output.data
