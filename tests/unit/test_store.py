"""The layer store: each layer once, whole or not at all, shared by processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from minify.errors import BuildError, EngineError
from minify.images.layers import squash
from minify.images.overlay import read_overlay
from minify.images.span import Span
from minify.store import layers as module
from minify.store.layers import FETCHED, SAVED, SYNCED, Store, collect, write_out
from tests.image_kit import Item, folder, hard, item, sha256, span, symlink, tar

ROOT = Path(__file__).parents[2]


def mine(*items: Item) -> list[Item]:
    for info, _ in items:
        info.uid, info.gid = os.getuid(), os.getgid()
    return list(items)


def layer(place: Path, *items: Item) -> tuple[str, Span]:
    data = tar(mine(*items))
    return sha256(data), span(place / f"{sha256(data)[7:19]}.tar", data)


def store(home: Path) -> Store:
    return Store(home, rootless=True)


def content(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "layers" / "sha256").iterdir())


def test_a_layer_is_unpacked_once(tmp_path: Path) -> None:
    diff_id, data = layer(tmp_path, item("a", "1"))
    one = store(tmp_path / "home")
    assert one.find(diff_id) is None
    path = one.layer(diff_id, data)
    assert (path / "a").read_text() == "1"
    data.path.unlink()  # not needed any more
    assert store(tmp_path / "home").layer(diff_id, data) == path
    assert one.find(diff_id) == path
    assert one.layer_names() == (diff_id[7:],)
    assert (tmp_path / "home/layers").stat().st_mode & 0o77 == 0
    assert not any((tmp_path / "home/layers/new").iterdir())


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc", "md5:" + "0" * 32, "x" * 64])
def test_only_digests_name_layers(tmp_path: Path, digest: str) -> None:
    with pytest.raises(EngineError):
        store(tmp_path).find(digest)


def test_a_refused_layer_leaves_nothing(tmp_path: Path) -> None:
    diff_id, data = layer(tmp_path, item("good", "1"), item("../bad", "2"))
    one = store(tmp_path / "home")
    with pytest.raises(EngineError):
        one.layer(diff_id, data)
    assert content(tmp_path / "home") == []
    assert not any((tmp_path / "home/layers/new").iterdir())


def test_the_same_tree_from_the_store_and_from_the_tars(tmp_path: Path) -> None:
    """Two readings of the same layers that share no code but the tar parser."""
    layers = [
        layer(
            tmp_path, folder("etc", mode=0o711), item("etc/a", "1"), item("etc/b", "2"),
            folder("var"), folder("var/old"), item("var/old/x", "x"), hard("etc/twin", "etc/a"),
            symlink("lib", "usr/lib"), folder("usr"), folder("usr/lib"), item("usr/lib/so", "so"),
        ),
        layer(tmp_path, folder("etc"), item("etc/.wh.b"), folder("var"), folder("var/old"),
              item("var/old/.wh..wh..opq"), item("var/old/y", "y"), item("lib/extra", "e")),
        layer(tmp_path, folder("etc"), item("etc/b", "3", mode=0o600), item(".wh.lib")),
    ]  # fmt: skip
    one = store(tmp_path / "home")
    stored = read_overlay([one.layer(diff_id, data) for diff_id, data in layers])
    direct = squash([data for _, data in layers])
    assert stored.entries.keys() - {"/"} == direct.entries.keys() - {"/"}
    for path in direct.entries.keys() - {"/"}:
        ours = replace(stored.entries[path], inode=0, mtime=0)
        assert ours == replace(direct.entries[path], inode=0, mtime=0), path
        assert stored.twins(stored.entries[path]) == direct.twins(direct.entries[path])
    assert stored.read("/etc/b") == b"3"


def _unpack_in_child(home: Path, diff_id: str, data: Span, start: object, done: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    path = Store(home, rootless=True).layer(diff_id, data)
    done.put(len(os.listdir(path)))  # type: ignore[attr-defined]


def test_two_builds_at_once_share_a_layer(tmp_path: Path) -> None:
    diff_id, data = layer(tmp_path, *(item(f"f{n}", str(n) * 100) for n in range(500)))
    context = multiprocessing.get_context("fork")
    start, done = context.Barrier(4), context.Queue()
    workers = [
        context.Process(
            target=_unpack_in_child, args=(tmp_path / "home", diff_id, data, start, done)
        )
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    assert [done.get(timeout=60) for _ in workers] == [500] * 4
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert content(tmp_path / "home") == [diff_id[7:]]
    assert not any((tmp_path / "home/layers/new").iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
import minify.store.extract as extract
from minify.images.span import Span
from minify.store.layers import Store
at, plain, count = int(sys.argv[4]), os.{call}, 0
def killing(*args, **more):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*args, **more)
os.{call} = killing
data = Path(sys.argv[3])
Store(Path(sys.argv[1]), rootless=True).layer(sys.argv[2], Span(data, 0, data.stat().st_size))
"""


