"""The contract of an engine: one suite, run against every engine that works on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from minify.engines import Container, Engine, Launch, Loaded
from minify.errors import EngineError, MinifyError, TraceError
from minify.images.registry import Access
from minify.model import Kind, Mount, Plan
from tests.host_image import archive, output_image

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("embedded-runc", marks=[pytest.mark.root, pytest.mark.runc]),
    pytest.param("embedded-crun", marks=[pytest.mark.root, pytest.mark.runc]),
]
SLEEP = ("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done")


@dataclass
class Bench:
    """An engine with the test image in it."""

    engine: Engine
    folder: Path
    loaded: Loaded

    def run(self, *argv: str, launch: Launch | None = None, **plan: Any) -> list[str]:
        """Run a command to its end; returns its log."""
        with self.container(*argv, launch=launch, **plan) as container:
            container.start()
            assert container.wait(30)
            return list(container.log())

    @contextmanager
    def container(
        self, *argv: str, launch: Launch | None = None, **plan: Any
    ) -> Iterator[Container]:
        wanted = Plan("test", argv=argv, **plan)
        with self.engine.create(wanted, self.loaded.image, launch or Launch()) as container:
            yield container

    def with_config(self, **config: Any) -> Bench:
        """The same image with another configuration."""
        digest = self.engine.save(output_image(self.folder, **config))
        return replace(self, loaded=self.engine.load(digest))


def open_engine(kind: str, folder: Path) -> Engine:
    if kind == "docker":
        from minify.engines.docker_api import make as make_docker

        return make_docker("contract-test", folder)
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from minify.engines.embedded import make

    return make(folder / "home", kind.partition("-")[2], Access(retries=0, timeout=30))


@pytest.fixture(scope="module", params=ENGINES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("engine")
    try:
        engine = open_engine(request.param, folder)
    except MinifyError as error:
        pytest.skip(error.message)
    saved: list[str] = []
    plain = engine.save

    def save(output: Any, *, tag: str = "") -> str:
        saved.append(plain(output, tag=tag))
        return saved[-1]

    engine.save = save  # type: ignore[method-assign]
    digest = engine.save(output_image(folder))
    yield Bench(engine, folder, engine.load(digest))
    for image_id in set(saved):
        engine.remove_image(image_id)
    engine.close()
    shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------- images


def test_the_tree_keeps_what_the_layer_says(bench: Bench) -> None:
    tree = bench.loaded.tree
    first = tree.entries["/data/first"]
    assert (first.uid, first.gid, first.mode, first.mtime) == (1000, 1000, 0o640, 12345)
    assert tree.read("/data/link") == b"from the image\n"
    assert tree.entries["/usr/bin/privileged"].mode == 0o4755
    assert [name for name, _ in tree.entries["/usr/bin/capable"].xattrs] == ["security.capability"]
    assert tree.entries["/tmp"].mode == 0o1777
    assert tree.entries["/data"].kind is Kind.DIR


def test_a_saved_image_is_found_by_digest_and_by_tag(bench: Bench) -> None:
    output = output_image(bench.folder, Labels={"only": "here"})
    assert bench.engine.find(output.digest) is None
    assert bench.engine.find("minify-contract/none:1") is None
    digest = bench.engine.save(output)
    found = bench.engine.find(digest)
    assert found is not None and found.digest == output.digest
    bench.engine.tag(digest, "minify-contract/named")
    try:
        named = bench.engine.find("minify-contract/named:latest")
        assert named is not None and named.handle == digest
        loaded = bench.engine.load("minify-contract/named")
        assert loaded.image.config.environment["FROM"] == "image"
        assert [layer.diff_id for layer in loaded.image.layers] == [output.diff_id]
    finally:
        untag(bench.engine, "minify-contract/named")
    bench.engine.remove_image(digest)
    bench.engine.remove_image(digest)
    assert bench.engine.find(digest) is None


def untag(engine: Engine, reference: str) -> None:
    if engine.name == "docker":
        engine._client.remove_image(reference)  # type: ignore[attr-defined]
    else:
        engine.store.forget_name(f"{reference}:latest")  # type: ignore[attr-defined]


@pytest.mark.parametrize("reference", ["minify-contract/none:1", "sha256:" + "0" * 64])
def test_an_unknown_image_is_an_engine_error(bench: Bench, reference: str) -> None:
    with pytest.raises(EngineError):
        bench.engine.load(reference)


def test_another_platform_is_an_engine_error(bench: Bench) -> None:
    with pytest.raises(EngineError):
        bench.engine.load(bench.loaded.image.digest, "linux/s390x")


# ---------------------------------------------------------------- what the application sees


def test_pid_1_environment_and_host_name(bench: Bench) -> None:
    log = bench.run("sh", "-c", "echo $$; env", hostname="box", env=("FROM=plan", "NEW=1"))
    assert log[0] == "1"
    env = dict(line.partition("=")[::2] for line in log[1:])
    wanted = {"PATH": "/usr/bin:/bin", "HOSTNAME": "box", "HOME": "/root"}
    assert env.items() >= {**wanted, "FROM": "plan", "NEW": "1"}.items()
    assert bench.run("cat", "/etc/hostname", hostname="box") == ["box"]
    assert any(
        line.split()[1:] == ["box"] for line in bench.run("cat", "/etc/hosts", hostname="box")
    )


@pytest.mark.parametrize(
    ("user", "seen", "home"),
    [
        ("", "0:0:0", "/root"),
        ("app", "1000:1000:1000 3000 3001", "/home/app"),
        ("1000", "1000:1000:1000 3000 3001", "/home/app"),
        ("app:crew", "1000:5000:5000", "/home/app"),
        ("1000:5000", "1000:5000:5000", "/home/app"),
        ("1234", "1234:0:0", "/"),
        ("4242", "4242:0:0", "/"),
        ("4242:4343", "4242:4343:4343", "/"),
        ("nohome", "2000:2000:2000", ""),
    ],
)
def test_every_form_of_user(bench: Bench, user: str, seen: str, home: str) -> None:
    log = bench.run("sh", "-c", 'echo "$(id -u):$(id -g):$(id -G)"; echo $HOME', user=user)
    uid, gid, groups = log[0].split(":")
    assert f"{uid}:{gid}:{' '.join(sorted(groups.split(), key=int))}" == seen
    assert log[1] == home


@pytest.mark.parametrize("user", ["nobody-here", "app:nobody-here"])
def test_an_unknown_user_is_an_error(bench: Bench, user: str) -> None:
    with pytest.raises((EngineError, TraceError)):
        bench.run("id", user=user)


def test_privileges_are_dockers_defaults(bench: Bench) -> None:
    def status(**plan: Any) -> dict[str, str]:
        pattern = "^Cap|^NoNew|^Seccomp:|^Umask"
        log = bench.run("grep", "-E", pattern, "/proc/self/status", **plan)
        return {k: v.strip() for k, _, v in (line.partition(":") for line in log)}

    default = "00000000a80425fb"
    root, user = status(), status(user="app")
    assert (root["CapEff"], root["CapPrm"], root["CapBnd"]) == (default,) * 3
    assert (user["CapEff"], user["CapPrm"], user["CapBnd"]) == ("0" * 16, "0" * 16, default)
    assert (root["NoNewPrivs"], root["Seccomp"], root["Umask"]) == ("0", "2", "0022")
    assert int(root["CapInh"], 16) == int(root["CapAmb"], 16) == 0


def test_the_mounts_are_dockers_defaults(bench: Bench) -> None:
    rows = [line.split() for line in bench.run("cat", "/proc/mounts")]
    mounts = {row[1]: (row[2], set(row[3].split(","))) for row in rows}
    for target, kind, flags in (
        ("/", "overlay", {"rw"}),
        ("/proc", "proc", {"rw", "nosuid", "nodev", "noexec"}),
        ("/dev", "tmpfs", {"rw", "nosuid", "mode=755"}),
        ("/dev/pts", "devpts", {"rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}),
        ("/sys", "sysfs", {"ro", "nosuid", "nodev", "noexec"}),
        ("/dev/mqueue", "mqueue", {"rw", "nosuid", "nodev", "noexec"}),
        ("/dev/shm", "tmpfs", {"rw", "nosuid", "nodev", "noexec", "size=65536k"}),
        ("/proc/sys", "proc", {"ro"}),
    ):
        assert mounts[target][0] == kind
        assert mounts[target][1] >= flags
    assert {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} <= mounts.keys()
    assert any(path.startswith("/sys/fs/cgroup") for path in mounts)


def test_the_devices_and_files_of_every_container(bench: Bench) -> None:
    log = bench.run("ls", "/dev", "/.dockerenv")
    wanted = {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "ptmx"}
    assert wanted <= set(log)
    assert "/.dockerenv" in log
    assert bench.run("sh", "-c", "echo to the device >/dev/stdout") == ["to the device"]
    assert bench.run("sh", "-c", "cat; echo end of input") == ["end of input"]


def test_the_working_directory_is_made(bench: Bench) -> None:
    log = bench.run("sh", "-c", "echo $PWD; stat -c %u:%a .", workdir="/new/place", user="app")
    assert log == ["/new/place", "0:755"]


def test_a_low_port_needs_no_privilege(bench: Bench) -> None:
    name = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert bench.run("cat", name, user="app") == ["0"]


# ---------------------------------------------------------------- mounts and volumes


def test_mounts_of_the_user(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir(mode=0o777)
    (source / "file").write_text("given\n")
    mounts = (Mount("/given", str(source)), Mount("/scratch"),
              Mount("/given-rw", str(source), read_only=False))  # fmt: skip
    script = (
        "cat /given/file; touch /given/x || echo refused; touch /given-rw/y && echo written;"
        "stat -f -c %T /scratch; touch /scratch/z"
    )
    with bench.container("sh", "-c", script, mounts=mounts) as container:
        container.start()
        assert container.wait(30)
        log = [line for line in container.log() if "touch" not in line]
        assert log == ["given", "refused", "written", "tmpfs"]
        assert container.written() == ()
    assert (source / "y").exists()


def test_a_volume_begins_with_the_images_content(bench: Bench) -> None:
    volumes = bench.with_config(Volumes={"/data": {}, "/empty": {}})
    script = "stat -c '%u:%g:%a:%Y' /data/first; cat /data/link; touch /data/new /empty/new /out"
    with volumes.container("sh", "-c", script) as container:
        container.start()
        assert container.wait(30)
        assert container.log() == ("1000:1000:640:12345", "from the image")
        assert [p for p in container.written() if not p.startswith("/data")] == ["/out"]


def test_what_was_written(bench: Bench) -> None:
    script = "echo x >/tmp/made; rm /data/first; mkdir -p /deep/er; echo y >/deep/er/file"
    with bench.container("sh", "-c", script) as container:
        container.start()
        assert container.wait(30)
        assert container.written() == ("/data/first", "/deep/er/file", "/tmp/made")


def test_a_launch_puts_things_before_the_program(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("tool\n")
    launch = Launch(("sh", "-c", 'cat /.minify/tool; exec "$@"', "sh"), ("LAUNCHED=1",),
                    (Mount("/.minify", str(tmp_path)),))  # fmt: skip
    assert bench.run("sh", "-c", "echo $$ $LAUNCHED", launch=launch) == ["tool", "1 1"]
    entry = bench.with_config(Entrypoint=["sh", "-c", 'echo "entry $*"', "x"], Cmd=["default"])
    assert entry.run() == ["entry default"]
    assert entry.run("other") == ["entry other"]
    assert entry.run(entrypoint=("id", "-u")) == ["0"]
    assert entry.run(launch=launch) == ["tool", "entry default"]


# ---------------------------------------------------------------- its life


def test_the_life_of_a_container(bench: Bench) -> None:
    with bench.container(*SLEEP) as container:
        container.start()
        assert container.running()
        assert not container.wait(0.2)
        assert container.exit_code() is None
        if bench.engine.local:
            assert container.pid is not None and container.root is not None
            assert (container.root / "data/link").is_symlink()
            inside = os.readlink(f"/proc/{container.pid}/ns/net")
            from minify.run import run

            if container.beside:
                seen = run([*container.beside, "readlink", "/proc/self/ns/net"], timeout=10)
                assert seen.stdout.strip() == inside
        container.signal("SIGTERM")
        assert container.wait(10)
        assert (container.running(), container.exit_code(), container.pid) == (False, 5, None)
        assert container.log() == ("up", "bye")
        container.signal("SIGTERM")
        container.close()
        container.close()


def test_it_is_created_before_it_is_started(bench: Bench) -> None:
    with bench.container("sh", "-c", "echo ran") as container:
        assert container.log() == ()
        container.put(archive({"put/file": "by put\n", "tmp/more": ""}))
        container.start()
        assert container.wait(10)
        assert container.log() == ("ran",)


def test_files_are_put_and_fetched(bench: Bench, tmp_path: Path) -> None:
    sink = tmp_path / "copy"
    with bench.container("sh", "-c", "cat /put/file; echo out >/tmp/out; sleep 60") as container:
        container.put(archive({"put/file": "by put\n"}))
        container.start()
        from minify.ready import wait_until

        assert wait_until(lambda: container.fetch("/tmp/out", sink), 10)
        assert sink.read_text() == "out\n"
        assert wait_until(lambda: container.log() == ("by put",), 10)
        assert not container.fetch("/tmp/none", sink)
        container.kill()
        assert container.wait(10)
        assert container.exit_code() == 137
        assert container.fetch("/put/file", sink) and sink.read_text() == "by put\n"


@pytest.mark.parametrize("status", [0, 3, 255])
def test_exit_status(bench: Bench, status: int) -> None:
    with bench.container("sh", "-c", f"exit {status}") as container:
        container.start()
        assert container.wait(10)
        assert container.exit_code() == status


def test_output_that_is_long_or_ends_without_a_newline(bench: Bench) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; printf end"
    log = bench.run("sh", "-c", script)
    assert log == [*(f"line {i}" for i in range(20000)), "end"]
    assert "two" in "".join(bench.run("sh", "-c", "printf one >&2; echo two"))


def test_commands_inside(bench: Bench) -> None:
    with bench.container(*SLEEP, user="app", env=("A=b",), workdir="/tmp") as container:
        container.start()
        status, output = container.execute(("sh", "-c", "id -u; id -G; echo $A $PWD; exit 4"), 10)
        assert (status, output) == (4, b"1000\n1000 3000 3001\nb /tmp\n")
        if container.pid is not None:
            # A command has the service's network: it finds it on localhost, and nothing of ours.
            network = os.readlink(f"/proc/{container.pid}/ns/net").encode()
            assert container.execute(("readlink", "/proc/self/ns/net"), 10)[1].strip() == network
        assert container.execute(("printf", "\\377\\000x"), 10) == (0, b"\xff\x00x")
        assert container.execute(("sh", "-c", "echo e >&2"), 10) == (0, b"e\n")
        assert container.execute(("sleep", "60"), 0.5)[0] == 124
        assert container.execute(("no-such-program",), 10)[0] in (126, 127)
        assert container.running()


def test_a_command_that_is_not_there(bench: Bench) -> None:
    with pytest.raises((TraceError, EngineError)):
        bench.run("/no/such/program")


def test_an_image_without_a_command(bench: Bench) -> None:
    with pytest.raises((TraceError, EngineError)):
        bench.with_config(Cmd=None).run()


def test_abort_ends_containers_from_another_thread(bench: Bench) -> None:
    import threading

    with bench.container(*SLEEP) as container:
        container.start()
        thread = threading.Timer(0.2, bench.engine.abort)
        thread.start()
        try:
            ended = container.wait(20)
        except TraceError:
            ended = True
        thread.join()
        assert ended
