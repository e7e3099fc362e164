"""What Python code may import that no probe made it import."""

from __future__ import annotations

import io
import marshal
import zipfile
from collections.abc import Iterable, Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel, Kind
from minify.resolvers import Scene
from minify.resolvers.python import make
from minify.resolvers.python_imports import Import, names_in_bytecode, parse, scan, words
from minify.resolvers.telling import LeftOut
from minify.tree import Tree
from tests.kit import Content, Exec, Link, tree

LIB = "/usr/lib/python3.11"
DIST = "/usr/lib/python3/dist-packages"
BASE: dict[str, Content] = {
    "/usr/bin/python3.11": Exec(b"\x7fELF"),
    f"{LIB}/os.py": "import stat\n",
    f"{LIB}/stat.py": "",
    f"{LIB}/site.py": "",
    f"{LIB}/encodings/__init__.py": "import codecs\n",
    f"{LIB}/encodings/cp1250.py": "",
    f"{LIB}/encodings/shift_jis.py": "import _codecs_jp, codecs\n",
    f"{LIB}/codecs.py": "",
    f"{LIB}/zoneinfo/__init__.py": "from . import _tzpath, _common\n",
    f"{LIB}/zoneinfo/_tzpath.py": "def f():\n    import sysconfig\n",
    f"{LIB}/zoneinfo/_common.py": "",
    f"{LIB}/sysconfig.py": "",
    f"{LIB}/_sysconfigdata__x86_64-linux-gnu.py": "",
    f"{LIB}/ftplib.py": "import socket\nif __name__ == '__main__':\n    import unittest\n",
    f"{LIB}/socket.py": "import _socket\n",
    f"{LIB}/unittest/__init__.py": "",
    f"{LIB}/pdb.py": "",
    f"{LIB}/tkinter/__init__.py": "",
    f"{LIB}/wave.py": "",
    f"{LIB}/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so": b"\x7fELF\0array\0",
    f"{LIB}/lib-dynload/_codecs_jp.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    f"{LIB}/lib-dynload/array.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
}


def reach(
    files: Mapping[str, Content],
    touched: Iterable[str],
    *,
    argv: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    workdir: str = "/app",
) -> tuple[set[str], list[Finding]]:
    """Everything kept when the resolver is asked until nothing is new."""
    made = tree({**BASE, **files})
    real = frozenset(p for p in touched if made.get(p) is not None)
    assert real == frozenset(touched)
    config = ImageConfig(workdir=workdir)
    argvs = frozenset({argv} if argv else ())
    scene = Scene(made, config, dict(env or {}), argvs, real, frozenset(), KeepLevel.REACH)
    return _drain(made, scene, list(touched))


def _drain(made: Tree, scene: Scene, queue: list[str]) -> tuple[set[str], list[Finding]]:
    kept, findings, resolver = set(queue), list[Finding](), make()
    while queue:
        for item in resolver.needs(scene, made.entries[queue.pop()]):
            if isinstance(item, Finding):
                findings.append(item)
                continue
            assert item.reason.because
            resolved = made.resolve(item.path)
            for path in (*resolved.crossed, resolved.real or ""):
                if path and path not in kept:
                    kept.add(path)
                    queue.append(path)
    return {p for p in kept if made.entries[p].kind is not Kind.DIR}, findings


def test_a_lazy_import_of_the_application_is_kept_with_all_it_imports() -> None:
    app = "def view():\n    import ftplib\n    return ftplib\n"
    kept, findings = reach({"/app/app.py": app}, ["/app/app.py", f"{LIB}/os.py"])
    assert {f"{LIB}/ftplib.py", f"{LIB}/socket.py"} <= kept
    assert f"{LIB}/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so" in kept
    assert f"{LIB}/wave.py" not in kept
    assert findings == []


def test_any_codec_and_zone_is_there_once_the_interpreter_is() -> None:
    kept, _ = reach({}, ["/usr/bin/python3.11"])
    assert {f"{LIB}/encodings/cp1250.py", f"{LIB}/encodings/shift_jis.py"} <= kept
    assert {f"{LIB}/zoneinfo/_tzpath.py", f"{LIB}/sysconfig.py"} <= kept
    assert f"{LIB}/_sysconfigdata__x86_64-linux-gnu.py" in kept
    assert f"{LIB}/lib-dynload/_codecs_jp.cpython-311-x86_64-linux-gnu.so" in kept