@pytest.mark.parametrize(
    ("call", "at"),
    [("open", 3), ("open", 12), ("write", 4), ("mkdir", 4), ("rename", 1), ("utime", 2)],
)
def test_kill_9_leaves_the_store_consistent(tmp_path: Path, call: str, at: int) -> None:
    home = tmp_path / "home"
    diff_id, data = layer(tmp_path, *(item(f"d{n}/f", "x" * 5000) for n in range(5)), folder("e"))
    child = subprocess.run(
        [sys.executable, "-c", KILLED.replace("{call}", call), home, diff_id, data.path, str(at)],
        cwd=ROOT, timeout=60, capture_output=True,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    one = store(home)
    path = one.layer(diff_id, data)
    assert sorted(os.listdir(path)) == ["d0", "d1", "d2", "d3", "d4", "e"]
    assert (path / "d4/f").read_text() == "x" * 5000
    one.close()
    collect(home, keep_layers=True)
    assert not any((home / "layers/new").iterdir())
    assert content(home) == [diff_id[7:]]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root")
def test_no_space_leaves_the_store_consistent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    diff_id, data = layer(tmp_path, item("big", b"x" * (3 << 20)), item("after", "a"))
    script = f"""
        from pathlib import Path
        from minify.errors import BuildError
        from minify.images.span import Span
        from minify.store.layers import FETCHED, SAVED, Store, collect
        one = Store(Path({str(home)!r}), rootless=True)
        for _ in range(2):
            try:
                one.layer({diff_id!r}, Span(Path({str(data.path)!r}), 0, {data.size}))
                raise SystemExit("it fitted")
            except BuildError as error:
                assert "space" in error.message and error.hint
        assert not one.find({diff_id!r})
        assert not any(Path({str(home)!r}, "layers/new").iterdir())
        print("consistent")
    """
    mounted = f'mount -t tmpfs -o size=1m none {home} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("consistent\n", 0), done.stderr


def test_collect_spares_what_is_in_use(tmp_path: Path) -> None:
    home = tmp_path / "home"
    used, unused = layer(tmp_path, item("a", "a" * 9000)), layer(tmp_path, item("b", "b" * 9000))
    one, other = store(home), store(home)
    one.layer(*used)
    other.layer(*unused)
    other.close()
    assert collect(home) >= 8192
    assert content(home) == [used[0][7:]]
    one.close()
    collect(home)
    assert content(home) == []
    assert collect(tmp_path / "never") == 0


def test_collect_spares_images_of_our_own_that_have_a_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = store(home)
    layers = [layer(tmp_path, item(name, name * 5000)) for name in "abc"]
    digests = ["sha256:" + name * 64 for name in "abc"]
    for (diff_id, data), digest, kind in zip(layers, digests, (SAVED, SAVED, FETCHED), strict=True):
        one.layer(diff_id, data)
        one.add_image(digest, json.dumps({"rootfs": {"diff_ids": [diff_id]}}), kind=kind)
    one.set_name("mine:1", digests[0])
    one.set_name("theirs:1", digests[2])
    one.close()
    (home / "pulls" / "half").mkdir(parents=True)
    assert collect(home, keep_layers=True) == 0
    assert collect(home) > 0
    assert content(home) == [layers[0][0][7:]]
    assert (one.image(digests[0]), one.image(digests[2])) != (None, None)
    assert one.image(digests[2]) is None
    assert not (home / "pulls" / "half").exists()


def test_images_and_names(tmp_path: Path) -> None:
    one, digest = store(tmp_path), "sha256:" + "a" * 64
    assert one.image(digest) is None and one.names() == {}
    one.add_image(digest, '{"x":1}')
    assert one.image(digest) == '{"x":1}'
    one.set_name("app:1", digest)
    one.set_name("app:2", digest)
    one.remove_image(digest)
    assert one.image(digest) is not None  # it has names
    one.forget_name("app:1")
    assert store(tmp_path).names() == {"app:2": digest}
    one.forget_name("app:2")
    one.remove_image(digest)
    one.remove_image(digest)
    assert one.image(digest) is None
    (tmp_path / "names.json").write_text("{damaged")
    assert one.names() == {}


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    diff_id, data = layer(tmp_path, item("a", "1"))
    with pytest.raises(BuildError) as caught:
        store(tmp_path / "file" / "home").layer(diff_id, data)
    assert "MINIFY_HOME" in caught.value.hint


# ------------------------------------------------------------ the machine goes down


def note(home: Path, diff_id: str) -> str:
    return os.readlink(home / "layers/sound" / diff_id[7:])


def next_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "boot", lambda: "another boot")


