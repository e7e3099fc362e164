"""What only the embedded engine promises: nothing left behind or reachable, ways to fall back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minify.engines import Launch, Loaded
from minify.engines.embedded import EmbeddedEngine, make
from minify.engines.embedded_container import EmbeddedContainer
from minify.model import Mount, Plan
from minify.ready import wait_until
from tests.embedded_kit import embedded
from tests.host_image import layer, output_image
from tests.image_kit import Layout, config, folder, item, symlink, tar

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.runc,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    with embedded(tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="module")
def loaded(engine: EmbeddedEngine, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return engine.load(engine.save(output_image(tmp_path_factory.mktemp("image"))))


def run(engine: EmbeddedEngine, loaded: Loaded, *argv: str) -> tuple[str, ...]:
    with engine.create(Plan("", argv=argv), loaded.image, Launch()) as container:
        container.start()
        assert container.wait(30)
        return container.log()


def test_nothing_outside_is_reachable(engine: EmbeddedEngine, loaded: Loaded) -> None:
    log = run(engine, loaded, "sh", "-c", "cat /proc/net/dev /proc/net/route; ls /sys/class/net")
    assert [line.split(":")[0].strip() for line in log if ":" in line] == ["lo"]
    assert log[-1] == "lo"
    assert sum("Gateway" in line for line in log) == 1  # the header, and no route


def test_its_own_loopback_is_up(engine: EmbeddedEngine, loaded: Loaded) -> None:
    """A port of the host is not there, a port of the container does not collide with it."""
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', {port})); "
        "c = socket.create_connection(('127.0.0.1', {port})); print('connected')"
    )
    import socket

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        engine.create(Plan("", argv=("sleep", "60")), loaded.image, Launch()) as container,
    ):
        container.start()
        port = server.getsockname()[1]
        assert container.address(port) == ("127.0.0.1", port)
        argv = [*container.beside, sys.executable, "-c", script.format(port=port)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert done.stdout == "connected\n", done.stderr
        container.kill()
        assert container.wait(10)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert done.stdout == "connected\n", done.stderr


OWNER = """
import sys
from pathlib import Path
from minify.engines import Launch
from minify.engines.embedded import make
from minify.model import Plan
engine = make(Path(sys.argv[1]))
image = engine.load(sys.argv[2]).image
with engine.create(Plan("", argv=("sh", "-c", "sleep 1000 & sleep 1001")), image, Launch()) as it:
    if sys.argv[3] == "started":
        it.start()
    print(it.pid, it._supervisor, it.probe.child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["created", "started"])
@pytest.mark.parametrize("victim", ["owner", "probe", "supervisor"])
def test_kill_9_leaves_no_process_no_mount_no_cgroup(
    engine: EmbeddedEngine, loaded: Loaded, state: str, victim: str
) -> None:
    home = engine.store.home
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, home, loaded.image.digest, state],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert owner.stdout is not None
        pids = [int(p) for p in owner.stdout.readline().split()]
        container, supervisor, probe = pids
        before = {f.name for f in engine.runs.iterdir()}
        assert len(before) == 1 and alive(container) and alive(supervisor)
        os.kill(
            {"owner": owner.pid, "probe": probe, "supervisor": supervisor}[victim], signal.SIGKILL
        )
        assert wait_until(lambda: not alive(container) and not alive(supervisor), 15)
    finally:
        owner.kill()
        owner.communicate()
    assert str(home) not in Path("/proc/self/mountinfo").read_text()
    from minify.engines.embedded_runs import sweep

    sweep(engine.runs)
    assert wait_until(lambda: sweep(engine.runs) == 0 and not list(engine.runs.iterdir()), 10)
    assert not any(list(Path("/sys/fs/cgroup").glob(f"**/minify-{name}")) for name in before)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_run_in_use_is_not_swept(engine: EmbeddedEngine, loaded: Loaded) -> None:
    from minify.engines.embedded_runs import sweep

    with engine.create(Plan("", argv=("sleep", "60")), loaded.image, Launch()) as container:
        container.start()
        assert sweep(engine.runs) == 0
        assert container.running()


@pytest.mark.parametrize("way", ["overlay", "tmpfs", "copy"])
def test_every_way_to_a_root_file_system(
    engine: EmbeddedEngine, loaded: Loaded, way: str, tmp_path: Path
) -> None:
    """Where overlayfs refuses the upper directory, or everything, the container still runs."""
    script = "cat /data/link; stat -c %u:%a /data/first /tmp; rm /data/first; echo x >/tmp/new"
    plan = Plan("", argv=("sh", "-c", script), mounts=(Mount("/given", str(tmp_path)),))
    with replace(engine, ways=(way,)).create(plan, loaded.image, Launch()) as container:
        assert container.way == way
        container.start()
        assert container.wait(20)
        assert container.log() == ("from the image", "1000:640", "0:1777")
        assert container.written() == ("/data/first", "/tmp/new")
        assert (container.copied > 0) == (way == "copy")


