"""A small image made of this host's own programs, for engines: needs no registry and no Docker."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minify.images.platforms import host_platform
from minify.model import OutputImage
from tests.image_kit import folder, item, symlink, tar

PROGRAMS = ("sh", "cat", "env", "id", "ls", "sleep", "stat", "touch", "rm", "mkdir", "grep", "head",
            "readlink", "printf", "sleep", "ln", "chmod", "test")  # fmt: skip
PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:App:/home/app:/bin/sh
1234:x:77:78::/home/number:/bin/sh
nohome:x:2000:2000:::/bin/sh
"""
GROUP = """root:x:0:
app:x:1000:
extra:x:3000:app,other
more:x:3001:app
crew:x:5000:
"""


@functools.cache
def host_files() -> dict[str, bytes]:
    """The programs and what the loader says they need, by path in the image."""
    found: dict[str, bytes] = {}
    for name in PROGRAMS:
        path = shutil.which(name, path="/usr/bin:/bin")
        if not path:
            continue
        found[f"usr/bin/{name}"] = Path(path).read_bytes()
        listing = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listing):
            found[os.path.realpath(os.path.dirname(library)).lstrip("/")
                  + "/" + os.path.basename(library)] = Path(library).read_bytes()  # fmt: skip
    return found


def layer(extra: Sequence[Any] = ()) -> bytes:
    """The image's one layer."""
    links = [
        symlink(name, f"usr/{name}")
        for name in ("bin", "lib", "lib64", "sbin")
        if os.path.islink(f"/{name}")
    ]
    capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    setuid = item("usr/bin/privileged", "#!", mode=0o4755)
    capable = item(
        "usr/bin/capable", "x", mode=0o755,
        pax_headers={"SCHILY.xattr.security.capability": capability},
    )  # fmt: skip
    base = [
        folder("usr"), folder("usr/bin"), *links, folder("etc"), folder("root", mode=0o700),
        folder("tmp", mode=0o1777), folder("home"), folder("home/app", uid=1000, gid=1000),
        item("etc/passwd", PASSWD), item("etc/group", GROUP), folder("data", uid=1000, gid=1000),
        item("data/first", "from the image\n", uid=1000, gid=1000, mode=0o640, mtime=12345),
        symlink("data/link", "first"), setuid, capable,
    ]  # fmt: skip
    files = [item(path, data, mode=0o755) for path, data in sorted(host_files().items())]
    return tar([*base, *files, *extra])


def output_image(directory: Path, **config: Any) -> OutputImage:
    """The image as a build would hand it to an engine; `config` as in an image configuration."""
    data = layer()
    path = directory / "layer.tar"
    path.write_bytes(data)
    diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
    text = json.dumps(
        {
            "architecture": host_platform().architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/bin:/bin", "FROM=image"], **config},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "test"}],
        },
        sort_keys=True,
    )
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return OutputImage(digest, diff_id, text, str(path), len(data), len(host_files()))


def archive(files: dict[str, str]) -> bytes:
    """A tar archive of text files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            made.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
