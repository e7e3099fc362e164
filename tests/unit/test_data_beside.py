"""Data beside code: the rest of a directory, the paths that programs name, and shells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.data import Data
from minify.resolvers.pieces import PIECE
from minify.tree import Tree
from tests.elf_kit import INTERP, elf
from tests.kit import Content, Exec, Link, tree

ELF = b"\x7fELF" + b"\0" * 60


def run(
    files: Tree,
    touched: Iterable[str],
    listed: Iterable[str] = (),
    env: dict[str, str] | None = None,
) -> tuple[set[str], list[Finding]]:
    seen = frozenset(touched)
    scene = Scene(files, ImageConfig(), env or {}, frozenset(), seen, frozenset(listed),
                  KeepLevel.REACH)  # fmt: skip
    resolver = Data()
    found = [n for p in (*touched, *listed) for n in resolver.needs(scene, files.entries[p])]
    return (
        {n.path for n in found if isinstance(n, Need)},
        [n for n in found if isinstance(n, Finding)],
    )


def kept(files: Mapping[str, Content], touched: Iterable[str], **more: Iterable[str]) -> set[str]:
    return run(tree(files), touched, **more)[0]


def test_the_rest_of_a_small_directory_of_data_is_kept_up_to_its_top() -> None:
    files = {"/usr/share/app/en/a.txt": "x", "/usr/share/app/de/a.txt": "x", "/usr/share/o/x": "x"}
    assert kept(files, ["/usr/share/app/en/a.txt"]) >= {"/usr/share/app/de/a.txt"}
    assert "/usr/share/o/x" not in kept(files, ["/usr/share/app/en/a.txt"])


def test_shared_directories_and_language_packages_are_not_data() -> None:
    files = {"/etc/passwd": "x", "/etc/b": "x", "/usr/lib/python3/dist-packages/a.py": "",
             "/usr/lib/python3/dist-packages/b.py": "", "/tmp/a": "", "/tmp/b": ""}  # fmt: skip
    touched = ["/etc/passwd", "/usr/lib/python3/dist-packages/a.py", "/tmp/a"]
    assert kept(files, touched) == set()
    assert kept(files, [], listed=["/usr/lib/python3/dist-packages", "/etc", "/tmp"]) == set()


def test_a_library_is_no_evidence_for_data_and_reading_data_none_for_libraries() -> None:
    files = {"/usr/lib/app/x.so": ELF, "/usr/lib/app/t.txt": "x", "/usr/lib/app/u.txt": "x"}
    assert kept(files, ["/usr/lib/app/x.so"]) == set()
    assert kept(files, ["/usr/lib/app/t.txt"]) == {"/usr/lib/app/t.txt", "/usr/lib/app/u.txt"}
    assert "/usr/lib/app/x.so" in kept(files, [], listed=["/usr/lib/app"])


def test_a_directory_that_is_too_large_is_left_out_and_said() -> None:
    files = tree({"/usr/share/app/a": "x", "/usr/share/app/b": "x"})
    entries = dict(files.entries)
    entries["/usr/share/app/b"] = replace(entries["/usr/share/app/b"], size=9 << 20)
    paths, findings = run(Tree(entries, files.opener), ["/usr/share/app/a"])
    assert paths == set()
    assert "left out 2 files" in findings[0].message


def test_the_zone_of_the_clock_says_nothing_about_other_zones() -> None:
    files = {"/etc/localtime": Link("/usr/share/zoneinfo/Etc/UTC"), "/usr/share/zoneinfo/Etc/UTC":
             "x", "/usr/share/zoneinfo/Europe/Berlin": "x", "/usr/share/zoneinfo/right/a": "x",
             "/usr/share/zoneinfo/Asia/Tokyo": "x"}  # fmt: skip
    assert kept(files, ["/usr/share/zoneinfo/Etc/UTC"]) == set()
    mine = run(tree(files), ["/usr/share/zoneinfo/Asia/Tokyo"], env={"TZ": "Asia/Tokyo"})[0]
    assert mine == set()
    other = kept(files, ["/usr/share/zoneinfo/Europe/Berlin"])
    assert "/usr/share/zoneinfo/Asia/Tokyo" in other
    assert not any("/right" in path for path in other)


def test_paths_that_a_program_names() -> None:
    text = (
        b"\0/usr/share/app/words\0x/usr/share/app/inner\0/usr/bin/other\0/usr/libexec/app/helper\0"
    )
    files: dict[str, Content] = {
        "/usr/bin/app": Exec(ELF + text + b"--data=/var/lib/tables:\0/usr/share\0"),
        "/usr/share/app/words": "x",
        "/usr/share/app/inner": "x",
        "/usr/bin/other": Exec(b"x"),
        "/usr/libexec/app/helper": Exec(b"x"),
        "/var/lib/tables/one": "x",
    }
    assert kept(files, ["/usr/bin/app"]) == {
        "/usr/share/app/words",
        "/usr/share/app/inner",
        "/usr/libexec/app/helper",
        "/var/lib/tables",
        "/var/lib/tables/one",
        "/usr/share",
    }


def test_a_name_completed_at_run_time_means_its_directory() -> None:
    """C programs put a format there; Go's linker puts strings side by side without an end."""
    files: dict[str, Content] = {
        "/usr/bin/a": Exec(ELF + b"\0/usr/share/app/%s.txt\0"),
        "/usr/share/app/one.txt": "x",
        "/opt/b": Exec(ELF + b"lost+found/etc/usr/share/zoneinfo/ time: bad /usr/share/nothing"),
        "/usr/share/zoneinfo/UTC": "x",
        "/usr/share/other": "x",
    }
    assert "/usr/share/app/one.txt" in kept(files, ["/usr/bin/a"])
    assert kept(files, ["/opt/b"]) == {"/usr/share/zoneinfo", "/usr/share/zoneinfo/UTC"}


