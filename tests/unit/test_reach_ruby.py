"""What Ruby source may require, and what gems and interpreters bring along."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.ruby import make
from minify.resolvers.ruby_source import dependencies, read_requires
from tests.kit import Content, Exec, Link, tree

LIB = "/usr/lib/ruby/3.1.0"
ARCH = "/usr/lib/x86_64-linux-gnu/ruby/3.1.0"
HOME = "/var/lib/gems/3.1.0"
BASE: dict[str, Content] = {
    "/usr/bin/ruby3.1": Exec(b"\x7fELF"),
    f"{LIB}/rubygems.rb": "require 'bundler'\n",
    f"{LIB}/bundler.rb": "",
    f"{LIB}/json.rb": "require 'json/common'\n",
    f"{LIB}/json/common.rb": "",
    f"{LIB}/json/add/date.rb": "",
    f"{LIB}/net/http.rb": "autoload :OpenSSL, 'openssl'\n",
    f"{LIB}/net/http/proxy.rb": "",
    f"{LIB}/net/ftp.rb": "",
    f"{LIB}/openssl.rb": "",
    f"{LIB}/unicode_normalize/normalize.rb": "",
    f"{LIB}/unicode_normalize/tables.rb": "",
    f"{ARCH}/rbconfig.rb": "",
    f"{ARCH}/enc/trans/japanese.so": "",
    f"{ARCH}/json/ext/parser.so": "",
    "/usr/lib/ruby/vendor_ruby/tilt.rb": "",
    "/usr/lib/ruby/vendor_ruby/tilt/erb.rb": "",
    f"{HOME}/specifications/web-1.2.gemspec": "s.add_runtime_dependency(%q<rack>.freeze, ['>1'])\n",
    f"{HOME}/specifications/rack-2.0.gemspec": "s.add_development_dependency('rake')\n",
    f"{HOME}/gems/web-1.2/lib/web.rb": "require 'web/core'\n",
    f"{HOME}/gems/web-1.2/lib/web/lazy.rb": "def x; require 'net/ftp'; end\n",
    f"{HOME}/gems/web-1.2/views/error.erb": "",
    f"{HOME}/gems/web-1.2/spec/web_spec.rb": "",
    f"{HOME}/gems/web-1.2/README.md": "",
    f"{HOME}/gems/web-1.2/ext/web/web.c": "",
    f"{HOME}/gems/rack-2.0/lib/rack.rb": "",
    f"{HOME}/gems/unused-1.0/lib/unused.rb": "",
    f"{HOME}/extensions/x86_64-linux/3.1.0/web-1.2/web/web.so": "",
    f"{HOME}/extensions/x86_64-linux/3.1.0/web-1.2/mkmf.log": "",
}


def ask(
    extra: Mapping[str, Content], path: str, touched: tuple[str, ...] = ()
) -> tuple[set[str], list[Finding]]:
    made = tree({**BASE, **extra})
    scene = Scene(
        made, ImageConfig(), {}, frozenset(), frozenset({path, *touched}), frozenset(),
        KeepLevel.REACH,
    )  # fmt: skip
    found = list(make().needs(scene, made.entries[path]))
    paths = {item.path for item in found if isinstance(item, Need)}
    return paths, [item for item in found if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("code", "features", "paths"),
    [
        ("require 'json'", {"json"}, set()),
        ('  require("net/http") if x', {"net/http"}, set()),
        ("def f; Kernel.require 'set'; end", {"set"}, set()),
        ("require_relative '../lib/x'", set(), {"/lib/x"}),
        ("autoload :Foo, 'foo/bar'", {"foo/bar"}, set()),
        ('autoload(:Foo, "#{__dir__}/foo")', set(), {"/app/foo"}),
        ("load './tasks.rb'", set(), {"/app/tasks.rb"}),
        ("require File.join(__dir__, 'sub', 'a')", set(), {"/app/sub/a"}),
        ("require File.expand_path('../b', __FILE__)", set(), {"/app/b"}),
        ("require File.expand_path('b', __dir__)", set(), {"/app/b"}),
        ("DIR = '/srv/x'\nrequire \"#{DIR}/y\"", set(), {"/srv/x/y"}),
        ('require_relative "adapters/#{name}"', set(), {"/app/adapters/*"}),
        ("# require 'no'", set(), set()),
        ("x = 1\n__END__\nrequire 'no'", set(), set()),
        ("begin; require 'opt'; rescue LoadError; end", {"opt"}, set()),
        ("require 'a'; require 'b'", {"a", "b"}, set()),
    ],
)
def test_requires(code: str, features: set[str], paths: set[str]) -> None:
    found = read_requires(code.encode(), "/app/main.rb")
    assert (found.features, found.paths, found.unknown) == (features, paths, 0)


def test_load_path_additions_and_gems() -> None:
    code = (
        "$LOAD_PATH.unshift File.expand_path('lib', __dir__)\n$: << '/opt/r'\ngem 'puma', '~>6'\n"
    )
    found = read_requires(code.encode(), "/app/main.rb")
    assert found.folders == {"/app/lib", "/opt/r"}
    assert found.gems == {"puma"}


def test_unknown_requires_are_counted() -> None:
    assert read_requires(b"require name\nload(path)\n", "/a.rb").unknown == 2


@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe" * 99, b"require (((", b"def x; require y",
                                  b"require [" * 3000, b"require 'a\nb"])  # fmt: skip
def test_bad_source_costs_precision_only(data: bytes) -> None:
    read_requires(data, "/a.rb")


def test_dependencies_of_a_gemspec() -> None:
    text = (
        b"s.add_runtime_dependency(%q<rack>.freeze)\nelse s.add_dependency('rake')\n"
        b"s.add_dependency 'tilt', '~> 2'\n"
    )
    assert dependencies(text + b"s.add_development_dependency('rake')") == {"rack", "tilt"}


def test_interpreter_keeps_what_it_loads_by_itself() -> None:
    paths, findings = ask({}, "/usr/bin/ruby3.1")
    assert {f"{ARCH}/enc/trans/japanese.so", f"{LIB}/unicode_normalize/tables.rb"} <= paths
    assert f"{LIB}/net/ftp.rb" not in paths
    assert not findings


def test_library_keeps_its_own_folder_on_every_root() -> None:
    paths, _ = ask({}, f"{LIB}/json.rb")
    assert {f"{LIB}/json/add/date.rb", f"{ARCH}/json/ext/parser.so"} <= paths
    assert f"{LIB}/net/http.rb" not in paths


def test_library_follows_its_requires() -> None:
    paths, _ = ask({}, f"{LIB}/net/http.rb")
    assert {f"{LIB}/net/http/proxy.rb", f"{LIB}/openssl.rb"} <= paths
    assert f"{LIB}/net/ftp.rb" not in paths


def test_developer_tools_are_not_reached_from_the_library() -> None:
    assert f"{LIB}/bundler.rb" not in ask({}, f"{LIB}/rubygems.rb")[0]


def test_vendor_library_is_kept_whole() -> None:
    assert (
        "/usr/lib/ruby/vendor_ruby/tilt/erb.rb" in ask({}, "/usr/lib/ruby/vendor_ruby/tilt.rb")[0]
    )


def test_gem_is_kept_with_what_it_needs() -> None:
    paths, _ = ask({}, f"{HOME}/gems/web-1.2/lib/web.rb")
    assert {
        f"{HOME}/gems/web-1.2/lib/web/lazy.rb", f"{HOME}/gems/web-1.2/views/error.erb",
        f"{HOME}/specifications/web-1.2.gemspec", f"{HOME}/gems/rack-2.0/lib/rack.rb",
        f"{HOME}/specifications/rack-2.0.gemspec",
        f"{HOME}/extensions/x86_64-linux/3.1.0/web-1.2/web/web.so",
    } <= paths  # fmt: skip
    assert not {p for p in paths if "spec/" in p or "README" in p or p.endswith((".c", ".log"))}
    assert f"{HOME}/gems/unused-1.0/lib/unused.rb" not in paths


def test_untouched_file_of_a_gem_still_reaches_the_library() -> None:
    made = f"{HOME}/gems/web-1.2/lib/web/lazy.rb"
    assert f"{LIB}/net/ftp.rb" in ask({}, made)[0]


def test_application_is_kept_whole() -> None:
    extra: dict[str, Content] = {
        "/srv/shop/config.ru": "require 'unused'\nrequire_relative 'lib/a'\n",
        "/srv/shop/app/lazy.rb": "",
        "/srv/shop/public/x.css": "",
        "/srv/shop/.git/config": "",
        "/srv/shop/log/production.log": "",
        "/srv/shop/vendor/bundle/ruby/3.1.0/specifications/g-1.0.gemspec": "",
        "/srv/shop/vendor/bundle/ruby/3.1.0/gems/g-1.0/lib/g.rb": "",
        "/srv/shop/vendor/bundle/ruby/3.1.0/gems/g-1.0/spec/g_spec.rb": "",
    }
    paths, _ = ask(extra, "/srv/shop/config.ru")
    assert {"/srv/shop/app/lazy.rb", "/srv/shop/public/x.css",
            "/srv/shop/vendor/bundle/ruby/3.1.0/gems/g-1.0/lib/g.rb",
            f"{HOME}/gems/unused-1.0/lib/unused.rb"} <= paths  # fmt: skip
    assert not {p for p in paths if ".git" in p or "_spec" in p or "production" in p}


def test_gemfile_names_gems() -> None:
    extra: dict[str, Content] = {"/srv/shop/Gemfile": "gem 'web'\n"}
    assert f"{HOME}/gems/web-1.2/lib/web.rb" in ask(extra, "/srv/shop/Gemfile")[0]


def test_debian_gems_are_links() -> None:
    home = "/usr/share/rubygems-integration/all"
    extra: dict[str, Content] = {
        f"{home}/specifications/t-1.0.gemspec": "",
        f"{home}/gems/t-1.0/lib": Link("/usr/share/t/lib"),
        "/usr/share/t/lib/t.rb": "",
        "/usr/share/t/lib/t/more.rb": "",
        "/srv/app/a.rb": "require 't'\n",
    }
    assert f"{home}/gems/t-1.0/lib/t.rb" in ask(extra, "/srv/app/a.rb")[0]


def test_syntax_error_is_a_finding() -> None:
    _, findings = ask({"/srv/app/a.rb": "require(x\ndef (((\n"}, "/srv/app/a.rb")
    assert any("syntax" in f.message for f in findings)


def test_a_tool_is_followed_within_itself_and_from_vendors_but_not_from_the_standard_library() -> (
    None
):
    files = {
        "/usr/lib/ruby/vendor_ruby/racc/parser.rb": "require 'racc/info'\nrequire 'bundler'\n",
        "/usr/lib/ruby/vendor_ruby/racc/info.rb": "",
        "/usr/lib/ruby/vendor_ruby/css.rb": "require 'racc/parser'\n",
        f"{LIB}/net/odd.rb": "require 'racc/parser'\n",
    }
    parser = "/usr/lib/ruby/vendor_ruby/racc/parser.rb"
    found, _ = ask(files, parser)
    assert "/usr/lib/ruby/vendor_ruby/racc/info.rb" in found
    assert f"{LIB}/bundler.rb" not in found
    assert parser in ask(files, "/usr/lib/ruby/vendor_ruby/css.rb")[0]
    assert parser not in ask(files, f"{LIB}/net/odd.rb")[0]


def ask_untouched(extra: Mapping[str, Content], path: str) -> set[str]:
    made = tree({**BASE, **extra})
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(),
                  KeepLevel.REACH)  # fmt: skip
    return {item.path for item in make().needs(scene, made.entries[path]) if isinstance(item, Need)}


def test_a_tool_that_something_may_load_has_what_it_loads_at_once() -> None:
    files = {f"{LIB}/irb.rb": "require 'reline'\ndef x\n  require 'rdoc'\n"
             "  require 'irb/cmd'\n  require_relative 'irb/ws'\nend\n",
             f"{LIB}/irb/cmd.rb": "", f"{LIB}/irb/ws.rb": "",
             f"{LIB}/reline.rb": "", f"{LIB}/rdoc.rb": "",
             f"{LIB}/rubygems/request_set.rb": "require_relative 'tsort'\ndef x\n"
             "  require_relative 'installer'\nend\n",
             f"{LIB}/rubygems/tsort.rb": "", f"{LIB}/rubygems/installer.rb": ""}  # fmt: skip
    assert {f"{LIB}/{n}.rb" for n in ("reline", "irb/cmd", "irb/ws")} <= ask_untouched(
        files, f"{LIB}/irb.rb"
    )
    assert f"{LIB}/rdoc.rb" not in ask_untouched(files, f"{LIB}/irb.rb")
    found = ask_untouched(files, f"{LIB}/rubygems/request_set.rb")
    assert f"{LIB}/rubygems/tsort.rb" in found
    assert f"{LIB}/rubygems/installer.rb" not in found


def test_a_vendor_library_requires_gems_too_and_the_standard_library_does_not() -> None:
    vendor = "/usr/lib/ruby/vendor_ruby/paint.rb"
    files = {vendor: "require 'unused'\n", f"{LIB}/odd.rb": "require 'unused'\n"}
    wanted = f"{HOME}/gems/unused-1.0/lib/unused.rb"
    assert wanted in ask(files, vendor)[0]
    assert wanted not in ask(files, f"{LIB}/odd.rb")[0]


def test_what_was_built_for_a_gem_brings_the_gem_and_not_its_neighbours() -> None:
    home = "/usr/lib/x86_64-linux-gnu/rubygems-integration/3.1.0"
    files = {
        f"{home}/specifications/nio-2.5.gemspec": "",
        f"{home}/gems/nio-2.5/lib/nio.rb": "",
        f"{home}/extensions/x86_64-linux/3.1.0/nio-2.5/nio_ext.so": "",
        f"{home}/specifications/other-1.0.gemspec": "",
        f"{home}/gems/other-1.0/lib/other.rb": "",
    }
    built = f"{home}/extensions/x86_64-linux/3.1.0/nio-2.5/nio_ext.so"
    found, _ = ask(files, built)
    assert found >= {f"{home}/gems/nio-2.5/lib/nio.rb", f"{home}/specifications/nio-2.5.gemspec"}
    assert f"{home}/gems/other-1.0/lib/other.rb" not in found


def test_the_commands_of_a_gem() -> None:
    spec = "s.executables = [\"rackup\".freeze, 'rack-gone'.freeze]\n"
    files: dict[str, Content] = {
        f"{HOME}/specifications/rack-2.0.gemspec": spec,
        "/usr/bin/rackup": Exec("#!/usr/bin/ruby\n"),
        f"{HOME}/bin/rackup": Exec("#!/usr/bin/ruby\n"),
        "/usr/bin/rack": Exec("#!/usr/bin/ruby\n"),
    }
    found, _ = ask(files, f"{HOME}/gems/rack-2.0/lib/rack.rb")
    assert {"/usr/bin/rackup", f"{HOME}/bin/rackup"} <= found
    assert "/usr/bin/rack" not in found
