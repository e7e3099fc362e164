"""Paths named in command line, health check and environment."""

from __future__ import annotations

from minify.model import Finding, Healthcheck, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.told import Told
from tests.kit import Content, Exec, tree

FILES: dict[str, Content] = {
    "/usr/local/lib/mod/a.jq": "x",
    "/usr/local/lib/mod/deep/b.jq": "x",
    "/usr/share/x/table": "x",
    "/usr/share/y/table": "x",
    "/usr/bin/tool": Exec(b"\x7fELF"),
    "/usr/lib/python3/dist-packages/a.py": "x",
    "/opt/tool/conf": "x",
    "/work/rules/one": "x",
}


def ask(config: ImageConfig, env: dict[str, str] | None = None) -> tuple[set[str], list[Finding]]:
    files = tree(FILES)
    scene = Scene(files, config, env or {}, frozenset(), frozenset(), frozenset(), KeepLevel.REACH)
    resolver = Told()
    found = [n for p in ("/usr", "/opt") for n in resolver.needs(scene, files.entries[p])]
    paths = {n.path for n in found if isinstance(n, Need)}
    return paths, [n for n in found if isinstance(n, Finding)]


def test_a_directory_named_on_the_command_line_is_kept_whole() -> None:
    paths, said = ask(ImageConfig(entrypoint=("tool", "-L", "/usr/local/lib/mod")))
    assert paths >= {"/usr/local/lib/mod/a.jq", "/usr/local/lib/mod/deep/b.jq", "/usr/bin/tool"}
    assert [f.path for f in said] == ["/usr/local/lib/mod"]


def test_paths_glued_to_options_and_in_lists_are_found() -> None:
    words = ("-I/usr/share/x", "--opt=/usr/share/y/table", "a=/opt/tool:/nowhere/at/all")
    paths, _ = ask(ImageConfig(cmd=words))
    assert paths >= {"/usr/share/x/table", "/usr/share/y/table", "/opt/tool/conf"}
    assert ask(ImageConfig(cmd=("sh", "-c", "exec tool '/usr/share/x/table' >/dev/null")))[0] >= {
        "/usr/share/x/table"
    }


def test_a_place_for_applications_is_kept_whole_where_a_command_line_names_it() -> None:
    assert "/opt/tool/conf" in ask(ImageConfig(cmd=("httpd", "-h", "/opt")))[0]
    assert "/opt/tool/conf" not in ask(ImageConfig(), {"BASE": "/opt"})[0]


def test_relative_words_begin_in_the_working_directory() -> None:
    paths, _ = ask(ImageConfig(cmd=("tool", "rules"), workdir="/work"))
    assert "/work/rules/one" in paths
    assert ask(ImageConfig(cmd=("rules",), workdir="/opt"))[0] == set()


def test_shared_directories_and_language_packages_are_not_kept_whole() -> None:
    words = ("-p", "/usr/share", "/usr/lib/python3/dist-packages", "/")
    assert ask(ImageConfig(cmd=words))[0] == {"/usr/share", "/usr/lib/python3/dist-packages"}


def test_the_environment_names_data_but_path_and_home_do_not() -> None:
    env = {"TOOL_CONF": "/opt/tool/conf", "DIRS": "/usr/share/x:/usr/share/y"}
    paths, _ = ask(ImageConfig(), env)
    assert paths >= {"/opt/tool/conf", "/usr/share/x/table", "/usr/share/y/table"}
    assert ask(ImageConfig(), {"PATH": "/usr/share/x", "HOME": "/opt/tool"})[0] == set()


def test_the_health_check_names_its_program_and_its_files() -> None:
    plain = ImageConfig(healthcheck=Healthcheck(("CMD", "tool", "/usr/share/x/table")))
    assert ask(plain)[0] >= {"/usr/bin/tool", "/usr/share/x/table"}
    shell = ImageConfig(healthcheck=Healthcheck(("CMD-SHELL", "tool </usr/share/y/table")))
    assert "/usr/share/y/table" in ask(shell)[0]


def test_a_file_to_be_made_keeps_its_directory() -> None:
    assert ask(ImageConfig(cmd=("--pid=/opt/tool/x.pid",)))[0] == {"/opt/tool"}
