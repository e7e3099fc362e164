"""Package ownership against the package managers' own answers, in real images."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from minify.engines.docker_api import make
from minify.packages.owners import Ownership, owners
from minify.tree import Tree
from tests.engine_kit import BASE, docker, image, needs_docker

pytestmark = [needs_docker, pytest.mark.docker, pytest.mark.root]

SPEC = r"""Name: hello
Version: 1
Release: 1
Summary: s
License: x
BuildArch: noarch
%description
d
%install
mkdir -p %{buildroot}/opt/hello/bin %{buildroot}/etc/hello
echo x > %{buildroot}/opt/hello/bin/hello
echo y > %{buildroot}/etc/hello/a.conf
%files
/opt/hello
/etc/hello
"""
RPM = f"""FROM {BASE}
RUN apt-get update && apt-get install -y --no-install-recommends rpm
COPY hello.spec /r/
RUN rpmbuild -bb --define '_topdir /r' /r/hello.spec \
 && rpm --dbpath /var/lib/rpm -i --nodeps /r/RPMS/noarch/*.rpm \
 && rm -rf /var/lib/dpkg/info
"""


def ownership(name: str, spool: Path) -> tuple[Tree, Ownership]:
    engine = make("packages-test", spool)
    try:
        tree = engine.load(name).tree
        return tree, owners(tree)
    finally:
        engine.close()


def test_every_file_that_dpkg_lists_is_owned_by_that_package(tmp_path: Path) -> None:
    names = docker("run", "--rm", BASE, "dpkg-query", "-W", "-f", "${binary:Package}\\n").split()
    tree, owned = ownership(BASE, tmp_path)
    told = docker("run", "--rm", BASE, "dpkg-query", "-L", *names)
    plain = [p for p in told.splitlines() if p.startswith("/") and not tree.is_dir(p)]
    assert len(plain) > 500
    for path in plain:
        folder, _, name = path.rpartition("/")
        at = f"{(tree.real(folder or '/') or folder).rstrip('/')}/{name}"
        if tree.get(at) is not None:
            assert owned.package_of(at), at
    assert {p.partition(":")[2] for p in owned.packages} <= {re.sub(":.*", "", n) for n in names}


def test_a_database_that_rpm_wrote(tmp_path: Path) -> None:
    if subprocess.run(["getent", "hosts", "deb.debian.org"], capture_output=True).returncode:
        pytest.skip("needs the Debian archive")
    with image("minify-test-rpmdb:1", RPM, **{"hello.spec": SPEC}) as name:
        _, owned = ownership(name, tmp_path)
    assert not owned.findings
    assert set(owned.files_of("rpm:hello")) == {"/opt/hello/bin/hello", "/etc/hello/a.conf"}