def test_top_directories_may_be_named_alone() -> None:
    files: dict[str, Content] = {
        "/server": Exec(ELF + b"\0/templates\0/usr\0/temp\0"),
        "/templates/a.html": "x",
        "/usr/x": "x",
    }
    assert "/templates/a.html" in kept(files, ["/server"])
    assert "/usr/x" not in kept(files, ["/server"])


def test_paths_that_text_names_commands_included_comments_not() -> None:
    files: dict[str, Content] = {
        "/opt/x/app.conf": "mailer = /usr/sbin/sendmail\n# /usr/bin/perl\n  root /srv/site;\n",
        "/usr/sbin/sendmail": Exec(b"x"),
        "/usr/bin/perl": Exec(b"x"),
        "/srv/site/index.html": "x",
    }
    found = kept(files, ["/opt/x/app.conf"])
    assert {"/usr/sbin/sendmail", "/srv/site/index.html"} <= found
    assert "/usr/bin/perl" not in found


def test_paths_that_own_sources_name_though_no_request_came_to_them() -> None:
    files = {"/srv/app/pdf.py": 'FONT = "/usr/share/fonts/a.ttf"\n# /usr/share/fonts/c.ttf\n',
             "/usr/share/tool/x.py": 'FONT = "/usr/share/fonts/b.ttf"',
             "/srv/app/node_modules/m/i.js": 'f("/opt/fonts/b.ttf")', "/opt/fonts/b.ttf": "x",
             "/srv/app/notes.md": "see /usr/share/fonts/b.ttf",
             **{f"/usr/share/fonts/{n}.ttf": "x" for n in "abc"}}  # fmt: skip
    files_tree, resolver = tree(files), Data()
    scene = Scene(files_tree, ImageConfig(), {}, frozenset(), frozenset(), frozenset(),
                  KeepLevel.REACH)  # fmt: skip
    found = [n for p in files for n in resolver.needs(scene, files_tree.entries[p])]
    assert [n.path for n in found if isinstance(n, Need)] == ["/usr/share/fonts/a.ttf"]


