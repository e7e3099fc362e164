"""What JavaScript may load that no probe made it load."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel, Kind
from minify.resolvers import Scene
from minify.resolvers.node import make
from minify.resolvers.node_source import dependencies, manifest, named, strings, targets
from tests.elf_kit import INTERP, Shape, elf
from tests.kit import Content, Exec, Link, tree

NODE = "/usr/bin/node"


def package(**fields: object) -> str:
    return json.dumps(fields)


def reach(
    files: Mapping[str, Content],
    touched: Iterable[str],
    *,
    argv: tuple[str, ...] = ("node", "server.js"),
    env: Mapping[str, str] | None = None,
    node: bool = True,
) -> tuple[set[str], list[Finding]]:
    """Everything kept when the resolver is asked until nothing is new."""
    made = tree({NODE: Exec(b"\x7fELF"), **files})
    queue = [*touched, NODE] if node else [*touched]
    assert all(made.get(p) is not None for p in queue)
    config = ImageConfig(workdir="/app")
    real = frozenset(queue)
    scene = Scene(made, config, dict(env or {}), frozenset({argv}), real, frozenset(),
                  KeepLevel.REACH)  # fmt: skip
    kept, findings, resolver = set(queue), list[Finding](), make()
    while queue:
        for item in resolver.needs(scene, made.entries[queue.pop()]):
            if isinstance(item, Finding):
                findings.append(item)
                continue
            parent, _, name = item.path.rpartition("/")
            here = f"{made.real(parent or '/')}/{name}"
            resolved = made.resolve(item.path)
            for path in (here, *resolved.crossed, resolved.real or ""):
                if path in made.entries and path not in kept:
                    kept.add(path)
                    queue.append(path)
    return {p for p in kept if made.entries[p].kind is not Kind.DIR}, findings


APP: dict[str, Content] = {
    "/app/package.json": package(main="server.js", dependencies={"shop": "1", "gone": "1"},
                                 devDependencies={"linter": "1"}),
    "/app/server.js": "const a = require('./lib/a'); require('pug')",
    "/app/lib/a.js": "",
    "/app/lib/never-named.js": "",
    "/app/views/page.html": "",
    "/app/.git/HEAD": "",
    "/app/node_modules/shop/package.json": package(name="shop", main="./lib/index.js",
        dependencies={"ledger": "1"}, optionalDependencies={"speed": "1"},
        peerDependencies={"peer": "1"}),
    "/app/node_modules/shop/lib/index.js": "",
    "/app/node_modules/shop/lib/data.json": "{}",
    "/app/node_modules/shop/dist/doc/Document.js": "",
    "/app/node_modules/shop/README.md": "",
    "/app/node_modules/shop/lib/index.d.ts": "",
    "/app/node_modules/shop/lib/index.js.map": "",
    "/app/node_modules/shop/test/index.js": "",
    "/app/node_modules/shop/prebuilds/linux-x64/shop.node": b"\x7fELF",
    "/app/node_modules/shop/prebuilds/darwin-arm64/shop.node": b"\xcf",
    "/app/node_modules/shop/node_modules/ledger/package.json": package(name="ledger"),
    "/app/node_modules/shop/node_modules/ledger/index.js": "",
    "/app/node_modules/ledger/package.json": package(name="ledger"),
    "/app/node_modules/ledger/index.js": "",
    "/app/node_modules/speed/package.json": package(name="speed"),
    "/app/node_modules/speed/build/Release/speed.node": b"\x7fELF",
    "/app/node_modules/peer/package.json": package(name="peer"),
    "/app/node_modules/pug/package.json": package(name="pug"),
    "/app/node_modules/pug/lazy.js": "",
    "/app/node_modules/linter/package.json": package(name="linter"),
    "/app/node_modules/view/index.js": "",
    "/app/node_modules/.package-lock.json": "{}",
}  # fmt: skip


def test_the_own_tree_and_its_production_dependencies_are_kept() -> None:
    kept, findings = reach(APP, ["/app/server.js"])
    inside = {p.removeprefix("/app/") for p in kept}
    assert {"lib/a.js", "lib/never-named.js", "views/page.html", "package.json"} <= inside
    assert {"node_modules/shop/lib/data.json", "node_modules/shop/dist/doc/Document.js"} <= inside
    assert {"node_modules/shop/prebuilds/linux-x64/shop.node"} <= inside
    assert {"node_modules/speed/build/Release/speed.node", "node_modules/pug/lazy.js"} <= inside
    assert {"node_modules/peer/package.json"} <= inside
    assert "node_modules/shop/node_modules/ledger/index.js" in inside
    assert "node_modules/ledger/index.js" not in inside
    unwanted = (".git/", "linter", "README", ".d.ts", ".map", "/test/", "darwin", "view/")
    assert not {p for p in inside for word in unwanted if word in p}
    assert findings == []


def test_addons_of_other_machines_systems_and_c_libraries_stay_behind() -> None:
    addons: dict[str, Content] = {
        "linux-x64": elf(("libc.so.6",)),
        "linux-arm64": elf(("libc.so.6",), shape=Shape(machine="EM_AARCH64")),
        "linuxmusl-x64": elf(("libc.musl-x86_64.so.1",)),
        "darwin-arm64": b"\xcf\xfa\xed\xfe" + b"\0" * 60,
        "win32-x64": b"MZ" + b"\0" * 60,
    }
    here = {f"/app/node_modules/shop/prebuilds/{n}.node": a for n, a in addons.items()}
    node = Exec(elf(("libc.so.6",), interp=INTERP))
    files = {**APP, **here, NODE: node, INTERP: Exec(elf())}
    kept, _ = reach(files, ["/app/server.js"])
    inside = {p.rpartition("/")[2] for p in kept if "/shop/prebuilds/" in p}
    assert inside == {"shop.node", "linux-x64.node"}


def test_a_package_named_in_a_string_is_kept() -> None:
    files = {**APP, "/app/lib/a.js": "app.set('view engine', 'view')"}
    kept, _ = reach(files, ["/app/server.js"])
    assert "/app/node_modules/view/index.js" in kept


def test_a_used_package_is_kept_whole_with_what_it_names_without_declaring() -> None:
    files = {**APP, "/app/node_modules/linter/lib/x.js": "require('view/index.js')"}
    kept, _ = reach(files, ["/app/node_modules/linter/lib/x.js"])
    assert {"/app/node_modules/linter/package.json", "/app/node_modules/view/index.js"} <= kept


def test_tests_that_a_package_exports_stay() -> None:
    files: dict[str, Content] = {
        "/app/server.js": "require('tool')",
        "/app/node_modules/tool/package.json": package(exports={".": {"node": ["./test/a.js"]}}),
        "/app/node_modules/tool/test/a.js": "",
    }
    kept, _ = reach(files, ["/app/server.js"])
    assert "/app/node_modules/tool/test/a.js" in kept


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("const x=require('a')", "a"),
        ('function f(){return require( "@s/a/b" )}', "@s/a/b"),
        ("import x, {y} from 'a'", "a"),
        ("import'a'", "a"),
        ("export * from\n  './a.mjs'", "./a.mjs"),
        ("await import(/* webpackIgnore: true */ './a.mjs')", "./a.mjs"),
        ("require(`./a`)", "./a"),
        ("require.resolve('a')", "a"),
        ("new Worker('./a.js')", "./a.js"),
        ("new URL('./a.js', import.meta.url)", "./a.js"),
        ("var e=r('a');", "a"),
        ("import x = require('a')", "a"),
        ("don't(); require('a')", "a"),
        ("syntax error ((( require('a')", "a"),
        ("x}from'a';", "a"),
    ],
)
def test_forms_of_import(text: str, wanted: str) -> None:
    assert wanted in named(text.encode(), bundled=True)


def test_manifests() -> None:
    assert manifest(b"[]") is None
    assert manifest(b"{") is None
    assert manifest(b"[" * 100_000) is None
    odd = manifest(
        b'{"dependencies": ["x"], "bundleDependencies": ["b"], "exports": [{"a": "./a"}]}'
    )
    assert odd is not None
    assert list(dependencies(odd)) == ["b"]
    assert list(targets(odd)) == ["./a"]
    peers = {"peerDependencies": {"a": "1", "b": "1"}, "peerDependenciesMeta": {"b": {}}}
    assert list(dependencies(peers)) == ["a"]
    assert named(b"f('typescript')") == frozenset()
    assert strings(b"x('pug', \"@s/p\", 'no spaces here')") == {"pug", "@s/p"}


@pytest.mark.parametrize(
    ("specifier", "file"),
    [
        ("../shared/x", "/shared/x.js"),
        ("../shared/x.js", "/shared/x.js"),
        ("../shared/j", "/shared/j.json"),
        ("../shared/n", "/shared/n.node"),
        ("../shared/d", "/shared/d/index.js"),
        ("../shared/t.js", "/shared/t.ts"),
        ("file:///shared/x.js?v=1", "/shared/x.js"),
    ],
)
def test_relative_look_ups_outside_the_own_tree(specifier: str, file: str) -> None:
    files: dict[str, Content] = {"/app/server.js": f"require('{specifier}')", file: ""}
    kept, _ = reach(files, ["/app/server.js"])
    assert file in kept


def test_the_links_of_pnpm() -> None:
    store = "/app/node_modules/.pnpm"
    files: dict[str, Content] = {
        "/app/package.json": package(dependencies={"shop": "1"}),
        "/app/server.js": "",
        "/app/node_modules/shop": Link(".pnpm/shop@1/node_modules/shop"),
        f"{store}/shop@1/node_modules/shop/package.json": package(dependencies={"ledger": "1"}),
        f"{store}/shop@1/node_modules/shop/index.js": "",
        f"{store}/shop@1/node_modules/ledger": Link("../../ledger@2/node_modules/ledger"),
        f"{store}/ledger@2/node_modules/ledger/package.json": package(),
        f"{store}/ledger@2/node_modules/ledger/index.js": "",
        f"{store}/other@2/node_modules/other/index.js": "",
    }
    kept, _ = reach(files, ["/app/server.js"])
    assert {"/app/node_modules/shop", f"{store}/shop@1/node_modules/ledger"} <= kept
    assert f"{store}/ledger@2/node_modules/ledger/index.js" in kept
    assert f"{store}/other@2/node_modules/other/index.js" not in kept


def test_workspaces_are_the_application_s_own() -> None:
    files: dict[str, Content] = {
        "/app/package.json": package(workspaces=["packages/*"]),
        "/app/packages/core/package.json": package(name="core", dependencies={"shop": "1"}),
        "/app/packages/core/index.js": "",
        "/app/packages/web/package.json": package(name="web"),
        "/app/packages/web/server.js": "import 'core'",
        "/app/node_modules/core": Link("../packages/core"),
        "/app/node_modules/shop/package.json": package(),
    }
    kept, _ = reach(files, ["/app/packages/web/server.js"])
    wanted = {"/app/node_modules/core", "/app/packages/core/index.js"}
    assert {*wanted, "/app/node_modules/shop/package.json"} <= kept


def test_packages_for_everybody() -> None:
    files: dict[str, Content] = {
        "/app/server.js": "require('yaml'); require('fast'); require('@s/x'); require('one')",
        "/usr/share/nodejs/yaml/package.json": package(),
        "/usr/share/nodejs/yaml/lib.js": "",
        "/usr/share/nodejs/@s/x/index.js": "",
        "/usr/share/nodejs/one.js": "",
        "/usr/lib/x86_64-linux-gnu/nodejs/fast/index.node": b"\x7fELF",
        "/opt/more/two/index.js": "",
    }
    kept, _ = reach(files, ["/app/server.js"])
    assert set(files) - {"/opt/more/two/index.js"} <= kept
    files["/app/server.js"] = "require('two')"
    kept, _ = reach(files, ["/app/server.js"], env={"NODE_PATH": "/opt/more"})
    assert "/opt/more/two/index.js" in kept


def test_internal_modules_kept_in_files_and_preloaded_ones() -> None:
    binary = b"\x7fELF" + b"\0" * 1_048_500 + b"=/usr/share/nodejs/undici/fetch.js\0"
    files: dict[str, Content] = {
        NODE: Exec(binary),
        "/usr/share/nodejs/undici/fetch.js": "",
        "/usr/share/nodejs/undici/other.js": "",
        "/app/server.js": "",
        "/app/node_modules/dotenv/config.js": "",
        "/app/node_modules/agent/index.js": "",
        "/etc/ca.pem": "",
    }
    env = {"NODE_OPTIONS": "--require=dotenv/config", "NODE_EXTRA_CA_CERTS": "/etc/ca.pem"}
    kept, _ = reach(files, ["/app/server.js"], argv=("node", "--import", "agent", "."), env=env)
    assert set(files) - {"/usr/share/nodejs/undici/other.js"} == kept


def test_scripts_without_a_suffix() -> None:
    files: dict[str, Content] = {
        "/app/bin/www": "require('../lib')",
        "/app/bin/tool": Exec(b"#!/usr/bin/env node\nrequire('x')"),
        "/app/lib/index.js": "",
        "/app/node_modules/x/index.js": "",
    }
    kept, _ = reach(files, ["/app/bin/www"], argv=("node", "bin/www"))
    assert set(files) - {"/app/node_modules/x/index.js"} <= kept
    kept, _ = reach(files, ["/app/bin/tool"])
    assert "/app/node_modules/x/index.js" in kept


def test_javascript_for_browsers_waits_for_an_interpreter() -> None:
    files: dict[str, Content] = {"/app/a.js": "", "/app/b.js": ""}
    kept, _ = reach(files, ["/app/a.js"], node=False)
    assert kept == {"/app/a.js"}


def test_plug_and_play_keeps_its_cache() -> None:
    files: dict[str, Content] = {
        "/app/package.json": package(),
        "/app/server.js": "",
        "/app/.pnp.cjs": "",
        "/app/.yarn/cache/shop-1.zip": b"PK",
    }
    kept, findings = reach(files, ["/app/server.js"])
    assert set(files) <= kept
    assert [f.path for f in findings] == ["/app/.pnp.cjs"]


def test_bad_content_costs_no_build() -> None:
    files: dict[str, Content] = {
        "/app/package.json": "{ not json",
        "/app/server.js": b"\0\xff require('self')",
        "/app/huge.js": b"x" * (16 * 1024 * 1024 + 1),
        "/app/loop": Link("/app"),
        "/app/node_modules/self/package.json": package(dependencies={"self": "1", "../../x": "1"}),
        "/app/node_modules/self/node_modules": Link("/app/node_modules"),
        "/app/node_modules/dangling": Link("/nowhere"),
    }
    kept, findings = reach(files, ["/app/server.js"])
    assert "/app/node_modules/self/package.json" in kept
    assert {f.path for f in findings} == {"/app/package.json", "/app/huge.js"}


def test_what_only_developers_import_is_not_followed() -> None:
    files: dict[str, Content] = {
        "/app/server.js": "require('copy')",
        "/app/node_modules/copy/package.json": package(
            dependencies={"both": "1"}, devDependencies={"linter": "1", "both": "1"}
        ),
        "/app/node_modules/copy/lint.config.js": "import x from 'linter/config'; require('both')",
        "/app/node_modules/linter/package.json": package(),
        "/app/node_modules/both/package.json": package(),
    }
    kept, _ = reach(files, ["/app/server.js"])
    assert "/app/node_modules/linter/package.json" not in kept
    assert "/app/node_modules/both/package.json" in kept
    kept, _ = reach(files, ["/app/server.js", "/app/node_modules/copy/lint.config.js"])
    assert "/app/node_modules/linter/package.json" in kept, "it was run: it is needed"


def test_packages_for_another_c_library_are_left() -> None:
    files: dict[str, Content] = {
        "/lib/ld-linux-x86-64.so.2": b"\x7fELF",
        "/app/package.json": package(optionalDependencies={"gnu": "1", "musl": "1", "win": "1"}),
        "/app/server.js": "",
        "/app/node_modules/gnu/package.json": package(libc=["glibc"], os=["linux"]),
        "/app/node_modules/musl/package.json": package(libc=["musl"], os=["linux"]),
        "/app/node_modules/win/package.json": package(os=["!linux"]),
    }
    kept, _ = reach(files, ["/app/server.js", "/app/package.json"])
    found = {p for p in kept if "node_modules" in p}
    assert found == {"/app/node_modules/gnu/package.json"}


def test_a_package_that_builds_others_is_not_reached_for() -> None:
    files: dict[str, Content] = {
        "/app/server.js": "",
        "/app/node_modules/node-gyp/package.json": package(dependencies={"tar": "1"}),
        "/app/node_modules/node-gyp/bin/node-gyp.js": "require('../lib/a')",
        "/app/node_modules/node-gyp/gyp/gyp_main.py": Exec("#!/usr/bin/python3"),
        "/app/node_modules/tar/package.json": package(),
    }
    started = "/app/node_modules/node-gyp/bin/node-gyp.js"
    kept, _ = reach(files, ["/app/server.js", started])
    assert {p for p in kept if "node_modules" in p} == {started}


def test_a_scoped_package_is_another_than_the_one_of_its_last_name() -> None:
    root = "/app/node_modules/@npmcli/node-gyp"
    files: dict[str, Content] = {
        "/app/server.js": "require('@npmcli/node-gyp')",
        f"{root}/package.json": package(main="lib/index.js"),
        f"{root}/lib/index.js": "",
    }
    assert f"{root}/lib/index.js" in reach(files, ["/app/server.js"])[0]
