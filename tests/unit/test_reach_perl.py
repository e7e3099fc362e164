"""What Perl source may load, and what the interpreter loads by itself."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.perl import make
from minify.resolvers.perl_source import options, read_loads
from tests.kit import Content, Exec, Link, tree

PRIV = "/usr/share/perl/5.36"
ARCH = "/usr/lib/x86_64-linux-gnu/perl/5.36.0"
BASE: dict[str, Content] = {
    "/usr/bin/perl": Exec(b"\x7fELF"),
    PRIV: Link("5.36.0"),
    f"{PRIV}.0/strict.pm": "",
    f"{PRIV}.0/Encode/Never.pm": "",
    f"{PRIV}.0/unicore/Name.pl": "",
    f"{PRIV}.0/_charnames.pm": 'do "unicore/Name.pl";',
    f"{PRIV}.0/Text/Wrap.pm": "use Text::Tabs;",
    f"{PRIV}.0/Text/Tabs.pm": "",
    f"{ARCH}/Config.pm": "",
    f"{ARCH}/Encode/Config.pm": "",
    f"{ARCH}/Config_heavy.pl": "",
    f"{ARCH}/Encode.pm": "",
    f"{ARCH}/Encode/JP.pm": "",
    f"{ARCH}/Encode/JP.pod": "",
    f"{ARCH}/auto/Encode/JP/JP.so": "",
    f"{ARCH}/auto/Encode/Encode.so": "",
    f"{ARCH}/POSIX.pm": "",
    f"{ARCH}/auto/POSIX/POSIX.so": "",
    f"{ARCH}/PerlIO/scalar.pm": "",
    "/usr/share/perl5/LWP/UserAgent.pm": "require LWP::Protocol;",
    "/usr/share/perl5/LWP/Protocol.pm": "",
    "/usr/share/perl5/LWP/Protocol/http.pm": "",
    "/usr/share/perl5/Never.pm": "",
}


def ask(
    extra: Mapping[str, Content],
    path: str,
    argvs: frozenset[tuple[str, ...]] = frozenset(),
) -> tuple[set[str], list[Finding]]:
    made = tree({**BASE, **extra})
    scene = Scene(made, ImageConfig(), {}, argvs, frozenset({path}), frozenset(), KeepLevel.REACH)
    found = list(make().needs(scene, made.entries[path]))
    paths = {item.path for item in found if isinstance(item, Need)}
    return paths, [item for item in found if isinstance(item, Finding)]


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("use POSIX qw(floor);", {"POSIX"}),
        ("use strict; use warnings;", {"strict", "warnings"}),
        ("sub f { require Foo::Bar; }", {"Foo::Bar"}),
        ("eval { require A; A->import; 1 } or do { };", {"A"}),
        ('eval "use Lazy::Mod; 1" or die;', {"Lazy::Mod"}),
        ("use parent -norequire, 'A::B';", {"parent", "A::B", "norequire"}),
        ("use base qw(C D::E);", {"base", "C", "D::E"}),
        ("use if $^O eq 'x', 'Cond::Mod' => 1;", {"Cond::Mod"}),
        ("{\n  extends 'Moo::Base';\n}", {"Moo::Base"}),
        ("require Old'Style;", {"Old::Style"}),
        ("use 5.010; require 5.006; no warnings 'x';", {"warnings"}),
        ("# use Nope;\n=pod\n\nuse Nope;\n\n=cut\nuse Yes;", {"Yes"}),
        ("use Yes;\n__END__\nuse Nope;", {"Yes"}),
        ('print "\\N{GREEK SMALL LETTER ALPHA}";', {"_charnames"}),
        ('print "\\N{U+263A}";', set()),
    ],
)
def test_modules(code: str, modules: set[str]) -> None:
    found = read_loads(code.encode(), "/app/a.pl").modules
    assert modules <= found
    assert "Nope" not in found
    if not modules:
        assert not found


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("require 'x/y.pl';", {"x/y.pl"}),
        ("do './z.pl';", {"./z.pl"}),
        ('require "$FindBin::Bin/lib.pl";', {"/app/lib.pl"}),
        ('require "$other/lib.pl";', set()),
        ("do { 'x' };", set()),
    ],
)
def test_files(code: str, files: set[str]) -> None:
    assert read_loads(code.encode(), "/app/a.pl").files == files


def test_folders_added_to_inc() -> None:
    found = read_loads(b'use lib qw(lib /opt/l), "$FindBin::Bin/../m";', "/app/bin/a.pl")
    assert found.folders == {"lib", "/opt/l", "/app/bin/../m"}


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 99, b"use ", b"=pod\n never ended",
                                  b"use A" * 5000, b"(" * 10000, b"'" * 9999])  # fmt: skip
def test_bad_source_costs_precision_only(data: bytes) -> None:
    read_loads(data, "/a.pl")


def test_command_line() -> None:
    argv = ("perl", "-w", "-MJSON::PP=encode_json", "-I", "/opt/l", "-I/m", "-lne", "use X;", "f")
    assert options(argv) == ([b"use X;"], ["JSON::PP"], ["/opt/l", "/m"])


def test_interpreter_keeps_what_it_loads_by_itself() -> None:
    paths, findings = ask({}, "/usr/bin/perl")
    assert {f"{PRIV}/strict.pm", f"{ARCH}/Config_heavy.pl"} <= paths
    assert f"{ARCH}/PerlIO/scalar.pm" in paths
    assert "/usr/share/perl5/Never.pm" not in paths
    assert not findings


def test_code_on_the_command_line() -> None:
    argv = ("perl", "-MLWP::UserAgent", "-e", "require Text::Wrap")
    paths, _ = ask({}, "/usr/bin/perl", frozenset({argv}))
    assert {"/usr/share/perl5/LWP/UserAgent.pm", f"{PRIV}/Text/Wrap.pm"} <= paths


def test_compiled_part_of_a_module() -> None:
    assert f"{ARCH}/auto/POSIX/POSIX.so" in ask({}, f"{ARCH}/POSIX.pm")[0]


def test_compiled_part_of_a_vendor_module() -> None:
    vendor = "/usr/lib/x86_64-linux-gnu/perl5/5.36"
    extra: dict[str, Content] = {
        f"{vendor}/HTML/Parser.pm": "",
        f"{vendor}/auto/HTML/Parser/Parser.so": "",
    }
    found = ask(extra, f"{vendor}/HTML/Parser.pm")[0]
    assert f"{vendor}/auto/HTML/Parser/Parser.so" in found


def test_encodings_are_kept_with_their_compiled_parts() -> None:
    paths, _ = ask({}, f"{ARCH}/Encode.pm")
    assert {f"{ARCH}/Encode/JP.pm", f"{ARCH}/auto/Encode/Encode.so"} <= paths
    assert f"{ARCH}/Encode/JP.pod" not in paths
    assert f"{ARCH}/auto/Encode/JP/JP.so" in ask({}, f"{ARCH}/Encode/JP.pm")[0]


def test_modules_loaded_by_computed_names() -> None:
    paths, _ = ask({}, "/usr/share/perl5/LWP/Protocol.pm")
    assert "/usr/share/perl5/LWP/Protocol/http.pm" in paths
    paths, _ = ask({}, f"{PRIV}.0/_charnames.pm")
    assert f"{PRIV}/unicore/Name.pl" in paths


def test_the_first_of_two_core_folders_wins() -> None:
    base = "/usr/lib/x86_64-linux-gnu/perl-base"
    extra: dict[str, Content] = {
        f"{base}/POSIX.pm": "", f"{base}/strict.pm": "", f"{base}/auto/POSIX/POSIX.so": "",
        f"{PRIV}.0/Text/User.pm": "use POSIX;",
    }  # fmt: skip
    paths, _ = ask(extra, f"{PRIV}.0/Text/User.pm")
    assert paths == {f"{base}/POSIX.pm"}
    assert ask(extra, f"{base}/POSIX.pm")[0] == {f"{base}/auto/POSIX/POSIX.so"}


def test_a_program_with_a_perl_inside_does_not_look_into_perl_base() -> None:
    base = "/usr/lib/x86_64-linux-gnu/perl-base"
    library = "/usr/lib/x86_64-linux-gnu/libperl.so.5.36.0"
    extra: dict[str, Content] = {
        library: b"\x7fELF", f"{base}/strict.pm": "", f"{base}/Config.pm": "",
    }  # fmt: skip
    assert {f"{PRIV}/strict.pm", f"{ARCH}/Config.pm"} <= ask(extra, library)[0]
    found = ask(extra, "/usr/bin/perl")[0]
    assert f"{base}/strict.pm" in found
    assert f"{PRIV}/strict.pm" not in found


def test_library_follows_what_it_loads() -> None:
    assert f"{PRIV}/Text/Tabs.pm" in ask({}, f"{PRIV}.0/Text/Wrap.pm")[0]


def test_application_with_its_own_modules() -> None:
    extra: dict[str, Content] = {
        "/opt/app/bin/run": Exec(b"#!/usr/bin/perl\nmy $c = 'Text::Wrap'; use My::Lazy;\n"),
        "/opt/app/lib/My/Lazy.pm": "",
        "/opt/app/templates/a.tt": "",
    }
    paths, _ = ask(extra, "/opt/app/bin/run")
    assert {"/opt/app/lib/My/Lazy.pm", "/opt/app/templates/a.tt", f"{PRIV}/Text/Wrap.pm"} <= paths
    assert "/usr/share/perl5/Never.pm" not in paths


def test_script_in_a_shared_folder_keeps_no_neighbours() -> None:
    extra: dict[str, Content] = {
        "/usr/bin/tool": Exec(b"#!/usr/bin/perl\nuse POSIX;\n"),
        "/usr/bin/other": Exec(b"#!/usr/bin/perl\n"),
    }
    paths, _ = ask(extra, "/usr/bin/tool")
    assert f"{ARCH}/POSIX.pm" in paths
    assert "/usr/bin/other" not in paths


def test_binary_called_pm_is_a_finding() -> None:
    _, findings = ask({"/opt/app/x.pm": b"\x00\x01\x02"}, "/opt/app/x.pm")
    assert [f.rule for f in findings] == ["perl"]


def test_data_of_a_distribution_and_modules_called_devel() -> None:
    """Devel::StackTrace is what exception classes use when they run, not a developer's tool."""
    share = "/usr/share/perl5/auto/share"
    files: dict[str, Content] = {
        "/app/a.pl": "use Clock::Locale;",
        "/usr/share/perl5/Clock/Locale.pm": "use Devel::StackTrace;",
        "/usr/share/perl5/Devel/StackTrace.pm": "",
        f"{share}/dist/Clock-Locale/cs.pl": "",
        f"{share}/dist/Other/cs.pl": "",
    }
    library = "/usr/share/perl5/Clock/Locale.pm"
    kept, _ = ask(files, library)
    assert {"/usr/share/perl5/Devel/StackTrace.pm", f"{share}/dist/Clock-Locale/cs.pl"} <= kept
    assert f"{share}/dist/Other/cs.pl" not in kept


