"""Commands that come with a service: those of its source package, while they cost little."""

from __future__ import annotations

from collections.abc import Mapping

from minify.model import Finding, ImageConfig, KeepLevel
from minify.packages.sources import sources
from minify.resolvers import Need, Scene
from minify.resolvers.companions import make
from tests.elf_kit import INTERP, elf
from tests.kit import Content, Exec, Link, tree

STATUS = """Package: cached
Source: cache (1.2-3)
Priority: optional
Description: a service
 of many lines: with colons

Package: cache-tools
Source: cache (1.2-3)

Package: other
Priority: optional

Package: coreutils
Essential: yes
"""
FILES: Mapping[str, Content] = {
    INTERP: Exec(elf(soname="ld-linux-x86-64.so.2")),
    "/lib/libbig.so.1": elf(soname="libbig.so.1") + b"\0" * (3 << 20),
    "/usr/sbin/cached": Exec(elf(interp=INTERP)),
    "/usr/bin/cacheadm": Exec(elf(interp=INTERP)),
    "/usr/bin/cacheviewer": Exec(elf(interp=INTERP, needed=["libbig.so.1"])),
    "/usr/bin/cachereport": Exec(b"#!/usr/bin/perl\n"),
    "/usr/bin/cachereload": Exec(b"#!/bin/sh\n"),
    "/usr/bin/cachelist.1": Exec(elf(interp=INTERP)),
    "/usr/bin/cachelist": Link("/etc/alternatives/cachelist"),
    "/etc/alternatives/cachelist": Link("/usr/bin/cachelist.1"),
    "/usr/bin/other": Exec(elf(interp=INTERP)),
    "/usr/bin/helper": Exec(elf(interp=INTERP)),
    "/usr/bin/ls": Exec(elf(interp=INTERP)),
    "/usr/bin/cat": Exec(elf(interp=INTERP)),
    "/bin/sh": Exec(elf(interp=INTERP)),
    "/usr/bin/perl": Exec(elf(interp=INTERP)),
    "/start.sh": Exec(b"#!/bin/sh\nls\nexec cached -d\n"),
    "/var/lib/dpkg/status": STATUS,
    "/var/lib/dpkg/info/cached.list": "/usr/sbin/cached\n/usr/bin/cachereload\n",
    "/var/lib/dpkg/info/cache-tools.list": "/usr/bin/cacheadm\n/usr/bin/cachereport\n"
    "/usr/bin/cacheviewer\n/usr/bin/cachelist.1\n",
    "/var/lib/dpkg/info/other.list": "/usr/bin/other\n/usr/bin/helper\n",
    "/var/lib/dpkg/info/coreutils.list": "/usr/bin/ls\n/usr/bin/cat\n",
}
SERVICE = "/usr/sbin/cached"
STARTED = (SERVICE, "/start.sh", "/bin/sh", INTERP, "/usr/bin/ls")


def asked(
    *touched: str, config: ImageConfig | None = None, files: Mapping[str, Content] = FILES
) -> tuple[set[str], list[Finding]]:
    made = tree(files)
    nothing: frozenset[str] = frozenset()
    scene = Scene(made, config or ImageConfig(), {}, frozenset(), frozenset(touched), nothing,
                  KeepLevel.REACH)  # fmt: skip
    resolver = make()
    found = [n for path in touched for n in resolver.needs(scene, made.entries[path])]
    needs = {n.path for n in found if isinstance(n, Need)}
    return needs, [n for n in found if isinstance(n, Finding)]


def test_commands_of_the_same_source_that_cost_little() -> None:
    found, findings = asked(*STARTED)
    assert {"/usr/bin/cacheadm", "/usr/bin/cachereload", "/usr/bin/cachelist.1"} <= found
    assert "/usr/bin/cachelist" in found  # the alternative that leads to it
    assert not found & {"/usr/bin/other", "/usr/bin/helper", "/usr/bin/cat"}
    assert any("/usr/bin/cacheviewer" in f.message for f in findings if "left out" in f.message)
    assert "/usr/bin/cacheviewer" not in found


def test_a_library_that_is_in_use_anyway_costs_nothing() -> None:
    found, findings = asked(*STARTED, "/lib/libbig.so.1")
    assert "/usr/bin/cacheviewer" in found
    assert not any("left out" in f.message for f in findings)


def test_scripts_only_for_interpreters_in_use() -> None:
    assert "/usr/bin/cachereport" not in asked(*STARTED)[0]
    assert "/usr/bin/cachereport" in asked(*STARTED, "/usr/bin/perl")[0]


def test_only_what_the_author_named_has_companions() -> None:
    # Something started it, but nothing the author wrote names it.
    assert asked("/usr/bin/other", "/start.sh") == (set(), [])
    assert "/usr/bin/helper" in asked("/usr/bin/other", config=ImageConfig(cmd=("other", "-x")))[0]
    spelled = ImageConfig(entrypoint=("/usr/bin/other",))
    assert "/usr/bin/helper" in asked("/usr/bin/other", config=spelled)[0]


def test_what_every_system_has_is_no_service() -> None:
    assert asked("/usr/bin/ls", config=ImageConfig(cmd=("ls",))) == (set(), [])


def test_sources_of_dpkg_and_apk() -> None:
    made = tree(
        {
            "/var/lib/dpkg/status": STATUS,
            "/var/lib/dpkg/status.d/netbase": "Package: netbase\nVersion: 1\n",
            "/lib/apk/db/installed": "P:cache\no:cache\n\nP:cache-cli\no:cache\nF:usr\n",
        }
    )
    found = sources(made)
    assert found.together("dpkg:cached") == ("dpkg:cache-tools", "dpkg:cached")
    assert found.together("apk:cache") == ("apk:cache", "apk:cache-cli")
    assert found.together("dpkg:netbase") == ("dpkg:netbase",)
    assert found.together("rpm:unknown") == ("rpm:unknown",)
    assert found.base == {"dpkg:coreutils"}
