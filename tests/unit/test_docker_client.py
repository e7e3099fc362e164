"""What the SDK streams is closed, at its end or with the client."""

from __future__ import annotations

import gc
import threading
import warnings
from typing import Any

import pytest
from urllib3.exceptions import HTTPError

from minify.engines.docker_client import Client
from minify.engines.docker_connect import connect
from tests.docker_kit import Answer, docker_engine, told

FRAME = b"\x01\0\0\0\0\0\0\x05hello"
BIG = Answer(b"x" * 3_000_000, "application/x-tar", chunked=True)
STREAMS: dict[str, Any] = {
    "/containers/c/json": told({"Config": {"Tty": False}}),
    "/containers/c/attach": Answer(FRAME, "application/vnd.docker.raw-stream", cut=len(FRAME)),
    "/exec/e/start": Answer(FRAME, "application/vnd.docker.raw-stream", cut=len(FRAME)),
    "/images/big/get": BIG,
}


def closed(answer: Any) -> bool:
    return bool(answer.raw.closed)


def opened(client: Client, path: str) -> Any:
    return client._get(client._url(path), stream=True)


@pytest.mark.parametrize("call", ["attach", "exec_start"])
def test_a_stream_that_ended_is_closed(call: str) -> None:
    with docker_engine(STREAMS):
        client = connect()
        chunks = getattr(client, call)({"attach": "c", "exec_start": "e"}[call], stream=True)
        (answer,) = client._streams
        list(chunks)
        assert closed(answer) and client._streams == []
        client.close()


def test_streams_nobody_read_to_the_end_are_closed_with_the_client() -> None:
    with docker_engine(STREAMS), warnings.catch_warnings():
        warnings.simplefilter("error")
        client = connect()
        never = client.attach("c", stream=True)
        half = client.get_image("big", chunk_size=1000)
        next(half)
        socket = client.attach_socket("c", params={"stdin": 1, "stream": 1})
        answers = list(client._streams)
        assert len(answers) == 3 and not any(map(closed, answers))
        client.close()
        assert all(map(closed, answers))
        del never, half, socket, answers
        gc.collect()


def test_a_socket_that_was_handed_out_can_be_let_go() -> None:
    with docker_engine(STREAMS):
        client = connect()
        other = opened(client, "/images/big/get")
        handed = client.attach_socket("c", params={"stdin": 1, "stream": 1})
        answer = client._streams[-1]
        client.let_go(handed)
        assert closed(answer) and client._streams == [other]
        client.close()
        assert closed(other)


def test_what_was_read_to_its_end_is_forgotten() -> None:
    with docker_engine(STREAMS):
        client = connect()
        for _ in range(3):
            assert sum(len(chunk) for chunk in client.get_image("big")) == len(BIG.body)
        assert len(client._streams) == 1
        client.close()


def test_a_client_is_closed_while_a_thread_still_reads() -> None:
    held = threading.Event()
    with docker_engine({**STREAMS, "/slow": Answer(b"x" * 10, cut=5, held=held)}):
        client = connect()
        answer = opened(client, "/slow")
        started, found = threading.Event(), list[BaseException]()

        def read() -> None:
            started.set()
            try:
                answer.raw.read(10)
            except (HTTPError, OSError, ValueError) as error:
                found.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        started.wait(10)
        reader.join(0.2)
        assert reader.is_alive()
        client.close()
        reader.join(5)
        assert not reader.is_alive() and closed(answer)
        held.set()
