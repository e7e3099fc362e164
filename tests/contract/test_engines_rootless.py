"""The embedded engine as root of a user namespace: another uid map, userxattr, no device nodes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host_image import layer
from tests.image_kit import Layout, config, folder, item, symlink, tar

ROOT = Path(__file__).parents[2]
FIRST, COUNT = 300000, 65536
# Maps as newuidmap would write them, by root, for any user: no account is made for the test.
ENTER = f"""
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.setgroups([])
    os.setresgid({FIRST}, {FIRST}, {FIRST})
    os.setresuid({FIRST}, {FIRST}, {FIRST})
    libc = ctypes.CDLL(None)
    libc.prctl(4, 1, 0, 0, 0)
    failed = libc.unshare(0x10000000)
    os.write(ready[1], b"n" if failed else b"y")
    os.read(go[0], 1)
    os.setgid(0); os.setuid(0)
    os.execv(sys.argv[1], sys.argv[1:])
if os.read(ready[0], 1) != b"y":
    sys.exit(77)
for name in ("uid_map", "gid_map"):
    with open(f"/proc/{{child}}/{{name}}", "w") as maps:
        maps.write("0 {FIRST} {COUNT}")
os.write(go[1], b"g")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
SCENARIO = """
import json, os, sys
from pathlib import Path
from minify.engines import Launch
from minify.engines.embedded import make
from minify.model import Plan
from minify.probe import probing
engine = make(Path(sys.argv[1]) / "home")
loaded = engine.load("oci:" + sys.argv[2])
script = '''id -u; id -G; stat -c %u:%g:%a /data/first /opaque/new; ls /opaque /gone
echo x >/tmp/new; rm /data/first; cat /proc/net/dev | head -3 | grep -c lo'''
plan = Plan("", argv=("sh", "-c", script), user="app")
with engine.create(plan, loaded.image, Launch()) as it:
    it.start(); ended = it.wait(30)
    seen = {"log": it.log(), "way": it.way, "ended": ended, "written": it.written()}
with engine.create(Plan("", argv=("sleep", "60")), loaded.image, Launch()) as it:
    it.start()
    seen["inside"] = it.execute(("id", "-u"), 20)[1].decode()
    with probing("watch_fanotify") as probe:
        probe.request({"pid": it.pid})
        seen["fanotify"] = (probe.answer(20), probe.status())
hostile = engine.load("oci:" + sys.argv[3])
with engine.create(Plan("", argv=("sh", "-c", "ls /dev; echo ran")), hostile.image, Launch()) as it:
    it.start(); it.wait(30)
    seen["hostile"] = it.log()
seen["owner"] = loaded.tree.entries["/data/first"].uid
seen["rootless"] = engine.machine.rootless
print(json.dumps(seen))
"""


@pytest.mark.root
@pytest.mark.runc
def test_rootless(tmp_path_factory: pytest.TempPathFactory) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.geteuid() != 0 or not python or not (shutil.which("runc") or shutil.which("crun")):
        pytest.skip("needs root to make a user, a system Python and a runtime")
    place = tmp_path_factory.mktemp("rootless")
    for parent in (place, *place.parents[:2]):
        parent.chmod(0o755)
    layout = Layout(place / "layout")
    layers = [layer(), tar([folder("opaque"), item("opaque/old", "1"), item("gone", "1")]),
              tar([folder("opaque"), item("opaque/.wh..wh..opq"), item("opaque/new", uid=3, gid=4),
                   item(".wh.gone")])]  # fmt: skip
    layout.add(layout.image(layers, conf=config(layers, config={"Env": ["PATH=/bin"]})))
    (place / "run").mkdir()
    canary = place / "canary"  # the user's own: what a link of an image must not lead to
    canary.mkdir()
    (canary / "ptmx").write_text("precious")
    for path in (place / "run", canary, canary / "ptmx"):
        os.chown(path, FIRST, FIRST)
    links = tar([symlink(name, str(canary)) for name in ("dev", "proc", "sys", ".minify")])
    bad = Layout(place / "bad")
    both = [layers[0], links]
    bad.add(bad.image(both, conf=config(both, config={"Env": ["PATH=/usr/bin"]})))
    scenario = place / "scenario.py"
    scenario.write_text(SCENARIO)
    paths = [str(ROOT)]
    found = importlib.util.find_spec("psutil")
    if found and found.origin:
        paths.append(str(Path(found.origin).parents[1]))
    done = subprocess.run(
        [sys.executable, "-c", ENTER, python, "-B", scenario, place / "run", place / "layout",
         place / "bad"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(paths), "HOME": str(place)},
        capture_output=True, text=True, timeout=120, cwd="/",
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("user namespaces are switched off")
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip(f"this checkout cannot be read by another user: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    assert seen["rootless"] and seen["ended"] and seen["owner"] == 1000
    assert seen["hostile"][-1] == "ran"
    assert [(p.name, p.read_text()) for p in canary.iterdir()] == [("ptmx", "precious")]
    log = seen["log"]
    assert log[0] == "1000"
    assert log[2:4] == ["1000:1000:640", "3:4:644"]
    assert "new" in log and "old" not in log
    assert "1" in log[-2:]  # what ls complained about is of another stream, and may come last
    assert seen["inside"] == "0\n"
    assert seen["fanotify"] == [None, 3]  # not permitted, and said so
    if seen["way"] != "copy":
        assert seen["written"] == ["/data/first", "/tmp/new"]
