"""Erlang: boot files, the emulator's programs, whole applications and those they list."""

from __future__ import annotations

from collections.abc import Mapping

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Scene
from minify.resolvers.erlang import make
from tests.kit import Content, Exec, tree

ROOT = "/usr/lib/erlang"
APP = b"""%% an application
{application, web, [
  {vsn, "2.1"},
  {modules, [web, web_page]},
  {applications, [kernel, %% always
                  stdlib, crypto]},
  {runtime_dependencies, ["ssl-10.0"]},
  {env, [{notes, [mnesia]}]}]}.
"""
FILES: Mapping[str, Content] = {
    f"{ROOT}/erts-13.1/bin/beam.smp": Exec(b"x" * 9),
    f"{ROOT}/erts-13.1/bin/inet_gethost": Exec(b"x"),
    f"{ROOT}/erts-13.1/bin/beam.debug.smp": Exec(b"x" * (2 << 20)),
    f"{ROOT}/bin/start_clean.boot": "boot",
    f"{ROOT}/releases/25/OTP_VERSION": "25",
    f"{ROOT}/lib/kernel-8.5/ebin/kernel.app": "{application, kernel, []}.",
    f"{ROOT}/lib/kernel-8.5/ebin/code.beam": "b",
    f"{ROOT}/lib/kernel-8.5/src/code.erl": "source",
    f"{ROOT}/lib/stdlib-4.2/ebin/stdlib.app": "{application, stdlib, []}.",
    f"{ROOT}/lib/crypto-5.1/ebin/crypto.app": "{application, crypto, []}.",
    f"{ROOT}/lib/crypto-5.1/priv/lib/crypto.so": "so",
    f"{ROOT}/lib/ssl-10.8/ebin/ssl.app": "{application, ssl, []}.",
    f"{ROOT}/lib/mnesia-4.2/ebin/mnesia.app": "{application, mnesia, []}.",
    "/srv/plugins/web-2.1/ebin/web.app": APP,
    "/srv/plugins/web-2.1/ebin/web.beam": "b",
    "/srv/plugins/web-2.1/ebin/web_page.beam": "b",
    "/srv/plugins/web-2.1/priv/www/index.html": "page",
    "/srv/plugins/web-2.1/include/web.hrl": "header",
    "/srv/plugins/other-1/ebin/other.app": "{application, other, []}.",
    "/srv/plugins/crypto-0.1/ebin/crypto.app": "{application, crypto, []}.",
    "/srv/data/priv/page.html": "no application",
    "/srv/data/priv/other.html": "no application",
}


def kept(*touched: str, files: Mapping[str, Content] = FILES) -> set[str]:
    made = tree(files)
    nothing: frozenset[str] = frozenset()
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(touched), nothing,
                  KeepLevel.REACH)  # fmt: skip
    resolver, found, todo = make(), set(touched), list(touched)
    while todo:
        for need in resolver.needs(scene, made.entries[todo.pop()]):
            path = getattr(need, "path", "")
            if path not in found:
                found.add(path)
                todo.append(path)
    return found


def test_run_time_has_its_boot_files_programs_and_first_applications() -> None:
    found = kept(f"{ROOT}/erts-13.1/bin/beam.smp")
    assert f"{ROOT}/bin/start_clean.boot" in found
    assert f"{ROOT}/releases/25/OTP_VERSION" in found
    assert f"{ROOT}/erts-13.1/bin/inet_gethost" in found
    assert f"{ROOT}/erts-13.1/bin/beam.debug.smp" not in found
    assert {
        f"{ROOT}/lib/kernel-8.5/ebin/code.beam",
        f"{ROOT}/lib/stdlib-4.2/ebin/stdlib.app",
    } < found
    assert not any("/src/" in path or "crypto" in path for path in found)


def test_a_used_module_brings_its_application_and_those_it_lists() -> None:
    found = kept("/srv/plugins/web-2.1/ebin/web.beam")
    assert "/srv/plugins/web-2.1/ebin/web_page.beam" in found
    assert "/srv/plugins/web-2.1/priv/www/index.html" in found
    assert f"{ROOT}/lib/kernel-8.5/ebin/code.beam" in found
    assert f"{ROOT}/lib/ssl-10.8/ebin/ssl.app" in found
    assert "/srv/plugins/web-2.1/include/web.hrl" not in found
    assert not any("mnesia" in path or "/other-1/" in path for path in found)


def test_an_application_beside_goes_before_one_elsewhere() -> None:
    found = kept("/srv/plugins/web-2.1/ebin/web.app")
    assert "/srv/plugins/crypto-0.1/ebin/crypto.app" in found
    assert f"{ROOT}/lib/crypto-5.1/ebin/crypto.app" not in found
    alone = {p: c for p, c in FILES.items() if "crypto-0.1" not in p}
    assert f"{ROOT}/lib/crypto-5.1/priv/lib/crypto.so" in kept(
        "/srv/plugins/web-2.1/ebin/web.app", files=alone
    )


def test_a_directory_that_is_no_application_is_left_alone() -> None:
    assert kept("/srv/data/priv/page.html") == {"/srv/data/priv/page.html"}
