"""PHP: what one run did not load still works in the minified image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.reach_kit import compare, have_docker, minified

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not have_docker(), reason="no Docker engine with the base image"),
]

APP = r"""<?php
switch ($argv[1]) {
case 'first': echo 'ok'; break;
case 'zone': date_default_timezone_set('Asia/Tokyo'); echo date('c T', 0); break;
case 'lazy': require __DIR__ . '/inc/lazy.php'; echo lazy(); break;
case 'de': case 'fr': echo (require "lang/$argv[1].php")['hi']; break;
case 'upper': echo mb_strtoupper('äöü'); break;
case 'sjis': echo bin2hex(mb_convert_encoding('あ', 'SJIS', 'UTF-8')); break;
case 'sqlite': echo (new PDO('sqlite::memory:'))->query('select 1+1')->fetchColumn(); break;
case 'iconv': echo bin2hex(iconv('UTF-8', 'ISO-8859-15', '€')); break;
case 'finfo': echo (new finfo(FILEINFO_MIME))->buffer('<?php'); break;
case 'hash': echo hash('sha3-256', 'x'); break;
case 'style': readfile(__DIR__ . '/style.css'); break;
case 'xml': echo is_callable('json_encode') ? json_encode(['a' => 1.5]) : 'no'; break;
}
"""


def test_what_was_not_seen_works(tmp_path: Path) -> None:
    for folder in ("inc", "lang"):
        (tmp_path / folder).mkdir()
    (tmp_path / "app.php").write_text(APP)
    (tmp_path / "inc" / "lazy.php").write_text("<?php function lazy() { return date('Y', 0); }")
    (tmp_path / "lang" / "de.php").write_text("<?php return ['hi' => 'hallo'];")
    (tmp_path / "lang" / "fr.php").write_text("<?php return ['hi' => 'salut'];")
    (tmp_path / "style.css").write_text("b {}")
    packages = ("php-cli", "php-mbstring", "php-sqlite3")
    with minified(tmp_path, packages, "", '["php", "app.php"]') as name:
        words = ["zone", "lazy", "de", "fr", "upper", "sjis", "sqlite", "iconv", "finfo", "hash",
                 "style", "xml"]  # fmt: skip
        compare(name, words)