def test_layers_are_put_together_alike(engine: EmbeddedEngine, tmp_path: Path) -> None:
    """Whiteouts, opaque folders and replaced kinds look the same mounted and copied."""
    base = [folder("d"), item("d/old", "1"), folder("o"), item("o/old", "1"), item("f", "file"),
            folder("was"), item("was/x", "1"), item("gone", "1"), symlink("l", "d")]  # fmt: skip
    top = [folder("d"), item("d/new", "2"), folder("o", mode=0o711), item("o/.wh..wh..opq"),
           item("o/new", "2"), folder("f"), item("f/in", "2"), item("was", "file"),
           item(".wh.gone"), item(".wh.l")]  # fmt: skip
    layers = [layer(), tar(base), tar(top)]
    layout = Layout(tmp_path / "layout")
    layout.add(layout.image(layers, conf=config(layers, config={})))
    found = make(engine.store.home).load(f"oci:{tmp_path}/layout")
    script = "cd /; stat -c '%n %F %a' * d/* o/* f/* was"
    seen = []
    for way in ("overlay", "copy"):
        other = replace(engine, ways=(way,))
        seen.append(run(other, found, "sh", "-c", script))
    assert seen[0] == seen[1]
    names = {line.split()[0] for line in seen[0]}
    assert {"d/old", "d/new", "o/new", "f/in", "was"} <= names
    assert not names & {"o/old", "gone", "l"}


def test_parents_a_layer_leaves_out_look_as_below(engine: EmbeddedEngine, tmp_path: Path) -> None:
    base = [folder("srv", mode=0o2750, uid=7, gid=8), folder("srv/in", mode=0o1777, uid=9),
            folder("hid", mode=0o700), folder("gone", mode=0o700)]  # fmt: skip
    top = [item("srv/in/file", "x"), item("new/file", "x"), item("tmp/file", "x"),
           item("hid/.wh..wh..opq"), item("hid/file", "x")]  # fmt: skip
    layers = [layer(), tar(base), tar([item(".wh.gone")]), tar(top), tar([item("gone/file", "x")])]
    layout = Layout(tmp_path / "layout")
    layout.add(layout.image(layers, conf=config(layers, config={})))
    found = make(engine.store.home).load(f"oci:{tmp_path}/layout")
    entries = found.tree.entries
    assert (entries["/srv"].mode, entries["/srv"].uid, entries["/srv"].gid) == (0o2750, 7, 8)
    script = "stat -c '%n %u %a' /srv /srv/in /new /tmp /hid /gone; ls /srv/in /tmp /hid /gone"
    log = run(engine, found, "sh", "-c", script)
    assert log[:6] == (
        "/srv 7 2750", "/srv/in 9 1777", "/new 0 755", "/tmp 0 1777", "/hid 0 755", "/gone 0 755",
    )  # fmt: skip
    assert log.count("file") == 4


def test_a_second_load_unpacks_nothing(
    engine: EmbeddedEngine, loaded: Loaded, tmp_path: Path
) -> None:
    data = layer()
    layout = Layout(tmp_path / "layout")
    layout.add(layout.image([data], conf=config([data], config={"Cmd": ["/bin/id"]})), "it")
    other = make(engine.store.home)
    first = other.load(f"oci:{tmp_path}/layout:it")
    times = {p: p.stat().st_ctime_ns for p in (engine.store.home / "layers/sha256").iterdir()}
    again = make(engine.store.home).load(f"oci:{tmp_path}/layout:it")
    assert again.image == first.image
    assert times == {
        p: p.stat().st_ctime_ns for p in (engine.store.home / "layers/sha256").iterdir()
    }
    assert again.tree.read("/data/first") == b"from the image\n"
    assert not list((engine.store.home / "layers/new").iterdir())


def test_the_specification_is_valid_json_for_the_runtime(
    engine: EmbeddedEngine, loaded: Loaded
) -> None:
    with engine.create(Plan("", argv=("sleep", "9")), loaded.image, Launch()) as container:
        assert isinstance(container, EmbeddedContainer)
        spec = json.loads((container.place.folder / "config.json").read_text())
        assert spec["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
        assert container.pid is not None  # created: PID and root are there before it starts
        assert (
            Path(f"/proc/{container.pid}/root") / "data/first"
        ).read_text() == "from the image\n"