def test_an_extension_module_needs_what_its_strings_name() -> None:
    kept, _ = reach({}, [f"{LIB}/lib-dynload/_socket.cpython-311-x86_64-linux-gnu.so"])
    assert f"{LIB}/lib-dynload/array.cpython-311-x86_64-linux-gnu.so" in kept


def test_developer_tools_are_not_followed_from_the_standard_library() -> None:
    kept, _ = reach({}, [f"{LIB}/ftplib.py"])
    assert f"{LIB}/unittest/__init__.py" not in kept
    kept, _ = reach({"/app/a.py": "import tkinter, unittest"}, ["/app/a.py", f"{LIB}/os.py"])
    assert {f"{LIB}/unittest/__init__.py", f"{LIB}/tkinter/__init__.py"} <= kept


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("import wave", "wave"),
        ("try:\n import wave\nexcept ImportError: pass", "wave"),
        ("if x: import pdb, wave as w", "wave"),
        ("from wave import (open,\n Error)", "wave"),
        ("import importlib\nimportlib.import_module('wave')", "wave"),
        ("__import__('wave')", "wave"),
        ("class A:\n  def f(self):\n    from wave import *", "wave"),
    ],
)
def test_every_form_of_import_is_found_by_parsing_and_by_scanning(text: str, wanted: str) -> None:
    assert wanted in {i.module for i in parse(text.encode()).imports if not i.text}
    assert wanted in {i.module for i in scan(text.encode()).imports}


def test_scanning_knows_relative_imports_names_and_the_outer_level() -> None:
    text = (
        b"from ..a import (b as c,  # d\n  e)\ndef f():\n    from . import g\nimport h\\\n  .i, j\n"
    )
    assert scan(text).imports == {
        Import("a", 2, ("b", "e"), True),
        Import("", 1, ("g",)),
        Import("h", outer=True),
        Import("j", outer=True),
    }


def test_names_in_binaries() -> None:
    code = compile("import wave\nfrom a.b import c", "x", "exec")
    assert {"wave", "a.b", "c"} <= {
        i.module for i in names_in_bytecode(marshal.dumps(code)).imports
    }
    assert {i.module for i in words(b"x\0copyreg\0a b\0os.path\0").imports} == {
        "copyreg",
        "os.path",
    }


def test_the_own_tree_is_kept_whole_but_not_what_is_foreign_in_it() -> None:
    files: dict[str, Content] = {
        "/app/app.py": "importlib.import_module(f'plugins.{kind}')",
        "/app/plugins/__init__.py": "",
        "/app/plugins/as_xml.py": "import wave",
        "/app/node_modules/x/gyp.py": "",
        "/app/venv/pyvenv.cfg": "home = /usr/bin",
        "/app/venv/lib/python3.11/site-packages/six.py": "",
    }
    kept, _ = reach(files, ["/app/app.py", f"{LIB}/os.py"])
    assert {"/app/plugins/as_xml.py", "/app/plugins/__init__.py", f"{LIB}/wave.py"} <= kept
    assert not any("node_modules" in p or "venv" in p for p in kept)


PACKAGE: dict[str, Content] = {
    f"{DIST}/shop/__init__.py": "",
    f"{DIST}/shop/cart.py": "def f():\n    import ledger\n    from .lazy import x\n",
    f"{DIST}/shop/lazy.py": "",
    f"{DIST}/shop/never_named.py": "",
    f"{DIST}/shop/data/prices.csv": "a",
    f"{DIST}/shop/locale": Link("/usr/share/shop-locale"),
    "/usr/share/shop-locale/cs.mo": "x",
    f"{DIST}/shop/tests/__init__.py": "",
    f"{DIST}/shop/types.pyi": "",
    f"{DIST}/shop/__pycache__/cart.cpython-311.pyc": "",
    f"{DIST}/shop/__pycache__/cart.cpython-39.pyc": "",
    f"{DIST}/Shop-1.0.egg-info/PKG-INFO": "Name: Shop",
    f"{DIST}/Shop-1.0.egg-info/top_level.txt": "shop\n_shop_speed\n",
    f"{DIST}/Shop-1.0.egg-info/entry_points.txt": "[console_scripts]\nshop = shop.cli:main\n",
    f"{DIST}/_shop_speed.cpython-311-x86_64-linux-gnu.so": b"\x7fELF",
    f"{DIST}/_shop_speed.cpython-39-x86_64-linux-gnu.so": b"\x7fELF",
    f"{DIST}/shop.libs/libfast.so.1": b"\x7fELF",
    f"{DIST}/ledger.py": "import distutils, tkinter\n",
    f"{DIST}/shop_gift.py": "",
    f"{DIST}/shop_gift-2.dist-info/METADATA": "",
    f"{DIST}/shop_gift-2.dist-info/RECORD": "shop_gift.py,,\nshop_gift-2.dist-info/METADATA,,\n",
    f"{DIST}/shop_gift-2.dist-info/entry_points.txt": "[shop.extensions]\ngift = shop_gift:make\n",
    f"{DIST}/unrelated/__init__.py": "",
}


