"""Commands that come with a service: those of its source package, while they cost little."""

from __future__ import annotations

from collections.abc import Mapping

from minify.engines import Loaded
from minify.model import (
    Access,
    Evidence,
    Finding,
    Image,
    ImageConfig,
    KeepLevel,
    Outcome,
    Platform,
    Touch,
)
from minify.packages.sources import sources
from minify.policies.rules import flag_rules
from minify.resolve import Rules, resolve
from minify.resolvers import Need, Scene
from minify.resolvers.companions import make
from minify.resolvers.telling import LeftOut
from tests.elf_kit import INTERP, elf
from tests.kit import Content, Exec, Link, Same, tree

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
    "/lib/libbig.so.1": elf(soname="libbig.so.1") + b"\0" * (5 << 20),
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
    "/usr/bin/perl": Exec(elf(interp=INTERP) + b"\0" * (5 << 20)),
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
    *touched: str,
    config: ImageConfig | None = None,
    files: Mapping[str, Content] = FILES,
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
) -> tuple[set[str], list[Finding]]:
    """What is needed and told in the end; `before` and `after` are kept and were not used."""
    made = tree(files)
    nothing: frozenset[str] = frozenset()
    scene = Scene(made, config or ImageConfig(), {}, frozenset(), frozenset(touched), nothing,
                  KeepLevel.REACH)  # fmt: skip
    resolver = make()
    order = (*before, *touched, *after)
    found = [n for path in order for n in resolver.needs(scene, made.entries[path])]
    needs = {n.path for n in found if isinstance(n, Need)}
    kept = {*needs, *order}
    told = (n.when(kept) if isinstance(n, LeftOut) else n for n in found if isinstance(n, Finding))
    return needs, [n for n in told if n is not None]


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
    assert not any("/usr/bin/cacheviewer" in f.message for f in findings)


def test_scripts_only_for_interpreters_in_use_or_small_ones() -> None:
    assert "/usr/bin/cachereport" not in asked(*STARTED)[0]
    assert "/usr/bin/cachereport" in asked(*STARTED, "/usr/bin/perl")[0]
    long = Exec(b"#!/usr/bin/perl\n" + b"#" * (1 << 20))  # the script itself may be larger
    small = {**FILES, "/usr/bin/perl": Exec(elf(interp=INTERP)), "/usr/bin/cachereport": long}
    assert "/usr/bin/cachereport" in asked(*STARTED, files=small)[0]
    without = {path: data for path, data in FILES.items() if path != "/usr/bin/perl"}
    assert "/usr/bin/cachereport" not in asked(*STARTED, files=without)[0]


def test_scripts_wait_for_an_interpreter_that_is_kept_for_another_reason() -> None:
    perl, report = "/usr/bin/perl", "/usr/bin/cachereport"
    files = {**FILES, perl: Exec(elf(interp=INTERP, needed=["libbig.so.1"]) + b"\0" * (5 << 20))}
    needs, findings = asked(*STARTED, files=files)
    assert report not in needs
    assert [f.left_out for f in findings if perl in f.message] == [(report,)]
    early, late = (asked(*STARTED, files=files, **{when: (perl,)}) for when in ("before", "after"))
    assert early[0] == late[0] == needs | {report}
    assert sorted(early[1]) == sorted(late[1])
    assert not any(report in f.message for f in late[1])


def test_waiting_scripts_keep_to_the_limits_in_any_order() -> None:
    scripts = [f"/usr/bin/cache{n}" for n in range(8)]
    kept = ("/usr/bin/perl", "/usr/bin/python3")
    files: dict[str, Content] = {
        **FILES,
        kept[1]: Exec(elf(interp=INTERP) + b"\0" * (5 << 20)),
        **{s: Exec(b"#!%s\n" % kept[n % 2].encode() + b"#" * (3 << 19))
           for n, s in enumerate(scripts)},
        "/var/lib/dpkg/info/cached.list": "\n".join(("/usr/sbin/cached", *scripts)),
    }  # fmt: skip
    one, other = (asked(*STARTED, files=files, after=at) for at in (kept, kept[::-1]))
    assert one[0] == other[0] == asked(*STARTED, files=files, before=kept)[0]
    assert set(scripts) <= one[0]  # four of each interpreter are within the limit
    single = {**files, **{s: Exec(b"#!/usr/bin/perl\n" + b"#" * (3 << 19)) for s in scripts}}
    needs, findings = asked(*STARTED, files=single, after=kept)
    assert len(needs & set(scripts)) == 5
    assert any(len(f.left_out) >= 3 and "bytes)" in f.message for f in findings)


