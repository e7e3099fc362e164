"""One gzip stream from many blocks: what comes out is what went in, whoever unpacks it."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess

import pytest

from minify.images import gzip_write

SOME = random.Random(7).randbytes(1 << 18)  # repeats beyond the block's end


@pytest.mark.parametrize(
    "content",
    [b"", b"a", SOME, SOME * 4, SOME * 9 + b"tail", bytes(3 << 20), b"line\n" * 1_000_000],
    ids=["empty", "byte", "less", "one block", "blocks", "zeros", "text"],
)
def test_it_unpacks_to_what_was_packed(content: bytes) -> None:
    packed = b"".join(gzip_write.compress([content]))
    assert gzip.decompress(packed) == content
    other = shutil.which("gzip")
    assert other
    done = subprocess.run([other, "-dc"], input=packed, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


def test_neither_pieces_nor_processors_show(monkeypatch: pytest.MonkeyPatch) -> None:
    content = SOME * 9 + b"tail"
    whole = b"".join(gzip_write.compress([content]))
    monkeypatch.setattr(gzip_write, "THREADS", 1)
    pieces = [content[at : at + 99_999] for at in range(0, len(content), 99_999)]
    assert b"".join(gzip_write.compress(pieces)) == whole


def test_a_block_refers_to_the_one_before() -> None:
    text = random.Random(7).randbytes(gzip_write.WINDOW // 2)
    content = text * (2 * gzip_write.BLOCK // len(text))
    alone = sum(
        len(b"".join(gzip_write.compress([content[at : at + gzip_write.BLOCK]])))
        for at in range(0, len(content), gzip_write.BLOCK)
    )
    assert len(b"".join(gzip_write.compress([content]))) < alone - len(text) // 2


def test_it_may_be_left_in_the_middle() -> None:
    stream = gzip_write.compress(SOME for _ in range(1000))
    assert next(stream) == gzip_write.HEADER
    next(stream)
    stream.close()
