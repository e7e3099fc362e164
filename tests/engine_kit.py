"""What the tests with a real Docker engine share: whether there is one, and a small service."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BASE = "debian:bookworm-slim"


def docker(*argv: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"docker {argv}: {done.stderr}"
    return done.stdout.strip()


def missing() -> str:
    """Why tests with a real engine cannot run here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        done = subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "no docker command"
    return "" if done.returncode == 0 else "no Docker engine answers"


needs_docker = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@contextmanager
def image(name: str, dockerfile: str, **files: str) -> Iterator[str]:
    """Build an image from a Dockerfile's text and files, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in {"Dockerfile": dockerfile, **files}.items():
            Path(folder, path).write_text(text)
        env = {**os.environ, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            ["docker", "build", "-q", "--network", "host", "-t", name, folder],
            capture_output=True, text=True, env=env, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield name
    finally:
        docker("rmi", "--force", name, check=False)


def minify(*argv: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "minify", *argv],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        timeout=240, cwd=home,
        env={**os.environ, "MINIFY_HOME": str(home / "home"), **env},
    )  # fmt: skip


def labelled() -> list[str]:
    """The containers that runs of minify own right now."""
    return docker("ps", "-aq", "--no-trunc", "--filter", "label=io.minify.run").split()


def identity(name: str) -> str:
    """The digest of an image's configuration, which is no engine's ID with containerd's store."""
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as child:
        assert child.stdout
        with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
            small = (m for m in archive if m.isreg() and m.size < 1 << 20)
            files = {m.name: archive.extractfile(m).read() for m in small}  # type: ignore[union-attr]
    (one,) = json.loads(files["manifest.json"])
    return "sha256:" + hashlib.sha256(files[one["Config"]]).hexdigest()


def opened_size(name: str) -> int:
    """The size of an image's files in a tar, whatever the engine counts."""
    container = docker("create", name, "none")
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as child:
            assert child.stdout
            return sum(len(piece) for piece in iter(lambda: child.stdout.read(1 << 20), b""))  # type: ignore[union-attr]
    finally:
        docker("rm", container)


def inspect(name: str) -> dict[str, object]:
    return dict(json.loads(docker("image", "inspect", name))[0])


# Every Debian image has this perl, so no package has to be installed for a service.
SERVER = r"""
use IO::Socket::INET;
use POSIX ();
$| = 1;
$SIG{TERM} = sub { print "bye\n"; exit 0 };
$SIG{HUP} = sub { print "reloaded\n" };
print "uid $< pid $$\n";
my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 9, ReuseAddr => 1) or die "listen: $!";
while (1) {
    my $c = $s->accept or next;
    my $line = <$c>;
    while (my $h = <$c>) { last if $h =~ /^\r?$/ }
    my ($path) = $line =~ m{^\w+ (\S+)} or next;
    my ($code, $body) = (200, "hello from $path\n");
    if ($path eq '/file') { open(my $f, '<', '/app/data/one.txt'); $body = <$f> }
    elsif ($path eq '/other') {
        if (open(my $f, '<', '/app/data/two.txt')) { $body = <$f> } else { $code = 500 }
    }
    elsif ($path eq '/time') { $body = "now " . time() . "\n" }
    elsif ($path eq '/fail') { $code = 500 }
    elsif ($path eq '/write') { open(my $f, '>', '/app/var/out'); print $f "x"; close $f }
    print $c "HTTP/1.1 $code X\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n$body";
    close $c;
}
"""

SERVICE = f"""
FROM {BASE}
COPY app.pl /app/app.pl
RUN mkdir -p /app/data /app/var && echo one > /app/data/one.txt && echo two > /app/data/two.txt \
 && ln /app/data/one.txt /app/data/hard.txt && echo secret > /root/never \
 && chown -R 1000:1000 /app && useradd --uid 1000 app
USER 1000
WORKDIR /app
ENV MODE=test
EXPOSE 8080
LABEL team=a
STOPSIGNAL SIGTERM
HEALTHCHECK CMD perl -e 'exit 0'
CMD ["perl", "/app/app.pl"]
"""