def test_a_shell_script_costs_what_it_starts() -> None:
    script = Exec(b"#!/bin/sh\ncacheadm status | perl -n\n")
    assert (
        "/usr/bin/cachereload"
        not in asked(*STARTED, files={**FILES, "/usr/bin/cachereload": script})[0]
    )


def test_a_library_that_several_need_is_shared() -> None:
    library = elf(soname="libbig.so.1") + b"\0" * (5 << 20)
    names = [f"/usr/bin/look{n}" for n in range(3)]
    listed = {"/var/lib/dpkg/info/cached.list": "\n".join(("/usr/sbin/cached", *names))}
    tools: dict[str, Content] = {
        n: Exec(elf(interp=INTERP, needed=("libbig.so.1",))) for n in names
    }
    files: dict[str, Content] = {**FILES, "/lib/libbig.so.1": library, **tools, **listed}
    assert set(names) <= asked(*STARTED, files=files)[0]


def test_private_helpers_come_too_and_libraries_do_not() -> None:
    more: dict[str, Content] = {
        **FILES,
        "/usr/lib/cache/auth": Exec(elf(interp=INTERP)),
        "/usr/lib/cache/plugin.so": Exec(elf()),
        "/usr/share/cache/example": Exec(b"#!/bin/sh\n"),
        "/usr/lib/cache/build/install-sh": Exec(b"#!/bin/sh\n"),
        "/var/lib/dpkg/info/cached.list": "/usr/sbin/cached\n/usr/lib/cache/auth\n"
        "/usr/lib/cache/plugin.so\n/usr/share/cache/example\n/usr/lib/cache/build/install-sh\n",
    }
    found = asked(*STARTED, files=more)[0]
    assert "/usr/lib/cache/auth" in found
    assert "/usr/lib/cache/plugin.so" in found  # by settings, see below
    assert not any("example" in p or "install-sh" in p for p in found)


def test_costs_are_counted_once() -> None:
    big = elf(interp=INTERP) + b"\0" * (3 << 19)
    names = [f"/usr/bin/cache{n}" for n in range(9)]
    listed = {"/var/lib/dpkg/info/cached.list": "\n".join(("/usr/sbin/cached", *names))}
    linked: dict[str, Content] = {names[0]: Exec(big), **{n: Same(names[0]) for n in names[1:]}}
    assert set(names) <= asked(*STARTED, files={**FILES, **linked, **listed})[0]
    single: dict[str, Content] = {name: Exec(big) for name in names}
    found, findings = asked(*STARTED, files={**FILES, **single, **listed})
    assert len(found & set(names)) == 5
    assert any("left out" in f.message for f in findings)


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


ASKED: Mapping[str, Content] = {
    **FILES,
    "/lib/libssl.so.3": elf(soname="libssl.so.3") + b"\0" * (700 << 10),
    "/usr/bin/socat": Exec(elf(interp=INTERP, needed=["libssl.so.3"])),
    "/usr/bin/wrapper": Exec(b"#!/bin/sh\nexec socat -\n"),
    "/usr/bin/report": Exec(b"#!/usr/bin/perl\n"),
    "/usr/bin/viewer": Exec(elf(interp=INTERP, needed=["libbig.so.1"])),
    "/usr/bin/dependency": Exec(elf(interp=INTERP)),
    "/var/lib/dpkg/status": STATUS + "\nPackage: tools\n\nPackage: libtool\n",
    "/var/lib/dpkg/info/tools.list": "/usr/bin/socat\n/usr/bin/wrapper\n/usr/bin/report\n"
    "/usr/bin/viewer\n",
    "/var/lib/dpkg/info/libtool.list": "/usr/bin/dependency\n",
    "/var/lib/apt/extended_states": "Package: libtool\nArchitecture: amd64\nAuto-Installed: 1\n",
}


def test_commands_of_packages_that_were_installed_by_name() -> None:
    # an application without a package, that nothing names
    own = {**ASKED, "/app/server": Exec(elf(interp=INTERP))}
    found, findings = asked("/app/server", INTERP, files=own)
    assert {"/usr/bin/socat", "/usr/bin/other"} <= found
    assert not found & {"/usr/bin/report", "/usr/bin/wrapper", "/usr/bin/viewer"}
    assert not found & {"/usr/bin/dependency", "/usr/bin/ls"}
    assert any("/usr/bin/viewer" in f.message for f in findings if "left out" in f.message)
    unknown = {p: c for p, c in own.items() if p != "/var/lib/apt/extended_states"}
    assert asked("/app/server", INTERP, files=unknown)[0] == set()