def test_modules_whose_last_name_is_computed() -> None:
    site = "/usr/local/share/perl/5.36.0"
    extra = {
        "/srv/a.pl": 'my $n = shift; eval "require Shop::Plug::$n" or die; $My::Own::count = 1;',
        f"{site}/Shop/Plug/A.pm": "1;",
        f"{site}/Shop/Plug/B.pm": "1;",
        f"{site}/Shop/Other.pm": "1;",
    }
    paths, _ = ask(extra, "/srv/a.pl")
    assert {p for p in paths if p.startswith(site)} >= {
        f"{site}/Shop/Plug/A.pm", f"{site}/Shop/Plug/B.pm"
    }  # fmt: skip
    assert f"{site}/Shop/Other.pm" not in paths


def test_modules_of_an_application_stay_its_own_when_its_script_adds_their_folder() -> None:
    files: dict[str, Content] = {
        **BASE,
        "/app/script/shop": Exec('#!/usr/bin/perl\nuse FindBin; use lib "$FindBin::Bin/../lib";\n'),
        "/app/lib/Shop/Lazy.pm": "sub x { require CPAN::Meta::YAML; my $class = 'LWP::UserAgent' }",
        f"{PRIV}.0/CPAN/Meta/YAML.pm": "",
    }
    made, nothing = tree(files), frozenset[str]()
    touched = frozenset({"/app/script/shop"})
    scene = Scene(made, ImageConfig(), {}, nothing, touched, nothing, KeepLevel.REACH)
    resolver = make()
    list(resolver.needs(scene, made.entries["/app/script/shop"]))
    found = resolver.needs(scene, made.entries["/app/lib/Shop/Lazy.pm"])
    paths = {item.path for item in found if isinstance(item, Need)}
    assert {f"{PRIV}/CPAN/Meta/YAML.pm", "/usr/share/perl5/LWP/UserAgent.pm"} <= paths


def test_what_diagnostics_reads() -> None:
    files = {f"{PRIV}.0/diagnostics.pm": "", f"{PRIV}.0/pod/perldiag.pod": ""}
    found, _ = ask(files, f"{PRIV}.0/diagnostics.pm")
    assert f"{PRIV}/pod/perldiag.pod" in found


def test_a_tool_that_an_application_loads_brings_what_it_loads() -> None:
    files: dict[str, Content] = {
        f"{PRIV}.0/Test/More.pm": "use Test::Builder::Module;",
        f"{PRIV}.0/Test/Builder/Module.pm": "",
        "/usr/share/perl5/Used.pm": "require Test::More;",
    }
    assert f"{PRIV}/Test/Builder/Module.pm" in ask(files, f"{PRIV}.0/Test/More.pm")[0]
    assert f"{PRIV}/Test/More.pm" not in ask(files, "/usr/share/perl5/Used.pm")[0]
