"""The application's own tree, files put into shared directories, settings of what is in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.owntree import OwnTree
from minify.tree import Tree
from tests.kit import Content, Exec, tree

BASE: dict[str, Content] = {
    "/var/lib/dpkg/info/nginx.list": (
        "/usr/sbin/nginx\n/etc/nginx/nginx.conf\n/etc/init.d/nginx\n/usr/share/nginx/a.html\n"
        "/etc/nginx/mime.types\n/etc/other/x.conf\n"
    ),
    "/usr/sbin/nginx": Exec(b"x"),
    "/etc/nginx/nginx.conf": "x",
    "/etc/nginx/mime.types": "x",
    "/etc/other/x.conf": "x",
    "/etc/init.d/nginx": "x",
    "/usr/share/nginx/a.html": "x",
}


def scene(files: Tree, touched: Iterable[str] = (), workdir: str = "/") -> Scene:
    config = ImageConfig(workdir=workdir)
    seen = frozenset(touched)
    return Scene(files, config, {}, frozenset(), seen, frozenset(), KeepLevel.REACH)


def kept(
    extra: Mapping[str, Content], touched: Iterable[str] = (), workdir: str = "/"
) -> tuple[set[str], list[Finding]]:
    files = tree({**BASE, **extra})
    resolver, view = OwnTree(), scene(files, touched, workdir)
    asked = [*touched, "/usr/sbin/nginx"]
    found = [n for path in asked for n in resolver.needs(view, files.entries[path])]
    return (
        {n.path for n in found if isinstance(n, Need)},
        [n for n in found if isinstance(n, Finding)],
    )


@pytest.mark.parametrize(
    "root", ["/app", "/srv/site", "/opt/thing", "/home/me/app", "/var/www/html", "/data"]
)
def test_the_whole_tree_of_a_touched_file_is_kept_and_its_cost_said(root: str) -> None:
    files = {f"{root}/a/b.py": "12", f"{root}/c/d.txt": "345", "/opt/alien/x": "y"}
    paths, findings = kept(files, [f"{root}/a/b.py"])
    assert {f"{root}/a/b.py", f"{root}/c/d.txt", f"{root}/c"} <= paths
    assert not any(p.startswith("/opt/alien") for p in paths)
    assert any(f.path == root and "2 files, 5 bytes" in f.message for f in findings)


def test_the_working_directory_is_kept_without_a_touch() -> None:
    paths, _ = kept({"/app/lazy.py": "x"}, workdir="/app")
    assert "/app/lazy.py" in paths


def test_repositories_caches_and_language_packages_stay_out() -> None:
    out = ["/app/.git/config", "/app/node_modules/x/i.js", "/app/.venv/pyvenv.cfg",
           "/app/.venv/bin/x", "/app/jre/lib/modules", "/app/.cache/y"]  # fmt: skip
    paths, _ = kept({"/app/a": "x", **dict.fromkeys(out, "x")}, ["/app/a"])
    assert not paths & set(out)
    assert kept({"/app/.venv/pyvenv.cfg": "x", "/app/.venv/b": "x"}, ["/app/.venv/b"])[0] == set()


def test_a_directory_with_packaged_files_is_not_own() -> None:
    paths, _ = kept({"/usr/share/nginx/mine/x": "x"}, ["/usr/share/nginx/a.html"])
    assert "/usr/share/nginx/mine/x" not in paths
    paths, _ = kept({"/usr/share/nginx/mine/x": "x", "/usr/share/nginx/mine/y": ""},
                    ["/usr/share/nginx/mine/x"])  # fmt: skip
    assert "/usr/share/nginx/mine/y" in paths


def test_a_huge_tree_loses_its_biggest_untouched_files() -> None:
    files = tree({**BASE, "/app/a": "x", "/app/model": "x", "/app/movie": "x", "/app/small": "x"})
    entries = dict(files.entries)
    for path, size in (("/app/model", 60 << 20), ("/app/movie", 50 << 20)):
        entries[path] = replace(entries[path], size=size)
    big = Tree(entries, files.opener)
    found = list(OwnTree().needs(scene(big, ["/app/a", "/app/model"]), entries["/app/a"]))
    paths = {n.path for n in found if isinstance(n, Need)}
    assert {"/app/a", "/app/small", "/app/model"} <= paths
    assert "/app/movie" not in paths
    assert any("left out 1 files" in n.message for n in found if isinstance(n, Finding))


def test_without_a_package_database_only_places_of_applications_count() -> None:
    files = tree({"/app/a": "", "/app/b": "", "/usr/lib/x/a": "", "/usr/lib/x/b": ""})
    resolver, view = OwnTree(), scene(files)
    asked = (files.entries["/app/a"], files.entries["/usr/lib/x/a"])
    found = {n.path for e in asked for n in resolver.needs(view, e) if isinstance(n, Need)}
    assert found == {"/app/a", "/app/b"}


def test_files_put_beside_the_distributions_own_are_kept_when_a_layer_says_so() -> None:
    files = tree(
        {
            **BASE,
            "/usr/local/bin/start.sh": Exec(b"#!/bin/sh\n"),
            "/usr/local/bin/tool": Exec(b"x"),
            "/usr/share/nginx/extra.html": "x",
            "/var/log/app.log": "x",
            "/etc/shadow": "x",
            "/entrypoint.sh": Exec(b"#!/bin/sh\n"),
        }
    )
    entries = dict(files.entries)
    for path in ("/usr/local/bin/start.sh", "/usr/share/nginx/extra.html", "/var/log/app.log",
                 "/etc/shadow", "/etc/nginx/nginx.conf"):  # fmt: skip
        entries[path] = replace(entries[path], layer=2)
    layered = Tree(entries, files.opener)
    found = OwnTree().needs(scene(layered), entries["/usr/sbin/nginx"])
    assert {n.path for n in found if isinstance(n, Need)} == {
        "/usr/local/bin/start.sh",
        "/usr/share/nginx/extra.html",
        "/etc/nginx/nginx.conf",
        "/entrypoint.sh",
    }


@pytest.mark.parametrize("base", ["/srv", "/home/node", "/root", "/opt"])
def test_an_application_right_in_a_base_directory(base: str) -> None:
    extra = {f"{base}/server.js": "x", f"{base}/views/a.html": "x", f"{base}/.cache/y": "x"}
    for touched, workdir in (([f"{base}/server.js"], "/"), ([], base)):
        paths, _ = kept(extra, touched, workdir)
        assert f"{base}/views/a.html" in paths
        assert f"{base}/.cache/y" not in paths
    assert f"{base}/views/a.html" not in kept(extra)[0]


def test_what_was_put_into_the_top_directory_by_hand_is_kept_when_programs_run_there() -> None:
    files = tree({**BASE, "/views/a.html": "x", "/made/by/packages": "x", "/big/x": "x"})
    entries = dict(files.entries)
    for path in ("/views", "/big"):
        entries[path] = replace(entries[path], layer=2)
    entries["/big/x"] = replace(entries["/big/x"], size=9 << 20)
    found = list(OwnTree().needs(scene(Tree(entries, files.opener)), entries["/usr/sbin/nginx"]))
    assert {n.path for n in found if isinstance(n, Need)} == {"/views/a.html"}
    assert any(n.path == "/big" for n in found if isinstance(n, Finding))


def test_settings_of_a_package_in_use_and_beside_settings_in_use() -> None:
    paths, _ = kept({"/etc/nginx/conf.d/lazy.conf": "x"}, ["/usr/sbin/nginx"])
    assert {"/etc/nginx/mime.types", "/etc/other/x.conf"} <= paths
    assert "/etc/init.d/nginx" not in paths
    paths, findings = kept({"/etc/nginx/conf.d/lazy.conf": "x"}, ["/etc/nginx/nginx.conf"])
    assert "/etc/nginx/conf.d/lazy.conf" in paths
    assert any(f.path == "/etc/nginx" and "kept" in f.message for f in findings)


def test_hooks_for_other_programs_are_no_settings() -> None:
    hooks = ("/etc/resolvconf/update-libc.d/nginx", "/etc/ppp/ip-up.d/nginx")
    listed = str(BASE["/var/lib/dpkg/info/nginx.list"]) + "\n".join(hooks)
    files: dict[str, Content] = {path: Exec(b"#!/bin/sh\ninvoke-rc.d nginx\n") for path in hooks}
    paths, _ = kept({**files, "/var/lib/dpkg/info/nginx.list": listed}, ["/usr/sbin/nginx"])
    assert "/etc/nginx/mime.types" in paths
    assert not paths & set(hooks)


def test_what_somebody_made_for_another_user_is_kept_while_it_is_small() -> None:
    extra: dict[str, Content] = {
        "/srv/git/app.git/HEAD": "ref",
        "/srv/git/app.git/refs": None,
        "/home/git/git-shell-commands": None,
        "/srv/plain/file": "x",
    }
    made = tree({**BASE, **extra})
    theirs = ("/srv/git/app.git", "/home/git")
    entries = {p: replace(e, uid=1000 if p in theirs else 0) for p, e in made.entries.items()}

    def asked(files: Tree) -> set[str]:
        needs = OwnTree().needs(scene(files), files.entries["/usr/sbin/nginx"])
        return {n.path for n in needs if isinstance(n, Need)}

    kept_ = asked(Tree(entries, made.opener))
    assert kept_ >= {"/srv/git/app.git/HEAD", "/srv/git/app.git/refs",
                     "/home/git/git-shell-commands"}  # fmt: skip
    assert "/srv/plain/file" not in kept_
    heavy = replace(entries["/srv/git/app.git/HEAD"], size=5_000_000)
    assert "/srv/git/app.git/HEAD" not in asked(Tree({**entries, heavy.path: heavy}, made.opener))