def test_nothing_of_a_package_whose_command_of_the_same_name_is_too_large() -> None:
    listed = "/usr/bin/vcs\n/usr/bin/vcs-shell\n/usr/bin/vcs-list\n"
    files: dict[str, Content] = {
        **ASKED,
        "/app/server": Exec(elf(interp=INTERP)),
        "/usr/bin/vcs": Exec(elf(interp=INTERP) + b"\0" * (3 << 20)),
        "/usr/bin/vcs-shell": Exec(elf(interp=INTERP)),
        "/usr/bin/vcs-list": Exec(b"#!/bin/sh\n"),
        "/var/lib/dpkg/status": f"{ASKED['/var/lib/dpkg/status']!s}\nPackage: vcs\n",
        "/var/lib/dpkg/info/vcs.list": listed,
    }
    needs, findings = asked("/app/server", INTERP, files=files)
    assert not {p for p in needs if "vcs" in p}
    assert {"/usr/bin/vcs", "/usr/bin/vcs-shell"} <= {p for f in findings for p in f.left_out}
    small = {**files, "/usr/bin/vcs": Exec(elf(interp=INTERP) + b"\0" * (1 << 20))}
    assert {"/usr/bin/vcs", "/usr/bin/vcs-shell"} <= asked("/app/server", INTERP, files=small)[0]
    # An alternative counts by the name it is called by.
    other = files["/usr/bin/vcs"]
    basic = {**files, "/usr/bin/vcs.basic": other, "/usr/bin/vcs": Link("/usr/bin/vcs.basic")}
    basic["/var/lib/dpkg/info/vcs.list"] = "/usr/bin/vcs.basic\n/usr/bin/vcs-shell\n"
    assert "/usr/bin/vcs-shell" not in asked("/app/server", INTERP, files=basic)[0]


def test_what_another_rule_keeps_is_not_told_as_left_out() -> None:
    files = tree({**ASKED, "/app/server": Exec(elf(interp=INTERP))})
    image = Image("i", "sha256:i", Platform(), ImageConfig())
    evidence = Evidence("sha256:i", frozenset({Touch("/app/server", Access.EXEC, Outcome.OK)}))

    def told(*keep: str) -> set[str]:
        rules = Rules(KeepLevel.REACH, flag_rules(keep, ()))
        found = resolve(Loaded(image, files), evidence, rules).findings
        return {p for f in found if f.rule == "companions" for p in f.left_out}

    assert told() == {"/usr/bin/viewer", "/usr/bin/cacheviewer"}
    assert told("/usr/bin/viewer") == {"/usr/bin/cacheviewer"}


def test_what_was_asked_for_in_alpine() -> None:
    database = "P:busybox\no:busybox\n\nP:socat\no:socat\n\nP:musl\no:musl\n"
    files = {
        "/etc/apk/world": "alpine-baselayout\nbusybox\nsocat>1.7\ngone@edge\n",
        "/lib/apk/db/installed": database,
    }
    assert sources(tree(files)).asked == {"apk:socat"}


def test_plugins_of_the_service_that_only_settings_would_name() -> None:
    files = {
        **FILES,
        "/usr/lib/cache_auth.so": elf(needed=["libauth.so.1"]),
        "/usr/lib/libauth.so.1": elf(soname="libauth.so.1"),
        "/usr/lib/libcached.so": elf(),
        "/usr/lib/cache_huge.so": elf() + b"\0" * (5 << 20),
        "/usr/lib/other.so": elf(),
        "/var/lib/dpkg/info/cached.list": "/usr/sbin/cached\n/usr/lib/cache_auth.so\n"
        "/usr/lib/libcached.so\n/usr/lib/cache_huge.so\n",
        "/var/lib/dpkg/info/other.list": "/usr/lib/other.so\n",
    }
    found, findings = asked(*STARTED, files=files)
    assert "/usr/lib/cache_auth.so" in found
    assert not found & {"/usr/lib/libcached.so", "/usr/lib/cache_huge.so", "/usr/lib/other.so"}
    assert any("/usr/lib/cache_huge.so" in f.message for f in findings if "left out" in f.message)
