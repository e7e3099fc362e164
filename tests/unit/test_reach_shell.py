"""What a shell script may run, source or read, in any branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from minify.model import Finding, Healthcheck, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.shell import interpreter, make
from minify.resolvers.shell_parse import Names, read_script
from minify.tree import Tree
from tests.kit import Content, Exec, Link, tree

SCRIPT = "/usr/local/bin/start"
TOOLS = ("curl", "jq", "tee", "sed", "id", "chown", "chmod", "su-exec", "timeout", "env", "xargs",
         "find", "redis-server", "envsubst", "hostname", "date", "rm", "sleep", "tini", "sort",
         "busybox", "test", "gosu", "setpriv", "nc", "grep", "cut")  # fmt: skip


def files(script: str, extra: Mapping[str, Content] | None = None) -> dict[str, Content]:
    found: dict[str, Content] = {f"/usr/bin/{tool}": Exec(b"\x7fELF") for tool in TOOLS}
    found["/bin/sh"] = Exec(b"\x7fELF")
    found[SCRIPT] = Exec(script.encode("utf-8", "surrogateescape"))
    found.update(extra or {})
    return found


def scene_of(
    content: Mapping[str, Content],
    config: ImageConfig | None = None,
    argvs: frozenset[tuple[str, ...]] = frozenset(),
    touched: frozenset[str] = frozenset(),
) -> Scene:
    made = tree(content)
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return Scene(made, config or ImageConfig(), env, argvs, touched, frozenset(), KeepLevel.REACH)


def ask(scene: Scene, path: str = SCRIPT) -> tuple[set[str], list[Finding]]:
    entry = scene.tree.entries[path]
    found = list(make().needs(scene, entry))
    paths = {item.path for item in found if isinstance(item, Need)}
    return paths, [item for item in found if isinstance(item, Finding)]


def commands(script: str, extra: Mapping[str, Content] | None = None) -> set[str]:
    paths, _ = ask(scene_of(files(script, extra)))
    return {p.removeprefix("/usr/bin/") for p in paths}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("if false; then curl x; else jq .; fi", {"curl", "jq"}),
        ("case $1 in a) sed -i s/a/b/ f ;; *) id ;; esac", {"sed", "id"}),
        ("echo a | tee b | sort", {"tee", "sort"}),
        ('x="$(id -u)"', {"id"}),
        ("x=`hostname -f`", {"hostname"}),
        ("cat <<EOF | envsubst\n$(hostname) `date`\nEOF", {"envsubst", "hostname", "date"}),
        ("f() { chown a b; }\nf", {"chown"}),
        ("curl() { :; }\ncurl x", set()),
        ("exec su-exec redis redis-server --x", {"su-exec", "redis-server"}),
        ('exec gosu "$USER" redis-server', {"gosu", "redis-server"}),
        ("exec setpriv --reuid 5 --clear-groups redis-server", {"setpriv", "redis-server"}),
        ("exec tini -s -- redis-server", {"tini", "redis-server"}),
        ("env A=1 B=2 redis-server", {"env", "redis-server"}),
        ("A=1 timeout -k 1 5 curl -f x", {"timeout", "curl"}),
        ("xargs -0 -n 1 rm -f", {"xargs", "rm"}),
        (r"find . -type f -exec chmod 600 {} \; -execdir chown a {} +",
         {"find", "chmod", "chown"}),
        ("command -v jq >/dev/null && echo yes", {"jq"}),
        ("trap 'rm -f x; curl y' EXIT TERM", {"rm", "curl"}),
        ("eval 'jq .'", {"jq"}),
        ("sh -c 'curl x | jq .'", {"/bin/sh", "curl", "jq"}),
        ("sh -ec \"sed x\"", {"/bin/sh", "sed"}),
        ("BIN=/usr/bin/jq\n$BIN .", {"jq"}),
        ("BIN=/usr/bin\nTOOL=${BIN}/jq\n\"$TOOL\" .", {"jq"}),
        (": ${TOOL:=jq}\n$TOOL .", {"jq"}),
        ("${TOOL:-jq} .", {"jq"}),
        ("for t in jq sed; do $t x; done", {"jq", "sed"}),
        ("run() { \"$@\"; }\nrun --quiet jq .", {"jq"}),
        ("test -f x", set()),
        ("[ -f x ] && [[ -n $y ]]", set()),
        ("! grep -q x y || (sed 1d; date) & { id; }", {"grep", "sed", "date", "id"}),
        ("while read -r l; do cut -c1 <<<\"$l\"; done < <(sort f)", {"cut", "sort"}),
        ("until nc -z db 5432; do sleep 1; done", {"nc", "sleep"}),
        ("a=1 # curl\nprintf '%s' 'curl'", set()),
        ("seq 3 | xargs -n1 test", {"xargs", "test"}),
        (r"find . -exec test -f {} \;", {"find", "test"}),
        ("exec test -f x; command test -f x", {"test"}),
        ("missing-tool x", set()),
        ("exec \"$@\"", set()),
    ],
)  # fmt: skip
def test_commands_of_every_branch(text: str, wanted: set[str]) -> None:
    assert commands(f"#!/bin/sh\nset -e\n{text}\n") == wanted


def test_sourced_files_share_names_and_are_read() -> None:
    extra: dict[str, Content] = {
        "/usr/local/bin/lib.sh": "TOOL=jq\nhelper() { curl x; }\n. /etc/more\n",
        "/etc/more": "sed x\n. /usr/local/bin/lib.sh\n",
    }
    text = '#!/bin/bash\nDIR=$(cd "$(dirname "$0")" && pwd)\n. "$DIR/lib.sh"\nhelper; $TOOL\n'
    assert commands(text, extra) == {"/usr/local/bin/lib.sh", "/etc/more", "curl", "sed", "jq"}


@pytest.mark.parametrize("spelling", ['"$(dirname "$0")/lib"', '"${0%/*}/lib"', "./lib", "lib",
                                      '"$(dirname "$(readlink -f "$0")")"/lib'])  # fmt: skip
def test_sourced_file_beside_the_script(spelling: str) -> None:
    assert "/usr/local/bin/lib" in commands(
        f"#!/bin/sh\n. {spelling}\n", {"/usr/local/bin/lib": ""}
    )


def test_folder_of_fragments_is_kept() -> None:
    extra: dict[str, Content] = {"/entry.d/10-a.sh": Exec(b"#!/bin/sh\n"), "/entry.d/b.envsh": "x"}
    text = 'find "/entry.d/" -follow -type f -print | sort -V | while read -r f; do . "$f"; done'
    assert {"/entry.d/10-a.sh", "/entry.d/b.envsh"} <= commands(f"#!/bin/sh\n{text}\n", extra)
    text = 'for f in /entry.d/*.sh; do [ -x "$f" ] && "$f"; done'
    assert commands(f"#!/bin/sh\n{text}\n", extra) == {"/entry.d/10-a.sh"}


def test_large_folder_costs_a_finding() -> None:
    extra: dict[str, Content] = {f"/data/x/{n}": "" for n in range(300)}
    paths, findings = ask(scene_of(files("#!/bin/sh\nfind /data/x -type f\n", extra)))
    assert "/data/x/1" not in paths
    assert any("too large" in f.message for f in findings)


def test_named_files() -> None:
    extra: dict[str, Content] = {"/etc/a.conf": "", "/etc/b.tmpl": "", "/srv/site/x": ""}
    text = "#!/bin/sh\nserver --config=/etc/a.conf\nB=/etc/b.tmpl\nexport D=/srv/site\n"
    assert {"/etc/a.conf", "/etc/b.tmpl", "/srv/site"} <= commands(text, extra)


def test_text_given_to_the_shell() -> None:
    content = files("", {"/usr/bin/sh": Link("/bin/dash"), "/bin/dash": Exec(b"\x7fELF")})
    content["/bin/sh"] = Link("dash")
    config = ImageConfig(
        entrypoint=("/bin/sh", "-c", "exec redis-server"),
        healthcheck=Healthcheck(("CMD-SHELL", "curl -f localhost || exit 1")),
    )
    scene = scene_of(content, config, frozenset({("sh", "-c", "jq . | sed x"), ("curl", "sh")}))
    paths, _ = ask(scene, "/bin/dash")
    assert paths == {f"/usr/bin/{t}" for t in ("redis-server", "curl", "jq", "sed")}


def test_script_without_a_shebang_given_to_a_shell() -> None:
    content = files("", {"/app/run": "jq .\n"})
    scene = scene_of(content, None, frozenset({("sh", "-e", "/app/run")}), frozenset({"/app/run"}))
    assert ask(scene, "/app/run")[0] == {"/usr/bin/jq"}


@pytest.mark.parametrize(
    "text",
    ["if then fi ((( <<< jq", "f() {\n", "case", "\x00\x01\x02", "'", "$((", "\udcff\udcfe jq\n",
     "cat <<EOF\nnever ended", "a() { a; }\na\n", "$(" * 300, "(" * 5000],
)  # fmt: skip
def test_bad_text_costs_precision_only(text: str) -> None:
    ask(scene_of(files(f"#!/bin/sh\ncurl x\n{text}")))
    paths, _ = ask(scene_of(files(f"#!/bin/sh\ncurl x\n{text}")))
    if len(text) < 50:
        assert "/usr/bin/curl" in paths


def test_syntax_error_is_a_finding() -> None:
    paths, findings = ask(scene_of(files("#!/bin/sh\ncurl x\nif then ((\n")))
    assert "/usr/bin/curl" in paths
    assert [f.rule for f in findings] == ["shell"]


def test_text_that_does_not_parse_is_read_by_separators() -> None:
    text = (
        "#!/bin/sh\ncase $x in\n  a) X=1 curl y | jq . && { sed z; }\n  # grep\nif (( ; then id\n"
    )
    paths, findings = ask(scene_of(files(text)))
    assert {f"/usr/bin/{t}" for t in ("curl", "jq", "sed", "id")} <= paths
    assert "/usr/bin/grep" not in paths
    assert findings


def test_files_that_are_no_scripts() -> None:
    content = files("", {"/a": Exec(b"#!/usr/bin/python3\nimport os\n"), "/b.txt": "curl x\n"})
    scene = scene_of(content, touched=frozenset({"/b.txt"}))
    assert ask(scene, "/a") == (set(), [])
    assert ask(scene, "/b.txt") == (set(), [])


@pytest.mark.parametrize(
    ("head", "shell"),
    [(b"#!/bin/sh -e\n", "sh"), (b"#! /usr/bin/env bash\n", "bash"), (b"#!/bin/busybox ash", "ash"),
     (b"#!/usr/bin/env -S A=1 bash -e\n", "bash"), (b"#!/command/with-contenv bash\n", "bash"),
     (b"#!/usr/bin/python3\n", ""), (b"#!\n", ""), (b"sh", ""),
     (b"#!/command/execlineb -P\n", "execlineb")],
)  # fmt: skip
def test_interpreter(head: bytes, shell: str) -> None:
    assert interpreter(head) == shell


def test_execline_words_are_programs() -> None:
    assert commands("#!/command/execlineb -P\n# jq\nforeground { curl x }\nredis-server\n") == {
        "curl",
        "redis-server",
    }


def test_path_set_in_the_script_counts() -> None:
    extra: dict[str, Content] = {"/opt/x/bin/tool": Exec(b"\x7fELF")}
    text = "#!/bin/sh\nexport PATH=/opt/x/bin:$PATH\ntool\n"
    assert "/opt/x/bin/tool" in commands(text, extra)


def test_values_are_bounded() -> None:
    many = "\n".join(f"v=x{n}" for n in range(1000)) + "\necho $v$v$v$v\n"
    names = Names("", "/")
    script = read_script(many.encode(), names)
    assert not script.broken
    assert all(len(word) <= 8 for command in script.commands for word in command.words)


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("/etc/cron.d/job", "MAILTO=x\n# a b\n5 4 * * 1-5 root curl x | jq .\n", {"curl", "jq"}),
        ("/etc/crontab", "@daily root cd / && run-parts x\n17 * * * * bob sed p f\n", {"sed"}),
        ("/var/spool/cron/crontabs/bob", "*/5 * * * * date >/tmp/x\n", {"date"}),
        ("/etc/supervisor/conf.d/a.conf",
         "[program:a]\ncommand = gosu bob %(ENV_X)s redis-server\nautostart=false\n",
         {"gosu", "redis-server"}),
        ("/app/Procfile", "web: env A=1 curl x\n", {"env", "curl"}),
        ("/etc/logrotate.d/app", "/log {\n postrotate\n  xargs id\n endscript\n}\n",
         {"xargs", "id"}),
        ("/app/crontab", "0 0 * * * sort f\n", {"sort"}),
        ("/app/notes", "0 0 * * * sort f\n", set()),
    ],
)  # fmt: skip
def test_tables_of_commands(path: str, text: str, wanted: set[str]) -> None:
    found, _ = ask(scene_of(files("", {path: text})), path)
    assert {p.removeprefix("/usr/bin/") for p in found} == wanted


def test_a_crontab_runs_the_jobs_that_a_layer_above_the_base_brought() -> None:
    table = "25 6 * * * root test -x /x || ( cd / && run-parts --report /etc/cron.daily )\n"
    jobs = {f"/etc/cron.daily/{n}": Exec("#!/bin/sh\n") for n in ("logrotate", "dpkg", "a.old")}
    made = tree(files("", {"/etc/crontab": table, "/usr/bin/run-parts": Exec("x"), **jobs}))
    base = "/etc/cron.daily/dpkg"
    layered = {p: replace(e, layer=int(p != base)) for p, e in made.entries.items()}
    scene = replace(scene_of({}), tree=Tree(layered, made.opener))
    assert ask(scene, "/etc/crontab")[0] == {
        "/etc/cron.daily/logrotate", "/usr/bin/run-parts"
    }  # fmt: skip
    alone = {
        p: replace(e, layer=int(not p.startswith("/etc/cron.daily"))) for p, e in layered.items()
    }
    scene = replace(scene, tree=Tree(alone, made.opener))
    assert ask(scene, "/etc/crontab")[0] == set()


def test_scripts_of_a_package_json_where_npm_runs_them() -> None:
    scripts = '{"scripts": {"start": "node x", "migrate": "knex up && date", "test": "jest; id"}}'
    content = files("", {"/app/package.json": scripts,
                         "/app/node_modules/.bin/knex": Exec("#!/usr/bin/node"),
                         "/app/node_modules/.bin/jest": Exec("#!/usr/bin/node")})  # fmt: skip
    started = frozenset({("npm", "start")})
    found, _ = ask(scene_of(content, argvs=started), "/app/package.json")
    assert found == {"/app/node_modules/.bin/knex", "/usr/bin/date"}
    found, _ = ask(scene_of(content), "/app/package.json")
    assert found == set()


DPKG: dict[str, Content] = {
    "/var/lib/dpkg/info/base.list": "/bin/sh\n"
}  # who brought what is known


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ('case "$1" in\n  jq|curl) shift; exec "$@";;\nesac', {"jq", "curl"}),
        ('case "$1" in jq) exec gosu app "$@" ;; esac', {"jq", "gosu"}),
        ('if [ "$1" = \'jq\' ]; then id; fi\nexec "$@"', {"jq", "id"}),
        ('[[ "${1:-}" == "jq" ]] && id\n"$@"', {"jq", "id"}),
        ('case "$1" in jq) id ;; esac', {"id"}),  # a word of its own, no command that it runs
        ('# exec "$@"\ncase "$1" in jq) id ;; esac', {"id"}),
    ],
)
def test_commands_that_an_entrypoint_offers(script: str, wanted: set[str]) -> None:
    found = commands(f"#!/bin/bash\n{script}\n", DPKG)
    assert found & {"jq", "curl", "gosu", "id"} == wanted
    by_package = {"/var/lib/dpkg/info/base.list": f"/bin/sh\n{SCRIPT}\n"}
    mine = commands(f"#!/bin/bash\n{script}\n", by_package)
    assert mine & {"jq", "curl"} <= {"jq"} - wanted | (mine & set())


def test_scripts_that_somebody_may_mount_are_made_of_the_usual_commands() -> None:
    loop = '#!/bin/sh\nfor f in /docker-entrypoint.d/*; do case "$f" in *.sh) . "$f";; esac; done\n'
    assert {"rm", "sed", "grep", "chown"} <= commands(loop, DPKG)
    assert "jq" not in commands(loop, DPKG)
    assert "sed" not in commands("#!/bin/sh\ncat /etc/app.d/x.conf\n", DPKG)


@pytest.mark.parametrize(
    ("line", "login"),
    [
        ("bash -lc env", True),
        ("su - app -c env", True),
        ("sh --login", True),
        ("bash -ec ls", False),
    ],
)
def test_a_login_shell_reads_the_profiles(line: str, login: bool) -> None:
    profiles: dict[str, Content] = {
        "/etc/profile": "id\n", "/etc/profile.d/z.sh": "x=1\n", "/root/.bashrc": "x=1\n", **DPKG,
    }  # fmt: skip
    paths, _ = ask(scene_of(files(f"#!/bin/sh\n{line}\n", profiles)))
    assert ({"/etc/profile", "/etc/profile.d/z.sh", "/root/.bashrc"} <= paths) == login


def test_a_script_that_is_only_sourced_is_read() -> None:
    plug: dict[str, Content] = {"/opt/app/plug.sh": "jq . x\n", **DPKG}
    assert ask(scene_of(files("", plug)), "/opt/app/plug.sh")[0] == {"/usr/bin/jq"}
    packaged = {**plug, "/var/lib/dpkg/info/base.list": "/opt/app/plug.sh\n"}
    assert ask(scene_of(files("", packaged)), "/opt/app/plug.sh")[0] == set()


def test_package_managers_count_in_the_authors_own_scripts_only() -> None:
    apt: dict[str, Content] = {"/usr/bin/apt-get": Exec(b"\x7fELF")}
    script = "#!/bin/sh\napt-get install -y jq && jq .\n"
    assert commands(script, {**DPKG, **apt}) == {"apt-get", "jq"}
    listed: dict[str, Content] = {"/var/lib/dpkg/info/base.list": f"{SCRIPT}\n"}
    assert commands(script, {**listed, **apt}) == {"jq"}