def test_a_library_has_its_data_apart_from_it() -> None:
    files = {"/usr/lib/ruby/vendor_ruby/prawn.rb": "D = '/usr/share/ruby-prawn'\nE = '/opt/x/a'\n",
             "/usr/share/ruby-prawn/fonts/a.afm": "x", "/opt/x/a": "x",
             "/v/lib/python3.11/site-packages/b.py": "F = '/usr/share/fonts/a.ttf'",
             "/v/lib/python3.11/site-packages/c.py": "F = '/usr/share/fonts/'",
             "/usr/share/fonts/a.ttf": "x", "/usr/share/fonts/b.ttf": "x"}  # fmt: skip
    files_tree, resolver = tree(files), Data()
    scene = Scene(files_tree, ImageConfig(), {}, frozenset(), frozenset(), frozenset(),
                  KeepLevel.REACH)  # fmt: skip
    found = [n for p in files for n in resolver.needs(scene, files_tree.entries[p])]
    paths = {n.path for n in found if isinstance(n, Need)}
    assert {"/usr/share/ruby-prawn/fonts/a.afm", "/usr/share/fonts/a.ttf"} <= paths
    assert not paths & {"/opt/x/a", "/usr/share/fonts/b.ttf"}


def test_accounts_name_shells_that_nobody_needs() -> None:
    files: dict[str, Content] = {
        "/etc/passwd": "root:x:0:0::/root:/bin/bash\n",
        "/bin/bash": Exec(b"x"),
    }
    assert kept(files, ["/etc/passwd"]) == set()


def test_a_named_directory_brings_no_script_of_a_language_that_is_not_used() -> None:
    files: dict[str, Content] = {
        "/usr/lib/libssl.so.3": ELF + b"\0/usr/lib/ssl\0",
        "/usr/lib/ssl/openssl.cnf": "x",
        "/usr/lib/ssl/misc/CA.pl": Exec(b"#!/usr/bin/env perl\n"),
        "/usr/lib/ssl/misc/CA": Link("CA.pl"),
        "/usr/bin/perl": Exec(ELF),
    }
    found = kept(files, ["/usr/lib/libssl.so.3"])
    assert "/usr/lib/ssl/openssl.cnf" in found
    assert not any("CA" in path for path in found)
    assert "/usr/lib/ssl/misc/CA.pl" in kept(files, ["/usr/bin/perl", "/usr/lib/libssl.so.3"])


def test_a_name_across_two_pieces_of_a_large_program_is_found() -> None:
    start = b"\0" * (PIECE - len(ELF) - 9)
    files: dict[str, Content] = {
        "/usr/bin/a": Exec(ELF + start + b"/usr/share/app/words\0"),
        "/usr/share/app/words": "x",
    }
    assert kept(files, ["/usr/bin/a"]) == {"/usr/share/app/words"}


def test_a_shell_is_kept_for_what_names_it() -> None:
    files: dict[str, Content] = {
        "/usr/bin/a": Exec(ELF + b"\0/bin/sh\0"),
        "/usr/lib/libdata.so": ELF + b"\0system\0",
        "/usr/lib/libc.so.6": ELF + b"\0/bin/sh\0",
        "/bin/sh": Exec(b"x"),
    }
    assert "/bin/sh" in kept(files, ["/usr/bin/a"])
    assert "/bin/sh" not in kept(files, ["/usr/lib/libdata.so", "/usr/lib/libc.so.6"])


