"""What the resolvers `elf` and `plugins` ask for."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files

import pytest

from minify.elf.header import ElfFacts, read_elf
from minify.model import Entry, Finding, ImageConfig, KeepLevel, Kind
from minify.resolvers import Need, Resolver, Scene, elf, plugins
from minify.resolvers.plugins import braces, pam_modules, read_rows
from minify.tree import Tree
from tests.elf_kit import INTERP, MUSL, ld_cache, loader
from tests.elf_kit import elf as make_elf
from tests.kit import Content, Exec, tree

LIB = "/lib/x86_64-linux-gnu"


def scene(made: Tree, touched: set[str] = frozenset(), env: Mapping[str, str] = {}) -> Scene:  # type: ignore[assignment]
    """Set a scene at level REACH."""
    return Scene(
        made,
        ImageConfig(),
        dict(env),
        frozenset(),
        frozenset(touched),
        frozenset(),
        KeepLevel.REACH,
    )


def ask(resolver: Resolver, where: Scene, path: str) -> tuple[dict[str, str], list[Finding]]:
    """Ask about one path: needed paths with the file that needs each, and findings."""
    entry = where.tree.resolve(path).entry
    assert entry is not None
    answers = list(resolver.needs(where, entry))
    needs = {a.path: a.reason.because for a in answers if isinstance(a, Need)}
    return needs, [a for a in answers if isinstance(a, Finding)]


def elf_facts(data: bytes) -> ElfFacts:
    facts = read_elf(io.BytesIO(data))
    assert facts is not None
    return facts


def image(files: Mapping[str, Content]) -> Tree:
    """A tree with a glibc loader."""
    return tree({INTERP: loader(), **files})


def test_program_needs_loader_libraries_and_loader_configuration() -> None:
    made = image(
        {
            "/bin/app": Exec(make_elf(("liba.so",), interp=INTERP)),
            f"{LIB}/liba.so": make_elf(("libb.so",)),
            f"{LIB}/libb.so": make_elf(),
            "/etc/ld.so.cache": ld_cache([]),
            "/etc/ld.so.conf": "include ld.so.conf.d/*.conf",
            "/etc/ld.so.conf.d/x.conf": "/x",
        }
    )
    needs, findings = ask(elf.make(), scene(made), "/bin/app")
    assert needs == {
        INTERP: "/bin/app",
        f"{LIB}/liba.so": "/bin/app",
        f"{LIB}/libb.so": f"{LIB}/liba.so",
        "/etc/ld.so.cache": "/bin/app",
        "/etc/ld.so.conf": "/bin/app",
        "/etc/ld.so.conf.d/x.conf": "/bin/app",
    }
    assert findings == []


def test_musl_program_needs_its_path_file() -> None:
    made = tree(
        {
            MUSL: make_elf(soname="libc.so"),
            "/etc/ld-musl-x86_64.path": "/x",
            "/bin/app": Exec(make_elf(("libc.musl-x86_64.so.1",), interp=MUSL)),
        }
    )
    needs, findings = ask(elf.make(), scene(made), "/bin/app")
    assert set(needs) == {MUSL, "/etc/ld-musl-x86_64.path"}
    assert findings == []


def test_missing_library_is_a_finding() -> None:
    made = image({"/bin/app": Exec(make_elf(("libgone.so",), interp=INTERP))})
    _, findings = ask(elf.make(), scene(made), "/bin/app")
    assert [f.message for f in findings] == ["library not found in the image: libgone.so"]


def test_library_of_a_program_that_ran_is_not_judged_alone() -> None:
    made = image(
        {
            "/app/run": Exec(make_elf(("liba.so",), interp=INTERP, rpath="$ORIGIN/lib")),
            "/app/lib/liba.so": make_elf(("libb.so",)),
            "/app/lib/libb.so": make_elf(),
        }
    )
    ran = scene(made, {"/app/run", "/app/lib/liba.so"})
    assert ask(elf.make(), ran, "/app/lib/liba.so") == ({}, [])
    _, findings = ask(elf.make(), scene(made), "/app/lib/liba.so")
    assert len(findings) == 1


def test_plugin_finds_what_was_loaded_before_it() -> None:
    """As libjava.so needs libjvm.so, which the launcher opened by its full path."""
    made = image(
        {
            "/jdk/lib/libjava.so": make_elf(("libjvm.so",)),
            "/jdk/lib/server/libjvm.so": make_elf(soname="libjvm.so"),
        }
    )
    where = scene(made, {"/jdk/lib/libjava.so", "/jdk/lib/server/libjvm.so"})
    needs, findings = ask(elf.make(), where, "/jdk/lib/libjava.so")
    assert (set(needs), findings) == ({"/jdk/lib/server/libjvm.so"}, [])


def test_set_uid_program_ignores_the_environment() -> None:
    program = make_elf(("liba.so",), interp=INTERP)
    made = image(
        {
            "/bin/app": Exec(program),
            "/bin/su": Exec(program, 0o4755),
            "/env/liba.so": make_elf(),
            f"{LIB}/liba.so": make_elf(),
        }
    )
    where = scene(made, env={"LD_LIBRARY_PATH": "/env"})
    assert "/env/liba.so" in ask(elf.make(), where, "/bin/app")[0]
    assert f"{LIB}/liba.so" in ask(elf.make(), where, "/bin/su")[0]


@pytest.mark.parametrize("data", [b"text" * 30, b"\x7fELF" + b"\xff" * 90, make_elf(dynamic=False)])
def test_what_needs_nothing(data: bytes) -> None:
    made = image({"/bin/app": Exec(data)})
    assert ask(elf.make(), scene(made, {"/bin/app"}), "/bin/app") == ({}, [])


def strings(*names: str) -> bytes:
    """Read-only data that holds names."""
    return b"\0" + b"".join(n.encode() + b"\0" for n in names)


class TestPlugins:
    def test_names_in_strings(self) -> None:
        names = ("libplug.so.1", "libself.so", "libgone.so", "lib%s.so", "/opt/abs.so", "rel/x.so")
        made = image(
            {
                "/bin/app": Exec(
                    make_elf(
                        interp=INTERP,
                        soname="libself.so",
                        imports=("dlopen",),
                        extra=strings(*names),
                    )
                ),
                f"{LIB}/libplug.so.1": make_elf(),
                f"{LIB}/libself.so": make_elf(),
                "/opt/abs.so": make_elf(),
                "/rel/x.so": make_elf(),
            }
        )
        needs, _ = ask(plugins.make(), scene(made, {"/bin/app"}), "/bin/app")
        assert set(needs) == {f"{LIB}/libplug.so.1", "/opt/abs.so"}
        assert ask(plugins.make(), scene(made), "/bin/app") == ({}, [])

    def test_a_file_that_cannot_dlopen_means_nothing_by_its_strings(self) -> None:
        made = image(
            {
                "/bin/app": Exec(make_elf(interp=INTERP, extra=b"\0libplug.so.1\0")),
                f"{LIB}/libplug.so.1": make_elf(),
            }
        )
        assert ask(plugins.make(), scene(made, {"/bin/app"}), "/bin/app") == ({}, [])

    def test_weak_evidence_is_none(self) -> None:
        extra = strings("libidn2.so.0", "libgcc_s.so.1")
        libc = make_elf(soname="libc.so.6", imports=("dlopen",), extra=extra)
        made = image(
            {
                f"{LIB}/libc.so.6": libc,
                f"{LIB}/libidn2.so.0": make_elf(),
                f"{LIB}/libgcc_s.so.1": make_elf(),
            }
        )
        where = scene(made, {f"{LIB}/libc.so.6"})
        assert set(ask(plugins.make(), where, f"{LIB}/libc.so.6")[0]) == {f"{LIB}/libgcc_s.so.1"}

    def test_name_across_two_pieces_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugins, "CHUNK", 600)
        for shift in range(40):
            extra = b"x" * (560 + shift) + strings("libplug.so.1") + b"y" * 900
            made = image(
                {
                    "/a": Exec(make_elf(imports=("dlopen",), extra=extra)),
                    f"{LIB}/libplug.so.1": make_elf(),
                }
            )
            needs, _ = ask(plugins.make(), scene(made, {"/a"}), "/a")
            assert set(needs) == {f"{LIB}/libplug.so.1"}

    def test_table(self) -> None:
        made = image(
            {
                f"{LIB}/libcrypto.so.3": make_elf(soname="libcrypto.so.3"),
                f"{LIB}/ossl-modules/legacy.so": make_elf(),
                f"{LIB}/engines-3/afalg.so": make_elf(),
                "/etc/ssl/openssl.cnf": "x",
            }
        )
        needs, _ = ask(plugins.make(), scene(made), f"{LIB}/libcrypto.so.3")
        assert {p for p in needs if not made.is_dir(p)} == {
            f"{LIB}/ossl-modules/legacy.so",
            f"{LIB}/engines-3/afalg.so",
            "/etc/ssl/openssl.cnf",
        }

    def test_exceptions_of_a_row(self) -> None:
        base = "/usr/lib/postgresql/15"
        made = image(
            {
                f"{base}/bin/postgres": Exec(make_elf(interp=INTERP)),
                f"{base}/lib/dict_snowball.so": make_elf(),
                f"{base}/lib/llvmjit.so": make_elf(),
                "/usr/share/postgresql/15/timezonesets/Default": "x",
            }
        )
        needs, _ = ask(plugins.make(), scene(made), f"{base}/bin/postgres")
        assert f"{base}/lib/dict_snowball.so" in needs
        assert "/usr/share/postgresql/15/timezonesets/Default" in needs
        assert f"{base}/lib/llvmjit.so" not in needs

    def converters(self, program: str, *, used: bool = True) -> tuple[Scene, set[str]]:
        gconv = f"{LIB}/gconv"
        app = make_elf(("libc.so.6",), interp=INTERP if "/bin/" in program else "",
                       imports=("iconv_open",))  # fmt: skip
        made = image(
            {
                program: Exec(app),
                f"{LIB}/libc.so.6": make_elf(soname="libc.so.6", imports=("iconv_open",)),
                **{f"{gconv}/{n}.so": make_elf() for n in ("UTF-16", "KOI8-R", "BIG5", "EUC-JP")},
                f"{gconv}/gconv-modules": "x",
                f"{gconv}/gconv-modules.d/extra.conf": "x",
            }
        )
        touched = {f"{LIB}/libc.so.6", *([program] if used else [])}
        where = scene(made, touched, {"LANG": "ru_RU.KOI8-R"})
        needs, _ = ask(plugins.make(), where, program)
        names = {p.removeprefix(f"{gconv}/") for p in needs if made.is_file(p)}
        return where, names

    def test_gconv_of_a_program_that_may_be_given_any_character_set(self) -> None:
        where, names = self.converters("/bin/app")
        assert names >= {"UTF-16.so", "BIG5.so", "EUC-JP.so", "gconv-modules"}
        assert "kept all converters" in ask(plugins.make(), where, "/bin/app")[1][0].message
        assert ask(plugins.make(), where, f"{LIB}/libc.so.6") == ({}, [])

    def test_gconv_of_a_program_that_knows_the_locale_only(self) -> None:
        where, names = self.converters("/bin/bash")
        few = {"KOI8-R.so", "gconv-modules", "gconv-modules.d/extra.conf"}
        assert names == few
        used = replace(where, touched=frozenset({f"{LIB}/gconv/BIG5.so"}))
        needs, _ = ask(plugins.make(), used, f"{LIB}/gconv/BIG5.so")
        assert f"{LIB}/gconv/EUC-JP.so" in needs

    def test_gconv_of_a_library_that_is_kept_and_was_not_used(self) -> None:
        assert "BIG5.so" in self.converters(f"{LIB}/libany.so.1", used=False)[1]
        assert "BIG5.so" in self.converters(f"{LIB}/libxml2.so.2")[1]
        assert "BIG5.so" in self.converters(f"{LIB}/libglib-2.0.so.0")[1]
        assert self.converters(f"{LIB}/libglib-2.0.so.0", used=False)[1] <= {
            "KOI8-R.so", "gconv-modules", "gconv-modules.d/extra.conf",
        }  # fmt: skip
        table = read_rows((files("minify.policies") / "plugins.yaml").read_text(), "locale_only")
        row = next(row for row in table if row.needs)
        both = elf_facts(make_elf(("libicuuc.so.72", "libc.so.6"), soname="libxml2.so.2"))
        assert row.fits(Entry("/x", Kind.FILE), both)
        assert not row.fits(Entry("/x", Kind.FILE), elf_facts(make_elf(soname="libxml2.so.2")))

    def test_pam(self) -> None:
        made = image(
            {
                f"{LIB}/libpam.so.0": make_elf(),
                f"{LIB}/security/pam_unix.so": make_elf(),
                "/etc/pam.d/login": "@include common\nauth [a=1 b=2] pam_unix.so nullok # no.so\n",
                "/etc/pam.d/common": "session optional pam_gone.so",
            }
        )
        needs, findings = ask(plugins.make(), scene(made), f"{LIB}/libpam.so.0")
        assert f"{LIB}/security/pam_unix.so" in needs
        assert [f.message for f in findings] == ["PAM module not in the image: pam_gone.so"]


def test_pam_lines() -> None:
    text = b"auth required \\\n pam_a.so x=y.so\n# pam_b.so\n-auth [x=1] /lib/pam_c.so\n"
    assert pam_modules(text) == {"pam_a.so": True, "/lib/pam_c.so": False}


def test_braces() -> None:
    assert braces("/a/{b,c}/{d,e}") == ["/a/b/d", "/a/b/e", "/a/c/d", "/a/c/e"]
    assert braces("${dir}/x") == ["${dir}/x"]


def test_shipped_table_is_sound() -> None:
    text = (files("minify.policies") / "plugins.yaml").read_text("utf-8")
    assert all(row.reason and row.when and row.keep for row in read_rows(text, "weak"))
    rows = read_rows(text, "rows")
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.reason and row.when
        assert all(p.startswith(("/", "${dir}/")) and "{" not in p[2:] for p in row.keep)


def test_modules_of_languages_without_a_resolver_of_their_own() -> None:
    text = (files("minify.policies") / "languages.yaml").read_text("utf-8")
    rows = read_rows(text, "rows")
    assert all(row.reason and row.when and row.keep for row in rows)
    assert all(p.startswith(("/", "${dir}/")) and "{" not in p[2:] for r in rows for p in r.keep)
    shelf = ["/usr/lib/R/library/stats/R/stats.rdb", "/usr/lib/R/library/stats/help/AnIndex",
             "/usr/lib/R/library/translations/de/x.mo", "/usr/share/tcltk/tcllib1/md5/md5.tcl",
             "/opt/dn/shared/Microsoft.AspNetCore.App/8.0/Http.dll"]  # fmt: skip
    wanted = {"/usr/lib/R/bin/exec/R": {shelf[0]}, "/usr/bin/tclsh8.6": {shelf[3]},
              "/usr/lib/libtcl8.6.so": set(),
              "/opt/dn/shared/Microsoft.NETCore.App/8.0/libcoreclr.so": {shelf[4]}}  # fmt: skip
    made = image({**dict.fromkeys(shelf, "x"), **{p: Exec(loader()) for p in wanted}})
    for path, modules in wanted.items():
        needs, _ = ask(plugins.make(), scene(made), path)
        assert set(needs) & set(shelf) == modules, path


def test_entry_kinds_other_than_files_are_left_alone() -> None:
    made = image({"/dir": None})
    for resolver in (elf.make(), plugins.make()):
        assert list(resolver.needs(scene(made), Entry("/dir", made.entries["/dir"].kind))) == []
