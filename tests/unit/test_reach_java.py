"""What a virtual machine, its class path and exploded classes need."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

import pytest

from minify.model import Finding, ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.java import make
from minify.resolvers.java_archive import arguments, class_name, class_path, options
from tests.kit import Content, Exec, Link, tree

HOME = "/usr/lib/jvm/jdk"
MACHINE = f"{HOME}/lib/server/libjvm.so"


def jar(manifest: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)
    return out.getvalue()


def a_class(name: str) -> bytes:
    """A class file as far as `this_class`, with a long (two slots) before the name."""
    text = name.encode()
    pool = b"\x05" + bytes(8) + b"\x01" + struct.pack(">H", len(text)) + text + b"\x07\x00\x03"
    return b"\xca\xfe\xba\xbe" + bytes(4) + struct.pack(">H", 5) + pool + b"\x00\x21\x00\x04"


JDK: dict[str, Content] = {
    f"{HOME}/bin/java": Exec(b"\x7fELF"),
    f"{HOME}/lib/modules": "m",
    f"{HOME}/lib/tzdb.dat": "t",
    f"{HOME}/lib/libnet.so": "n",
    f"{HOME}/lib/libawt_xawt.so": "x",
    f"{HOME}/lib/jspawnhelper": Exec(b"\x7fELF"),
    f"{HOME}/lib/src.zip": "s",
    f"{HOME}/lib/ct.sym": "s",
    f"{HOME}/lib/server/classes_nocoops.jsa": "s",
    f"{HOME}/lib/security/cacerts": Link("/etc/ssl/certs/java/cacerts"),
    f"{HOME}/lib/security/default.policy": "p",
    f"{HOME}/conf/net.properties": Link("/etc/java/net.properties"),
    f"{HOME}/conf/security": Link("/etc/java/security"),
    f"{HOME}/legal/x": "l",
    f"{HOME}/release": "r",
    "/etc/java/net.properties": "n",
    "/etc/java/security/java.security": "s",
    "/etc/ssl/certs/java/cacerts": "c",
    MACHINE: "jvm",
}


def ask(
    extra: Mapping[str, Content],
    path: str,
    argvs: frozenset[tuple[str, ...]] = frozenset(),
    env: dict[str, str] | None = None,
) -> tuple[set[str], list[Finding]]:
    made = tree({**JDK, **extra})
    touched = frozenset({path, *(extra if path != MACHINE else ())})
    scene = Scene(
        made, ImageConfig(workdir="/app"), env or {}, argvs, touched, frozenset(), KeepLevel.REACH
    )
    found = list(make().needs(scene, made.entries[path]))
    paths = {item.path for item in found if isinstance(item, Need)}
    return paths, [item for item in found if isinstance(item, Finding)]


def test_run_time_image_is_kept_without_tooling() -> None:
    paths, findings = ask({}, MACHINE)
    for name in ("lib/modules", "lib/tzdb.dat", "lib/libnet.so", "lib/jspawnhelper", "release",
                 "lib/security/cacerts", "conf/net.properties", "conf/security"):  # fmt: skip
        assert f"{HOME}/{name}" in paths
    assert "/etc/java/security/java.security" in paths
    assert "/etc/ssl/certs/java/cacerts" in paths
    for name in ("lib/src.zip", "lib/ct.sym", "legal/x", "lib/libawt_xawt.so",
                 "lib/server/classes_nocoops.jsa"):  # fmt: skip
        assert f"{HOME}/{name}" not in paths
    assert not findings


def test_display_libraries_only_with_a_display() -> None:
    paths, _ = ask({}, MACHINE, env={"DISPLAY": ":0"})
    assert f"{HOME}/lib/libawt_xawt.so" in paths


def test_launcher_alone_leads_to_the_same() -> None:
    assert ask({}, f"{HOME}/bin/java")[0] == ask({}, MACHINE)[0]


def test_java_8_layout() -> None:
    extra: dict[str, Content] = {
        "/opt/jdk8/bin/java": Exec(b"\x7fELF"),
        "/opt/jdk8/jre/lib/rt.jar": "",
        "/opt/jdk8/jre/lib/ext/sunec.jar": "",
    }
    assert "/opt/jdk8/jre/lib/ext/sunec.jar" in ask(extra, "/opt/jdk8/bin/java")[0]


def test_a_file_called_java_is_no_machine() -> None:
    assert ask({"/usr/share/java": "x"}, "/usr/share/java") == (set(), [])


CLASS_PATHS: list[tuple[tuple[str, ...], set[str]]] = [
    (("java", "-cp", "/app/a.jar:lib/*", "Main"), {"/app/a.jar", "/app/lib/b.jar"}),
    (("/usr/bin/java", "-jar", "a.jar"), {"/app/a.jar"}),
    (("java", "--module-path=/app/lib", "-m", "x"), {"/app/lib/b.jar", "/app/lib/c.txt"}),
    (("java", "-javaagent:/app/agent.jar=x=/y", "-Dlog=file:/app/log.xml"),
     {"/app/agent.jar", "/app/log.xml"}),
    (("java", "@/app/args"), {"/app/args", "/app/a.jar", "/app/agent.jar"}),
    (("java", "-Dhome=/app/classes", "Main"), {"/app/classes/x.properties"}),
    (("java", "-Djava.io.tmpdir=/tmp", "-cp", "missing.jar"), set()),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "wanted"), CLASS_PATHS)
def test_class_path(argv: tuple[str, ...], wanted: set[str]) -> None:
    extra: dict[str, Content] = {
        "/app/a.jar": "", "/app/lib/b.jar": "", "/app/lib/c.txt": "", "/app/agent.jar": "",
        "/app/log.xml": "", "/app/args": "-cp\n'/app/a.jar'\n/app/agent.jar",
        "/app/classes/x.properties": "", "/tmp/secret": "",
    }  # fmt: skip
    paths, _ = ask(extra, MACHINE, frozenset({argv}))
    app = {p for p in paths if p.startswith(("/app", "/tmp"))}
    assert wanted <= app
    assert "/tmp/secret" not in app
    named = {p for p in extra if p in app}
    assert named == wanted


@pytest.mark.parametrize("name", ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"])
def test_options_from_the_environment(name: str) -> None:
    extra: dict[str, Content] = {"/otel/agent.jar": ""}
    assert "/otel/agent.jar" in ask(extra, MACHINE, env={name: "-javaagent:/otel/agent.jar"})[0]


def test_manifest_and_the_jars_beside() -> None:
    extra: dict[str, Content] = {
        "/app/a.jar": jar("Class-Path: lib/b.jar lib/long-name-that-is\r\n -folded.jar res/\n"),
        "/app/lib/b.jar": "", "/app/lib/long-name-that-is-folded.jar": "",
        "/app/plugin.jar": "", "/app/res/x": "", "/app/notes.txt": "",
    }  # fmt: skip
    paths, _ = ask(extra, "/app/a.jar")
    assert paths >= set(extra) - {"/app/notes.txt"}
    assert "/app/notes.txt" not in paths


def test_shared_jar_folder_is_not_swept() -> None:
    extra: dict[str, Content] = {
        "/usr/share/java/a.jar": jar("A: b\n"),
        "/usr/share/java/z.jar": "",
    }
    assert ask(extra, "/usr/share/java/a.jar") == (set(), [])


def test_jar_of_a_web_application_keeps_it() -> None:
    extra: dict[str, Content] = {
        "/srv/webapps/shop/WEB-INF/lib/a.jar": jar("A: b\n"),
        "/srv/webapps/shop/page.jsp": "",
        "/srv/webapps/other/page.jsp": "",
    }
    paths, _ = ask(extra, "/srv/webapps/shop/WEB-INF/lib/a.jar")
    assert "/srv/webapps/shop/page.jsp" in paths
    assert "/srv/webapps/other/page.jsp" not in paths


def test_class_in_use_keeps_its_root() -> None:
    extra: dict[str, Content] = {
        "/app/classes/org/x/Main.class": a_class("org/x/Main"),
        "/app/classes/org/y/Lazy.class": "",
        "/app/classes/messages_de.properties": "",
        "/app/other": "",
    }
    paths, _ = ask(extra, "/app/classes/org/x/Main.class")
    assert {"/app/classes/org/y/Lazy.class", "/app/classes/messages_de.properties"} <= paths
    assert "/app/other" not in paths


@pytest.mark.parametrize("data", [b"", b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbe" + b"\xff" * 40,
                                  a_class("org/other/Name"), b"text"])  # fmt: skip
def test_bad_class_file_is_a_finding(data: bytes) -> None:
    paths, findings = ask({"/app/A.class": data}, "/app/A.class")
    assert paths == set()
    assert len(findings) == 1


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no jar", jar("")[:-8]])
def test_bad_jar_is_a_finding(data: bytes) -> None:
    _, findings = ask({"/app/a.jar": data}, "/app/a.jar")
    assert [f.rule for f in findings] == ["java"]


def test_class_name_and_class_path() -> None:
    assert class_name(a_class("org/x/Main")) == "org/x/Main"
    assert class_path(io.BytesIO(jar("Main-Class: x\nclass-path: a.jar b.jar\n"))) == (
        "a.jar",
        "b.jar",
    )


def test_argument_file_words() -> None:
    assert arguments("-a 'b c'\n# no\n\"\" d") == ("-a", "b c", "", "d")


def test_options_take_their_values() -> None:
    entries, others = options(("-cp", "a:b", "-XX:SharedArchiveFile=/x.jsa", "Main", "/conf"))
    assert (entries, others) == (["a", "b"], ["/x.jsa", "/conf"])


def test_the_other_commands_of_the_run_time() -> None:
    files: dict[str, Content] = {
        f"{HOME}/bin/keytool": Exec(b"\x7fELF"),
        f"{HOME}/bin/large": Exec(b"\x7fELF" + bytes(1 << 17)),
        "/etc/alternatives/keytool": Link(f"{HOME}/bin/keytool"),
        "/usr/bin/keytool": Link("/etc/alternatives/keytool"),
        "/usr/bin/other": Exec(b"\x7fELF"),
    }
    found = ask(files, MACHINE)[0]
    assert {f"{HOME}/bin/keytool", "/usr/bin/keytool"} <= found
    assert not found & {f"{HOME}/bin/large", "/usr/bin/other"}