def test_strings_without_an_end_are_read_as_far_as_the_tree_goes() -> None:
    files = {
        "/bin/app": ELF + b"short/etc/mime.typestcp/usr/local/libexec/convert: no\0/srv/tmpl%s: ",
        "/etc/mime.types": "x",
        "/etc/mime": "x",
        "/usr/local/libexec/convert": Exec(b"#!/bin/app\n"),
        "/srv/tmpl/a.html": "x",
        "/usr/local/libexec/other": "x",
    }
    assert kept(files, ["/bin/app"]) >= {"/etc/mime.types", "/usr/local/libexec/convert",
                                         "/srv/tmpl/a.html"}  # fmt: skip
    assert not kept(files, ["/bin/app"]) & {"/usr/local/libexec/other", "/etc/mime"}
    types = {"/bin/app": ELF + b"x/usr/share/mime/globs20123: no", "/usr/share/mime/globs2": "x",
             "/usr/share/mime/other": "x"}  # fmt: skip
    assert kept(types, ["/bin/app"]) == {"/usr/share/mime/globs2"}


def test_a_string_with_an_end_is_taken_as_it_stands() -> None:
    files = {"/bin/app": ELF + b"/etc/mime.typesets\0", "/etc/mime.types": "x"}
    assert kept(files, ["/bin/app"]) == set()


def test_commands_that_an_own_program_names_are_kept() -> None:
    named = b"\0/usr/bin/convert\0"
    files = {
        "/opt/app": elf(("libc.so.6",), interp=INTERP, extra=named),
        "/opt/a.so": elf(("libc.so.6",), extra=named),
        "/usr/local/bin/app": elf(extra=named, dynamic=False),
        "/usr/bin/app": elf(("libc.so.6",), interp=INTERP, extra=named),
        "/usr/bin/convert": Exec(b"x"),
    }
    for path in files:
        found = "/usr/bin/convert" in kept(files, [path])
        assert found == (path in ("/opt/app", "/usr/local/bin/app")), path


def test_data_of_a_program_that_is_kept_because_a_script_may_start_it() -> None:
    big = "x" * (3 << 20)  # more than is kept for a program that ran and did not ask for it
    library, program = "/usr/lib/libocr.so.5", "/usr/bin/ocr"
    named = b"\x7fELF" + b"\0" * 2000 + b"\0/usr/share/ocr/5/\0"
    files = tree({program: Exec(named), library: named, "/usr/share/ocr/5/eng.data": big,
                  "/usr/libexec/other": Exec(named), "/usr/share/text": named})  # fmt: skip
    none = frozenset[str]()
    scene = Scene(files, ImageConfig(), {}, frozenset(), none, none, KeepLevel.REACH)
    for path, wanted in ((program, True), (library, True), ("/usr/share/text", False)):
        found = {n.path for n in Data().needs(scene, files.entries[path]) if isinstance(n, Need)}
        assert ("/usr/share/ocr/5/eng.data" in found) is wanted, path
    assert "/usr/share/ocr/5/eng.data" not in run(files, [program])[0]


def test_settings_for_another_way_to_start_name_what_is_needed_then() -> None:
    files: dict[str, Content] = {
        "/app/conf/plain.conf": "x",
        "/app/conf/secure.conf": "plugin /usr/lib/app/auth.so\nrun /usr/bin/tool\n",
        "/usr/lib/app/auth.so": ELF,
        "/usr/bin/tool": Exec(b"x"),
        "/etc/other/p.conf": "plugin /usr/lib/app/other.so\n",
        "/usr/lib/app/other.so": ELF,
        "/var/lib/dpkg/info/other.list": "/etc/other/p.conf\n/usr/lib/app/auth.so\n",
    }
    made = tree(files)
    nobody: frozenset[str] = frozenset()
    scene = Scene(made, ImageConfig(), {}, frozenset(), nobody, nobody, KeepLevel.REACH)

    def needs(path: str) -> set[str]:
        return {n.path for n in Data().needs(scene, made.entries[path]) if isinstance(n, Need)}

    assert needs("/app/conf/secure.conf") == {"/usr/lib/app/auth.so"}
    assert needs("/etc/other/p.conf") == set()  # a package's own, for whoever uses it