def test_a_layer_is_noted_as_written_only_after_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, seen = tmp_path / "home", list[str]()
    diff_id, data = layer(tmp_path, item("a", "1"))

    def watched(folder: Path) -> bool:
        seen.append(note(home, diff_id))
        assert (home / "layers/sha256" / diff_id[7:] / "a").read_text() == "1"
        return write_out(folder)

    monkeypatch.setattr(module, "write_out", watched)
    one = store(home)
    one.layer(diff_id, data)
    assert note(home, diff_id) == module.boot() != ""
    one.settle()
    assert seen == [module.boot()]
    assert note(home, diff_id) == SYNCED
    one.close()
    assert len(seen) == 1  # once for all layers, and not again for what is written


def test_closing_writes_out_once_for_all_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[Path]()
    monkeypatch.setattr(module, "write_out", lambda folder: not calls.append(folder))
    one = store(tmp_path / "home")
    names = [layer(tmp_path, item(name, name)) for name in "abc"]
    for diff_id, data in names:
        one.layer(diff_id, data)
    one.add_image("sha256:" + "1" * 64, "{}", kind=FETCHED)
    assert calls == []
    one.close()
    assert calls == [tmp_path / "home"]
    assert {note(tmp_path / "home", diff_id) for diff_id, _ in names} == {SYNCED}


def test_what_nobody_will_want_again_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that goes elsewhere, or layers a former run has unpacked."""
    calls = list[Path]()
    monkeypatch.setattr(module, "write_out", lambda folder: not calls.append(folder))
    diff_id, data = layer(tmp_path, item("a", "1"))
    for _ in range(2):
        one = store(tmp_path / "home")
        one.layer(diff_id, data)
        one.add_image("sha256:" + "1" * 64, "{}")
        one.close()
    assert calls == []


def test_after_a_crash_what_may_be_lost_is_unpacked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (diff_id, data), (kept, other) = (layer(tmp_path, item(n, "whole")) for n in "ab")
    one = store(home)
    one.layer(kept, other)
    one.settle()
    path = one.layer(diff_id, data)
    (path / "a").write_text("")  # as a file looks whose blocks never reached the device
    inode = one.path(kept).stat().st_ino
    next_boot(monkeypatch)
    two = store(home)
    assert two.find(diff_id) is None
    assert two.layer_names() == (kept[7:],)
    assert (two.layer(diff_id, data) / "a").read_text() == "whole"
    assert two.layer(kept, other).stat().st_ino == inode  # written before: not unpacked again
    assert two.find(diff_id) == path
    assert not any((home / "layers/new").iterdir())


def test_without_its_note_a_layer_does_not_count(tmp_path: Path) -> None:
    diff_id, data = layer(tmp_path, item("a", "1"))
    store(tmp_path / "home").layer(diff_id, data)
    (tmp_path / "home/layers/sound" / diff_id[7:]).unlink()
    assert store(tmp_path / "home").find(diff_id) is None


def test_a_device_that_fails_leaves_the_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diff_id, data = layer(tmp_path, item("a", "1"))
    one = store(tmp_path / "home")
    one.layer(diff_id, data)
    monkeypatch.setattr(module, "write_out", lambda _folder: False)
    one.settle()
    one.close()
    assert note(tmp_path / "home", diff_id) == module.boot()


def test_collected_layers_leave_no_note(tmp_path: Path) -> None:
    diff_id, data = layer(tmp_path, item("a", "1"))
    one = store(tmp_path / "home")
    one.layer(diff_id, data)
    one.close()
    collect(tmp_path / "home")
    assert content(tmp_path / "home") == []
    for notes in ("sound", "implied"):
        assert not any((tmp_path / "home/layers" / notes).iterdir())


@pytest.mark.parametrize("end", [".json", ".sum"])
@pytest.mark.parametrize("kind", [SAVED, FETCHED])
def test_a_flipped_byte_of_a_configuration_is_found(tmp_path: Path, kind: str, end: str) -> None:
    store, digest, config = Store(tmp_path), "sha256:" + "1" * 64, '{"os": "linux"}'
    store.add_image(digest, config, kind=kind)
    assert store.image(digest) == config
    file = tmp_path / kind / f"{'1' * 64}{end}"
    for at in range(file.stat().st_size):
        whole = file.read_bytes()
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        assert store.image(digest) is None
        file.write_bytes(whole)
    store.add_image(digest, config, kind=kind)
    assert store.image(digest) == config