def test_a_used_package_is_kept_whole_with_metadata_libraries_and_plugins() -> None:
    kept, _ = reach(PACKAGE, [f"{DIST}/shop/cart.py", f"{LIB}/os.py"])
    names = {p.removeprefix(f"{DIST}/") for p in kept if p.startswith(DIST)}
    assert {"shop/never_named.py", "shop/lazy.py", "shop/data/prices.csv", "ledger.py"} <= names
    assert {"Shop-1.0.egg-info/PKG-INFO", "shop.libs/libfast.so.1", "shop_gift.py"} <= names
    assert "shop_gift-2.dist-info/METADATA" in names
    assert "_shop_speed.cpython-311-x86_64-linux-gnu.so" in names
    assert "_shop_speed.cpython-39-x86_64-linux-gnu.so" not in names
    assert "/usr/share/shop-locale/cs.mo" in kept
    assert not {n for n in names if "tests" in n or n.endswith(".pyi") or "cpython-39" in n}
    assert "shop/__pycache__/cart.cpython-311.pyc" in names
    assert "unrelated/__init__.py" not in names
    assert f"{LIB}/tkinter/__init__.py" not in kept


def test_strings_and_command_lines_that_name_modules() -> None:
    files = {**PACKAGE, "/app/settings.py": "APPS = ['unrelated', 'wave', 'pdb']\n",
             "/app/web/main.py": "app = 1\n"}  # fmt: skip
    argv = ("uvicorn", "--factory", "web.main:app")
    kept, _ = reach(files, ["/app/settings.py", f"{LIB}/os.py"], argv=argv)
    assert {f"{DIST}/unrelated/__init__.py", "/app/web/main.py"} <= kept
    assert f"{LIB}/wave.py" not in kept and f"{LIB}/pdb.py" not in kept
    kept, _ = reach(files, [f"{LIB}/os.py"], env={"APP_SETTINGS_MODULE": "settings"})
    assert "/app/settings.py" in kept
    kept, _ = reach(files, [f"{LIB}/os.py"], argv=("python3", "-m", "wave"))
    assert f"{LIB}/wave.py" in kept
    kept, _ = reach(files, [f"{LIB}/os.py"], argv=("python3", "-c", "import shop.cart"))
    assert f"{DIST}/shop/cart.py" in kept


VENV = "/opt/venv/lib/python3.11/site-packages"


def test_a_virtual_environment_does_not_see_the_system_s_packages() -> None:
    files = {
        **PACKAGE,
        "/opt/venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n",
        "/opt/venv/bin/serve": Exec(b"#!/opt/venv/bin/python3\nimport web, ledger\n"),
        f"{VENV}/web/__init__.py": "",
        f"{VENV}/web/lazy.py": "",
    }
    touched = ["/opt/venv/bin/serve", f"{VENV}/web/__init__.py", f"{LIB}/os.py"]
    kept, _ = reach(files, touched)
    assert f"{VENV}/web/lazy.py" in kept
    assert f"{DIST}/ledger.py" not in kept
    files["/opt/venv/pyvenv.cfg"] = "include-system-site-packages = TRUE\n"
    kept, _ = reach(files, touched)
    assert f"{DIST}/ledger.py" in kept