def test_more_of_a_named_directory_that_something_was_read_from() -> None:
    program = b"\x7fELF\0/usr/share/app/errors\0" + b"\0" * 60
    big = "x" * (3 << 20)
    german = "/usr/share/app/errors/de/404"
    files: dict[str, Content] = {
        "/usr/sbin/app": Exec(program),
        german: big,
        "/usr/share/app/errors/en/404": "x",
    }
    assert german not in kept(files, ["/usr/sbin/app"])
    found = run(tree(files), ["/usr/sbin/app", "/usr/share/app/errors/en/404"])[0]
    assert german in found


def test_a_named_directory_has_the_scripts_that_somebody_put_there() -> None:
    files: dict[str, Content] = {
        "/etc/web/site.conf": "ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n",
        "/usr/lib/cgi-bin/ours.cgi": Exec(b"#!/usr/bin/perl\n"),
        "/usr/lib/cgi-bin/theirs.cgi": Exec(b"#!/usr/bin/perl\n"),
        "/usr/bin/perl": Exec(ELF),
        "/var/lib/dpkg/info/web.list": "/usr/lib/cgi-bin\n/usr/lib/cgi-bin/theirs.cgi\n",
    }
    found = kept(files, ["/etc/web/site.conf"])
    assert "/usr/lib/cgi-bin/ours.cgi" in found
    assert "/usr/lib/cgi-bin/theirs.cgi" not in found


def test_a_place_for_applications_is_whole_where_the_images_author_names_it() -> None:
    listed = "/var/lib/dpkg/info/web.list"
    files = {
        "/srv/a/page": "x",
        "/usr/local/bin/serve": Exec("#!/bin/sh\nhttpd -h /srv"),
        "/usr/bin/serve": Exec("#!/bin/sh\nhttpd -h /srv"),
        listed: "/usr/bin/serve\n",
        "/var/lib/dpkg/status": "Package: web\nStatus: install ok installed\n\n",
    }
    assert "/srv/a/page" in kept(files, ["/usr/local/bin/serve"])
    assert "/srv/a/page" not in kept(files, ["/usr/bin/serve"])


DPKG: dict[str, Content] = {
    "/var/lib/dpkg/status": "Package: base\nStatus: install ok installed\n\n",
    "/var/lib/dpkg/info/base.list": "/usr/bin/packaged\n/var/backups\n",
}


def test_the_directory_of_a_file_to_be_made_is_kept() -> None:
    script = Exec("#!/bin/sh\ntar -cf /var/backups/all.tar /srv/x")
    files = {**DPKG, "/usr/local/bin/job": script, "/usr/bin/packaged": script,
             "/var/backups": None}  # fmt: skip
    assert "/var/backups" in kept(files, ["/usr/local/bin/job"])
    assert "/var/backups" not in kept(files, ["/usr/bin/packaged"])


def test_a_script_of_the_authors_is_source_wherever_it_lies() -> None:
    page = Exec("#!/usr/bin/perl\nmy $t = '/usr/share/shop/a.tt';")
    names = ("/usr/lib/cgi-bin/page.pl", "/usr/bin/packaged")
    files = {**DPKG, **dict.fromkeys(names, page), "/usr/share/shop/a.tt": "x"}
    made = tree(files)
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(), KeepLevel.REACH)
    found = {n.path for n in Data().needs(scene, made.entries[names[0]]) if isinstance(n, Need)}
    assert "/usr/share/shop/a.tt" in found
    assert not list(Data().needs(scene, made.entries[names[1]]))


def test_the_plug_ins_of_the_authors_own_program() -> None:
    big = "x" * (3 << 20)
    files: dict[str, Content] = {
        "/usr/bin/app": Exec(ELF + b"\0/usr/lib/app/\0"), "/usr/lib/app/fancy.so": big,
        "/var/lib/dpkg/info/base.list": "/usr/lib\n/usr/bin\n",
    }  # fmt: skip
    assert "/usr/lib/app/fancy.so" in kept(files, ["/usr/bin/app"])
    packaged = {**files, "/var/lib/dpkg/info/base.list": "/usr/bin/app\n/usr/lib/app\n"}
    assert "/usr/lib/app/fancy.so" not in kept(packaged, ["/usr/bin/app"])
