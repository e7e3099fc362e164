"""What PHP's settings load and what its source may include."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.php import is_interpreter, make
from minify.resolvers.php_source import read_includes, read_ini
from tests.kit import Content, Exec, Link, tree

BINARY = b"\x7fELF...\0/usr/lib/php/20220829\0/usr/share/zoneinfo\0"


def ask(
    files: Mapping[str, Content], path: str, touched: tuple[str, ...] = ()
) -> tuple[set[str], list[Finding]]:
    made = tree(files)
    scene = Scene(
        made, ImageConfig(workdir="/var/www/html"), {}, frozenset(),
        frozenset({path, *touched}), frozenset(), KeepLevel.REACH,
    )  # fmt: skip
    found = list(make().needs(scene, made.entries[path]))
    paths = {item.path for item in found if isinstance(item, Need)}
    return paths, [item for item in found if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("require 'a.php';", {"a.php"}),
        ('include_once("b/c.php");', {"b/c.php"}),
        ("require __DIR__ . '/x.php';", {"/app/sub/x.php"}),
        ("require dirname(__FILE__) . '/x.php';", {"/app/sub/x.php"}),
        ("require dirname(__DIR__, 2).'/x.php';", {"//x.php"}),
        ("define('ROOT', __DIR__ . '/'); function f() { include ROOT . 'y.php'; }",
         {"/app/sub/y.php"}),
        ("const A = '/srv'; include A . '/z.php';", {"/srv/z.php"}),
        ("$b = '/srv'; if ($x) { include \"{$b}/d.php\"; }", {"/srv/d.php"}),
        ("include \"lang/$code.php\";", {"lang/*.php"}),
        ("include __DIR__ . '/lang/' . $code . '.php';", {"/app/sub/lang/*.php"}),
        ("$r = $x ? require 'p.php' : (include 'q.php');", {"p.php", "q.php"}),
        ("include $x ? 'a.php' : 'b.php';", {"a.php", "b.php"}),
        ("// require 'no.php';\n/* include 'no.php'; */ # require 'no.php'", set()),
        ("echo \"require 'no.php'\";", set()),
        ("REQUIRE_ONCE 'upper.php';", {"upper.php"}),
        ("include '.' . DIRECTORY_SEPARATOR . 'a.php';", {"./a.php"}),
    ],
)  # fmt: skip
def test_includes(code: str, wanted: set[str]) -> None:
    found = read_includes(f"<html><?php {code} ?>".encode(), "/app/sub/i.php")
    assert found.paths == wanted
    assert not found.unknown


def test_unknown_includes_are_counted() -> None:
    found = read_includes(b"<?php include $x; require f();", "/a.php")
    assert (found.paths, found.unknown, found.broken) == (frozenset(), 2, False)


@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe" * 90, b"<?php if (", b"<?php " + b"(" * 4000,
                                  b"<?php include 'a' . " * 200])  # fmt: skip
def test_bad_source_costs_precision_only(data: bytes) -> None:
    assert read_includes(data, "/a.php").paths <= {"a"}


def test_ini() -> None:
    text = (
        b'; c\n[PHP]\nextension=a.so\nzend_extension = "b" ; why\nempty =\nx\nphp_value[d] = /e\n'
    )
    assert read_ini(text) == (("extension", "a.so"), ("zend_extension", "b"), ("d", "/e"))


@pytest.mark.parametrize(
    ("name", "yes"),
    [("php", True), ("php8.2", True), ("php-fpm8.2", True), ("php-fpm", True), ("php82", True),
     ("php-fpm82", True), ("libphp.so", True), ("libphp8.2.so", True), ("php-cgi", True),
     ("phpunit", False), ("index.php", False), ("php-config", False)],
)  # fmt: skip
def test_interpreter_names(name: str, yes: bool) -> None:
    assert is_interpreter(name) is yes


def test_configuration_and_its_extensions() -> None:
    files: dict[str, Content] = {
        "/usr/sbin/php-fpm8.2": Exec(BINARY),
        "/etc/php/8.2/fpm/php.ini": "browscap = /etc/browscap.ini\n;extension=off\n",
        "/etc/php/8.2/fpm/conf.d/20-a.ini": Link("/etc/php/8.2/mods-available/a.ini"),
        "/etc/php/8.2/mods-available/a.ini": "extension=a.so\n",
        "/etc/php/8.2/mods-available/z.ini": "extension=z.so\n",
        "/etc/php/8.2/cli/php.ini": "zend_extension=opcache\ninclude_path = \".:/usr/share/php\"\n",
        "/etc/php/8.2/fpm/pool.d/www.conf": "[www]\nuser = www-data\n",
        "/usr/lib/php/20220829/a.so": "", "/usr/lib/php/20220829/opcache.so": "",
        "/usr/lib/php/20220829/z.so": "", "/usr/lib/php/20220829/off.so": "",
        "/etc/browscap.ini": "", "/usr/share/zoneinfo/Asia/Tokyo": "",
        "/usr/share/zoneinfo/right/Asia/Tokyo": "", "/usr/share/php/x.php": "",
    }  # fmt: skip
    paths, findings = ask(files, "/usr/sbin/php-fpm8.2")
    assert {
        "/etc/php/8.2/fpm/conf.d/20-a.ini", "/etc/php/8.2/fpm/pool.d/www.conf",
        "/usr/lib/php/20220829/a.so", "/usr/lib/php/20220829/opcache.so", "/etc/browscap.ini",
        "/usr/share/zoneinfo/Asia/Tokyo", "/etc/php/8.2/cli/php.ini", "/usr/share/php",
    } <= paths  # fmt: skip
    assert not paths & {
        "/usr/lib/php/20220829/z.so", "/usr/lib/php/20220829/off.so",
        "/usr/share/zoneinfo/right/Asia/Tokyo", "/etc/php/8.2/mods-available/z.ini",
    }  # fmt: skip
    assert not findings


def test_official_image_layout() -> None:
    files: dict[str, Content] = {
        "/usr/local/bin/php": Exec(b"\x7fELF\0/usr/local/lib/php/extensions/no-debug-non-zts-1\0"),
        "/usr/local/etc/php/conf.d/docker-php-ext-gd.ini": "extension=gd\n",
        "/usr/local/etc/php-fpm.conf": "include=/usr/local/etc/php-fpm.d/*.conf\n",
        "/usr/local/etc/php-fpm.d/www.conf": "[www]\n",
        "/usr/local/lib/php/extensions/no-debug-non-zts-1/gd.so": "",
    }
    paths, _ = ask(files, "/usr/local/bin/php")
    assert set(files) - {"/usr/local/bin/php"} <= paths


def test_application_is_kept_whole_without_clutter() -> None:
    files: dict[str, Content] = {
        "/var/www/html/index.php": "<?php", "/var/www/html/lazy/page.php": "<?php",
        "/var/www/html/style.css": "", "/var/www/html/.git/config": "",
        "/var/www/html/vendor/a/b/src/C.php": "", "/var/www/html/vendor/a/b/tests/T.php": "",
        "/var/www/html/tests/own.php": "", "/var/www/other/x.php": "",
    }  # fmt: skip
    paths, _ = ask(files, "/var/www/html/index.php")
    assert {
        "/var/www/html/lazy/page.php", "/var/www/html/style.css", "/var/www/html/tests/own.php",
        "/var/www/html/vendor/a/b/src/C.php",
    } <= paths  # fmt: skip
    assert not {p for p in paths if ".git" in p or p.startswith("/var/www/other")}
    assert "/var/www/html/vendor/a/b/tests/T.php" not in paths


def test_includes_outside_the_application() -> None:
    files: dict[str, Content] = {
        "/var/www/html/index.php": "<?php require 'Lib/autoload.php'; include '/opt/x/lang/'.$l;",
        "/usr/share/php/Lib/autoload.php": "<?php require 'Other/One.php';",
        "/usr/share/php/Lib/Lazy.php": "<?php",
        "/usr/share/php/Other/One.php": "<?php",
        "/opt/x/lang/de.php": "<?php",
    }
    paths, _ = ask(files, "/var/www/html/index.php")
    assert {"/usr/share/php/Lib/Lazy.php", "/opt/x/lang/de.php"} <= paths
    assert "/usr/share/php/Other/One.php" in ask(files, "/usr/share/php/Lib/autoload.php")[0]


def test_a_script_without_suffix() -> None:
    files: dict[str, Content] = {
        "/opt/app/artisan": Exec(b"#!/usr/bin/env php\n<?php require __DIR__.'/b.php';"),
        "/opt/app/b.php": "<?php",
        "/opt/app/c.txt": "",
    }
    assert {"/opt/app/b.php", "/opt/app/c.txt"} <= ask(files, "/opt/app/artisan")[0]


def test_syntax_error_is_a_finding() -> None:
    _, findings = ask({"/opt/a/i.php": "<?php require 'x' if ((("}, "/opt/a/i.php")
    assert any("syntax" in f.message for f in findings)