@pytest.mark.parametrize(
    ("lib", "site"),
    [
        ("/usr/local/lib/python3.13", "/usr/local/lib/python3.13/site-packages"),
        ("/opt/conda/lib/python3.12", "/opt/conda/lib/python3.12/site-packages"),
        ("/usr/lib/python3.12", "/home/u/.local/lib/python3.12/site-packages"),
        ("/opt/pypy/lib/pypy3.10", "/opt/pypy/lib/pypy3.10/site-packages"),
        ("/usr/lib64/python3.9", "/usr/lib64/python3.9/site-packages"),
    ],
)
def test_other_layouts(lib: str, site: str) -> None:
    files: dict[str, Content] = {
        f"{lib}/os.py": "",
        f"{lib}/encodings/__init__.py": "",
        f"{lib}/wave.py": "",
        f"{site}/shop/__init__.py": "def f(): import wave",
        f"{site}/shop/lazy.py": "",
        "/srv/app/run.py": "def f(): import shop",
    }
    kept, _ = reach(files, ["/srv/app/run.py", f"{lib}/os.py"])
    assert {f"{lib}/wave.py", f"{site}/shop/lazy.py"} <= kept
    assert f"{LIB}/wave.py" not in kept


def test_namespace_packages_and_pth_files() -> None:
    files: dict[str, Content] = {
        f"{DIST}/google/cloud/storage/__init__.py": "",
        f"{DIST}/google/cloud/storage/blob.py": "",
        f"{DIST}/google/cloud/big/__init__.py": "",
        f"{DIST}/google/_upb/_message.abi3.so": b"\x7fELF",
        f"{DIST}/dev.pth": "/src/tools\nimport wave\n",
        "/src/tools/helper.py": "",
        "/src/tools/other.py": "",
        "/app/app.py": "from google.cloud import storage\nimport google._upb._message, helper\n",
    }
    kept, _ = reach(files, ["/app/app.py", f"{LIB}/os.py"])
    assert f"{DIST}/google/cloud/storage/blob.py" in kept
    assert f"{DIST}/google/_upb/_message.abi3.so" in kept
    assert f"{DIST}/google/cloud/big/__init__.py" not in kept
    assert {"/src/tools/helper.py", "/src/tools/other.py"} <= kept


def test_an_archive_of_modules_is_read() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("__main__.py", "def f(): import wave")
    kept, findings = reach({"/app/x.pyz": packed.getvalue()}, ["/app/x.pyz", f"{LIB}/os.py"])
    assert f"{LIB}/wave.py" in kept
    assert findings == []


def test_bytecode_without_source() -> None:
    code = b"\0" * 16 + marshal.dumps(compile("def f():\n import wave", "x", "exec"))
    kept, _ = reach({"/app/x.pyc": code, "/app/y.pyc": b"\xff"}, ["/app/x.pyc", f"{LIB}/os.py"])
    assert {f"{LIB}/wave.py", "/app/y.pyc"} <= kept


@pytest.mark.parametrize(
    "content",
    [
        b"print 'old'\nimport wave\n",
        b"\0\0import wave\n",
        b"\x7fELF\x80\xff\nimport wave\n",
        b"import wave\nx = " + b"(" * 5000 + b")" * 5000,
        b"# coding: nonsense\nimport wave\n",
        b"import wave\nx = " + b"-" * 20000 + b"1",
    ],
)
def test_source_that_cannot_be_parsed_is_a_finding_and_still_scanned(content: bytes) -> None:
    kept, findings = reach({"/app/bad.py": content}, ["/app/bad.py", f"{LIB}/os.py"])
    assert [f.path for f in findings] == ["/app/bad.py"]
    assert f"{LIB}/wave.py" in kept


def test_huge_source_bad_archives_and_cycles_cost_no_build() -> None:
    files: dict[str, Content] = {
        "/app/huge.py": b"import wave\n" * 400_000,
        "/app/bad.zip": b"PK\3\4 nonsense",
        "/app/a.py": "import b",
        "/app/b.py": "import a",
        "/app/loop": Link("/app"),
        f"{DIST}/self/__init__.py": "from . import self",
        f"{DIST}/self/self": Link(f"{DIST}/self"),
    }
    touched = ["/app/huge.py", "/app/bad.zip", "/app/a.py", f"{DIST}/self/__init__.py"]
    kept, findings = reach(files, [*touched, f"{LIB}/os.py"])
    assert {f.path for f in findings} == {"/app/huge.py", "/app/bad.zip"}
    assert "/app/b.py" in kept


def test_an_image_without_python_is_left_alone() -> None:
    made = tree({"/app/x.py": "import os"})
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(), KeepLevel.REACH)
    assert not list(make().needs(scene, made.entries["/app/x.py"]))


def test_a_shared_folder_is_no_source_tree() -> None:
    files = {"/usr/bin/tool": Exec(b"#!/usr/bin/python3\nimport wave\n"), "/usr/bin/other.py": ""}
    kept, _ = reach(files, ["/usr/bin/tool", f"{LIB}/os.py"])
    assert f"{LIB}/wave.py" in kept
    assert "/usr/bin/other.py" not in kept


def test_settings_name_modules_too() -> None:
    files = {
        **PACKAGE,
        "/app/app.py": "",
        "/app/log.yaml": "handlers: {a: {class: unrelated.Handler}}\n",
        "/app/page.json": '{"x": "wave"}',
    }
    touched = ["/app/app.py", "/app/log.yaml", "/app/page.json", f"{LIB}/os.py"]
    kept, _ = reach(files, touched)
    assert f"{DIST}/unrelated/__init__.py" in kept
    assert f"{LIB}/wave.py" not in kept


def test_python_files_are_data_until_python_runs() -> None:
    files = {
        "/app/node_modules/gyp/gyp.py": "import wave",
        "/app/tool": Exec(b"#!/usr/bin/python3"),
    }
    kept, _ = reach(files, ["/app/node_modules/gyp/gyp.py", "/app/tool"])
    assert kept == {"/app/node_modules/gyp/gyp.py", "/app/tool"}
    # The order in which files are met makes no difference.
    for touched in (["/app/node_modules/gyp/gyp.py", "/usr/bin/python3.11"],
                    ["/usr/bin/python3.11", "/app/node_modules/gyp/gyp.py"]):  # fmt: skip
        kept, _ = reach(files, touched)
        assert f"{LIB}/wave.py" in kept


def test_an_egg_is_read() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("egg/__init__.py", "def f(): import wave")
    egg = f"{DIST}/egg-1.0-py3.11.egg"
    kept, _ = reach({egg: packed.getvalue()}, [egg, f"{LIB}/os.py"])
    assert f"{LIB}/wave.py" in kept


def test_a_module_named_as_the_package_it_imports() -> None:
    """Django's own advice for Celery: project/celery.py begins with `from celery import Celery`."""
    files: dict[str, Content] = {
        "/app/manage.py": "",
        "/app/project/__init__.py": "",
        "/app/project/celery.py": "from celery import Celery",
        f"{DIST}/celery/__init__.py": "",
    }
    kept, _ = reach(files, ["/app/manage.py", f"{LIB}/os.py"])
    assert {"/app/project/celery.py", f"{DIST}/celery/__init__.py"} <= kept


def test_commands_of_a_reached_distribution_are_kept() -> None:
    """The same image runs the worker or the migration: its commands are small."""
    site = "/venv/lib/python3.11/site-packages"
    info = f"{site}/jobs-1.dist-info"
    files: dict[str, Content] = {
        "/venv/pyvenv.cfg": "home = /usr/bin",
        "/venv/bin/python": Link("/usr/bin/python3.11"),
        "/venv/bin/jobs": Exec("#!/venv/bin/python\n"),
        "/venv/bin/jobs-admin": Exec("#!/bin/sh\n"),
        "/venv/bin/other": Exec("#!/venv/bin/python\n"),
        "/app/app.py": "def f():\n    import jobs",
        f"{site}/jobs/__init__.py": "",
        f"{info}/RECORD": "jobs/__init__.py,,\n../../../bin/jobs-admin,,\n",
        f"{info}/entry_points.txt": "[console_scripts]\njobs = jobs:main\n[plugins]\nother = a:b\n",
    }
    files[f"{site}/web.py"] = ""
    kept, _ = reach(files, ["/app/app.py", f"{site}/web.py", f"{LIB}/os.py"])
    assert {p for p in kept if p.startswith("/venv/bin/")} == {
        "/venv/bin/jobs", "/venv/bin/jobs-admin"
    }  # fmt: skip


def test_a_command_asks_for_its_distribution_by_name() -> None:
    site = "/usr/lib/python3/dist-packages"
    info = f"{site}/night_watch-4.2.egg-info"
    script = """#!/usr/bin/python3
__requires__ = 'night-watch==4.2'
from importlib.metadata import distribution
"""
    files: dict[str, Content] = {
        "/usr/bin/watchd": Exec(script.encode()),
        f"{info}/PKG-INFO": "",
        f"{info}/top_level.txt": "night\n",
        f"{info}/entry_points.txt": "[console_scripts]\nwatchd = night.daemon:main\n",
        f"{site}/night/__init__.py": "",
        f"{site}/night/daemon.py": "import wave\n",
        f"{site}/other-1.egg-info/PKG-INFO": "",
    }
    kept, _ = reach(files, ["/usr/bin/watchd", f"{LIB}/os.py"])
    assert {f"{info}/PKG-INFO", f"{info}/entry_points.txt", f"{site}/night/daemon.py"} <= kept
    assert f"{LIB}/wave.py" in kept
    assert f"{site}/other-1.egg-info/PKG-INFO" not in kept


def test_packages_installed_into_a_folder_of_any_name_are_no_source_of_the_application() -> None:
    files: dict[str, Content] = {
        "/task/handler.py": "import shop.views\n",
        "/task/shop/__init__.py": "",
        "/task/shop/views.py": "def f():\n    import orm\n",
        "/task/orm-2.dist-info/METADATA": "",
        "/task/orm-2.dist-info/RECORD": "orm/__init__.py,,\n../bin/orm,,\n_orm.py,,",
        "/task/orm/__init__.pyc": b"\xda\x04wave",
        "/task/orm/tables.bin": b"\0" * 9,
        "/task/orm/tests/x.py": "import tkinter",
        "/task/_orm.pyc": b"",
        "/task/bin/orm": Exec(b"#!/usr/bin/python3.11\nimport orm\n"),
        "/task/spare-1.dist-info/RECORD": "spare/__init__.py,,\n",
        "/task/spare/__init__.py": "import tkinter\n",
        "/elsewhere/other-1.dist-info/RECORD": "other/__init__.py,,\n",
        "/elsewhere/other/__init__.py": "",
    }
    kept, findings = reach(files, ["/usr/bin/python3.11", "/task/handler.py"], workdir="/task")
    inside = {p.removeprefix("/task/") for p in kept if p.startswith("/task/")}
    assert {"shop/views.py", "orm/__init__.pyc", "orm/tables.bin", "_orm.pyc", "bin/orm"} <= inside
    assert {"orm-2.dist-info/METADATA", "orm-2.dist-info/RECORD"} <= inside
    assert not {p for p in inside if p.startswith(("spare", "orm/tests"))}
    assert f"{LIB}/wave.py" in kept
    assert f"{LIB}/tkinter/__init__.py" not in kept
    assert not {p for p in kept if p.startswith("/elsewhere")}
    assert findings == []


def test_stubs_by_which_a_package_loads_its_parts_are_kept() -> None:
    site = f"{DIST}/shop"
    files: dict[str, Content] = {
        f"{site}/__init__.py": "import lazy_loader as lazy\nlazy.attach_stub(__name__, __file__)",
        f"{site}/__init__.pyi": "from .core import answer",
        f"{site}/core.py": "",
        f"{site}/core.pyi": "",
    }
    kept, _ = reach(files, ["/usr/bin/python3.11", f"{site}/__init__.py"])
    assert {f"{site}/__init__.pyi", f"{site}/core.py"} <= kept
    assert f"{site}/core.pyi" not in kept


def test_small_distributions_that_somebody_installed_by_name() -> None:
    def made(name: str, body: Content, *, requested: bool) -> dict[str, Content]:
        info = f"{DIST}/{name}-1.dist-info"
        files = {f"{DIST}/{name}/__init__.py": body, f"{info}/METADATA": ""}
        record = f"{name}/__init__.py,,\n{name}-1.dist-info/METADATA,,\n"
        return {
            **files,
            f"{info}/RECORD": record,
            **({f"{info}/REQUESTED": ""} if requested else {}),
        }

    files = {
        **made("hasher", "def f():\n    import wave\n", requested=True),
        **made("came_along", "", requested=False),
        **made("pytest", "", requested=True),
        **made("huge", "#" * (5 << 20), requested=True),
        "/app/main.py": "",
    }
    kept, findings = reach(files, ["/usr/bin/python3.11", f"{LIB}/os.py", "/app/main.py"])
    assert {f"{DIST}/hasher/__init__.py", f"{DIST}/hasher-1.dist-info/METADATA"} <= kept
    assert f"{LIB}/wave.py" in kept
    assert not {p for p in kept if "came_along" in p or "pytest" in p or "huge" in p}
    left = [f for f in findings if isinstance(f, LeftOut)]
    assert ["huge (5242880 bytes)" in f.message for f in left] == [True]
    assert left[0].when(kept) is not None
    assert left[0].when({*kept, f"{DIST}/huge"}) is None  # what imports it kept it
