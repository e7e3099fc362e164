"""Commands that source code starts by name."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from minify.model import ImageConfig, KeepLevel
from minify.resolvers import Need, Scene
from minify.resolvers.calls import make
from minify.resolvers.calls_text import commands, kind_of
from minify.tree import Tree
from tests.kit import Content, Exec, tree

TOOLS: dict[str, Content] = {f"/usr/bin/{n}": Exec(b"\x7fELF")
    for n in (
        "convert", "id", "date", "env", "sh", "tr", "tesseract", "git", "nice", "gcc", "find"
    )
}  # fmt: skip


def called(files: Mapping[str, Content], path: str) -> set[str]:
    made = tree({**TOOLS, **files})
    scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(), KeepLevel.REACH)
    items = make().needs(scene, made.entries[path])
    return {item.path.rpartition("/")[2] for item in items if isinstance(item, Need)}


@pytest.mark.parametrize(
    ("path", "text", "wanted"),
    [
        ("/app/a.py", "import subprocess\nsubprocess.run(['convert', x])", {"convert"}),
        ("/app/a.py", "import os\nos.system(f'id -u; date {x} | tr a b')", {"id", "date", "tr"}),
        ("/app/a.py", "import subprocess\nC = '/usr/bin/convert'\n", {"convert"}),
        ("/app/a.py", "NAMES = ['convert', 'date']", set()),
        ("/app/a.js", "require('child_process').exec(`convert ${a} | tr a-z A-Z`)",
         {"convert", "tr"}),
        ("/app/a.php", "<?php echo shell_exec('nice -n 5 convert x'); `date`;",
         {"nice", "convert", "date"}),
        ("/app/a.rb", "out = %x(convert a b)\nIO.popen(%w[date -u])", {"convert", "date"}),
        ("/usr/sbin/tool", "#!/usr/bin/perl\nmy @l = qx{env - sh -c '. $file && id'};",
         {"env", "sh", "id"}),
        ("/app/a.lua", 'local f = io.popen("date -u")', {"date"}),
        ("/app/notes.txt", "system('convert')", set()),
    ],
)  # fmt: skip
def test_commands_named_in_own_sources(path: str, text: str, wanted: set[str]) -> None:
    content = Exec(text) if text.startswith("#!") else text
    assert called({path: content}, path) == wanted


def test_of_a_library_only_bare_names_of_installed_programs() -> None:
    path = "/usr/lib/python3/dist-packages/ocr.py"
    text = "import subprocess\ncmd = 'tesseract'\nDOC = 'find a text'\ncompiler = 'gcc'\n"
    assert called({path: text}, path) == {"tesseract"}


def test_a_library_names_its_commands_in_other_files_than_the_one_that_starts_them() -> None:
    gem = "/var/lib/gems/3.1.0/gems/magick-4.1"
    files = {f"{gem}/lib/magick/shell.rb": "Open3.capture3(*command)",
             f"{gem}/lib/magick/tool/convert.rb": 'super("convert", *args)',
             f"{gem}/lib/magick/git.rb": 'x = "git"', f"{gem}/spec/a.rb": 'x = "tesseract"',
             "/var/lib/gems/3.1.0/gems/other-1/lib/o.rb": 'x = "tesseract"'}  # fmt: skip
    assert called(files, f"{gem}/lib/magick/shell.rb") == {"convert"}
    assert called(files, f"{gem}/lib/magick/tool/convert.rb") == set()


def test_the_standard_library_and_installers_are_not_asked() -> None:
    text = "import subprocess\nsubprocess.run(['git'])"
    for path in ("/usr/lib/python3.11/uuid.py", "/usr/lib/python3/dist-packages/pip/vcs.py"):
        assert called({path: text}, path) == set()


def test_kinds_of_source() -> None:
    assert kind_of("/app/x.mjs", b"") == "node"
    assert kind_of("/usr/bin/tool", b"#!/usr/bin/env python3\n") == "python"
    assert kind_of("/usr/bin/tool", b"#!/bin/sh\n") == ""
    assert kind_of("/app/Makefile", b"") == ""
    assert list(commands("python", b"x = 'id'")) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ('{"dir_info": {}, "url": "file:///src"}', {"convert", "id", "tr"}),
        ('{"archive_info": {}, "url": "file:///src/x.whl"}', set()),
        ("[]", set()),
        ("no json", set()),
    ],
)
def test_an_application_that_pip_installed_from_its_sources_is_no_library(
    url: str, wanted: set[str]
) -> None:
    site = "/opt/venv/lib/python3.11/site-packages"
    files = {
        f"{site}/shop/views.py": "import subprocess\nsubprocess.run('convert x; id | tr a b')",
        f"{site}/shop-1.dist-info/RECORD": "shop/views.py,,\nshop-1.dist-info/RECORD,,\n",
        f"{site}/shop-1.dist-info/direct_url.json": url,
    }
    assert called(files, f"{site}/shop/views.py") == wanted


GO_MARK = b"os/exec.(*Cmd).Start"


def go_elf(body: bytes) -> bytes:
    """An ELF program of one segment, with the name of a function that starts programs."""
    body, at, base = body + GO_MARK, 64 + 56, 0x400000
    head = b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", 62) + bytes(12)
    head += struct.pack("<Q", 64) + bytes(14) + struct.pack("<HH", 56, 1) + bytes(6)
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, at + len(body), at + len(body), 1)
    return head + body


# How Go compilers pass a constant: code before LEA, LEA, code after; LLLL is its length.
GO_FORMS = {
    "first, before Go 1.17": (b"", b"\x48\x8d\x05", b"\x48\x89\x04\x24\x48\xc7\x44\x24\x08LLLL"),
    "first": (b"", b"\x48\x8d\x05", b"\xbbLLLL"),
    "first, length before": (b"\xbbLLLL", b"\x48\x8d\x05", b""),
    "first, length shared": (b"\xbfLLLL\x48\x89\xfe", b"\x48\x8d\x05", b"\x48\x89\xf3"),
    "after one": (b"", b"\x48\x8d\x1d", b"\xb9LLLL"),
    "after one, length before": (b"\xb9LLLL", b"\x48\x8d\x1d", b""),
    "after two": (b"", b"\x48\x8d\x0d", b"\xbfLLLL"),
    "after two, length before": (b"\xbfLLLL", b"\x48\x8d\x0d", b""),
    "after two, length shared": (b"\x41\xb8LLLL\x4d\x89\xc1", b"\x48\x8d\x0d", b"\x4c\x89\xc7"),
    "after three": (b"", b"\x48\x8d\x3d", b"\xbeLLLL"),
    "after four": (b"", b"\x48\x8d\x35", b"\x41\xb8LLLL"),
    "after four, length before": (b"\x41\xb8LLLL", b"\x48\x8d\x35", b""),
    # MOV R10D, length; CMOVE RBX, R10; LEA R11, address; CMOVE RAX, R11
    "by default": (b"\x41\xbaLLLL\x49\x0f\x44\xda", b"\x4c\x8d\x1d", b"\x49\x0f\x44\xc3"),
    # MOV ECX, length; CMOVE RDI, RCX; MOV RCX, [RSP+0x40]; LEA RDX, address; CMOVE RCX, RDX
    "by default, reloaded": (b"\xb9LLLL\x48\x0f\x44\xf9\x48\x8b\x4c\x24\x40",
                             b"\x48\x8d\x15", b"\x48\x0f\x44\xca"),
}  # fmt: skip


def go_program(calls: Iterable[tuple[str, str, int]], between: bytes = b"") -> bytes:
    """A program whose code passes each constant in a form to the function at that place."""
    calls = list(calls)
    texts = "".join(dict.fromkeys(text for text, _, _ in calls)).encode()
    code, size = bytearray(), 30 + len(between)
    at = len(go_elf(b"")) - len(GO_MARK)
    for number, (text, form, function) in enumerate(calls, 1):
        before, lea, after = (
            part.replace(b"LLLL", struct.pack("<I", len(text))) for part in GO_FORMS[form]
        )
        next_code = at + len(code) + len(before) + 7
        target = at + size * len(calls) + texts.index(text.encode())
        code += before + lea + struct.pack("<i", target - next_code) + after + between
        code += b"\x90" * (number * size - 5 - len(code))
        code += b"\xe8" + struct.pack("<i", function - (at + number * size))
    return go_elf(bytes(code) + texts + bytes(10000))


@pytest.mark.parametrize("form", GO_FORMS)
def test_commands_that_a_go_program_passes_to_a_function(form: str) -> None:
    given = {"convert": 9008, "sh": 9008, "tr": 7008, "not found: %q": 7008, "find": 8000}
    data = go_program((text, form, function) for text, function in given.items())
    listed = {"/var/lib/dpkg/info/x.list": "/usr/bin/theirs\n", "/usr/bin/theirs": Exec(data)}
    # `tr` is handed to a function that takes sentences too
    assert called({**listed, "/app/server": Exec(data)}, "/app/server") == {"convert", "sh", "find"}
    assert called({**listed}, "/usr/bin/theirs") == set()
    other = data.replace(b"os/exec", b"os/exit")
    assert called({**listed, "/app/server": Exec(other)}, "/app/server") == set()
    refused = bytearray(data)  # by the kernel, too: headers of no size, a great many
    struct.pack_into("<HH", refused, 54, 0, 0xFFFF)
    assert called({**listed, "/app/server": Exec(bytes(refused))}, "/app/server") == set()
    for cut in (10, 70, 130):
        assert called({**listed, "/app/server": Exec(data[:cut])}, "/app/server") == set()


def go_calls(*calls: tuple[str, str, int], between: bytes = b"") -> set[str]:
    files = {"/var/lib/dpkg/info/x.list": "/usr/bin/find\n",
             "/app/server": Exec(go_program(calls, between))}  # fmt: skip
    return called(files, "/app/server")


def test_each_argument_of_a_go_function_is_judged_alone() -> None:
    passed = [("git", "after two", 9008), ("no such thing", "first", 9008)]
    assert go_calls(*passed) == {"git"}
    assert go_calls(*passed, ("a message", "after two", 9008)) == set()


def test_words_that_a_go_program_uses_for_something_else_are_no_commands() -> None:
    headers = ("Accept", "Age", "ETag", "Host")
    as_second = [(text, "after one", 9008) for text in headers]
    assert go_calls(("date", "after one", 9008), *as_second) == set()
    assert go_calls(("date", "after one", 9008), *as_second[1:]) == {"date"}
    as_first = [(text, "first", 9008) for text in headers]  # tools that this image does without
    assert go_calls(("date", "first", 9008), *as_first) == {"date"}


def test_the_function_that_a_go_program_calls_is_the_next_one() -> None:
    passed = [("git", "first", 9008), ("in the way", "first", 7008)]
    number = b"\xb9\xe8\0\0\0"  # MOV ECX, 0xE8: no call, though one of its bytes is
    assert go_calls(*passed, between=number) == {"git"}
    assert go_calls(*passed, between=b"\xff\xd1") == set()  # CALL RCX


@pytest.mark.parametrize(
    ("lea_slice", "mov_slice"),
    [(b"\x48\x8d\x15", b"\x48\x89\x54"), (b"\x4c\x8d\x0d", b"\x4c\x89\x4c")],  # RDX, R9
)
def test_of_a_shell_that_a_go_program_starts_its_text_is_read(
    lea_slice: bytes, mov_slice: bytes
) -> None:
    # exec.Command("sh", "-c", "id | tr a b"), as Go 1.19 compiles it
    texts = [b"-c", b"id | tr a b", b"sh"]
    size, at = 65, 64 + 56
    places = [at + size + len(b"".join(texts[:n])) for n in range(3)]

    def lea(code: bytes, text: int, here: int) -> bytes:
        return code + struct.pack("<i", places[text] - (at + here + 7))

    code = lea(lea_slice, 0, 0) + mov_slice + b"\x24\x60\x48\xc7\x44\x24\x68\x02\0\0\0"
    code += lea(lea_slice, 1, 21) + mov_slice + b"\x24\x70\x48\xc7\x44\x24\x78\x0b\0\0\0"
    code += b"\xbf\x02\0\0\0\x48\x89\xfe" + lea(b"\x48\x8d\x05", 2, 50)
    code += b"\x48\x89\xf3\xe8" + struct.pack("<i", 0x200 - (at + size))
    assert len(code) == size
    program = go_elf(code + b"".join(texts) + bytes(0x200))
    listed = {"/var/lib/dpkg/info/x.list": "/usr/bin/find\n"}
    found = called({**listed, "/app/server": Exec(program)}, "/app/server")
    assert found == {"sh", "id", "tr"}


def test_commands_in_the_strings_of_an_own_program() -> None:
    start = b"\x7fELF\0popen\0"
    text = start + b"date -u -d @0\0nice -n 5 id\0tr is short\0convert\0find the answer\0"
    listed = {"/var/lib/dpkg/info/x.list": "/usr/bin/theirs\n/usr/bin/date\n"}
    base = {f"/usr/bin/{name}": 0 for name in ("date", "id", "tr", "find", "nice")}

    def found(path: str, data: bytes) -> set[str]:
        made = tree({**TOOLS, **listed, path: Exec(data)})
        entries = {p: replace(e, layer=base.get(p, 1)) for p, e in made.entries.items()}
        made = Tree(entries, made.opener)
        scene = Scene(made, ImageConfig(), {}, frozenset(), frozenset(), frozenset(),
                      KeepLevel.REACH)  # fmt: skip
        items = make().needs(scene, made.entries[path])
        return {item.path.rpartition("/")[2] for item in items if isinstance(item, Need)}

    assert found("/app/server", text) == {"date", "nice", "id", "convert"}
    assert found("/usr/bin/theirs", text) == set()  # a package's: it says itself what it needs
    assert found("/app/server", text.replace(b"popen", b"other")) == set()


def a_class(*constants: str, starts: str = "java/lang/ProcessBuilder") -> bytes:
    """A class file that mentions a class and has some string constants (JVM spec., 4.1, 4.4)."""
    texts = [starts.encode(), *(c.encode() for c in constants)]
    pool = b"".join(b"\x01" + struct.pack(">H", len(t)) + t for t in texts)
    pool += b"\x07" + struct.pack(">H", 1)
    pool += b"".join(b"\x08" + struct.pack(">H", n + 2) for n in range(len(constants)))
    count = 1 + len(texts) + 1 + len(constants)
    return b"\xca\xfe\xba\xbe" + bytes(4) + struct.pack(">H", count) + pool + b"\x00\x21\x00\x02"


def jar(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/") + ".class", data)
    return buffer.getvalue()


def started(path: str, data: bytes, *argv: str) -> set[str]:
    listed = {"/var/lib/dpkg/info/x.list": "/usr/share/java/theirs.jar\n/usr/bin/find\n"}
    made = tree({**TOOLS, **listed, path: data})
    base = {f"/usr/bin/{n}": 0 for n in ("date", "id", "find", "sh")}
    entries = {p: replace(e, layer=base.get(p, 1)) for p, e in made.entries.items()}
    made = Tree(entries, made.opener)
    scene = Scene(made, ImageConfig(workdir="/app"), {}, frozenset({argv}), frozenset(),
                  frozenset(), KeepLevel.REACH)  # fmt: skip
    items = make().needs(scene, made.entries[path])
    return {item.path.rpartition("/")[2] for item in items if isinstance(item, Need)}


def test_commands_in_the_classes_of_a_java_application() -> None:
    words = a_class("date", "sh", "-c", "convert a b | tr x y", "no such thing", "%s find")
    assert started("/app/A.class", words) == {"date", "sh", "convert", "tr"}
    assert started("/app/A.class", a_class("date", starts="java/lang/Object")) == set()
    assert started("/app/a.jar", jar(app__A=words), "java", "-jar", "a.jar") >= {"date", "convert"}
    named = ("java", "-cp", "/app/lib/b.jar:/app/a.jar", "Main")
    assert started("/app/a.jar", jar(A=words), *named) >= {"date", "convert"}
    assert started("/srv/app.war", jar(A=words)) >= {"date", "convert"}


def test_of_a_java_library_only_names_of_installed_programs() -> None:
    words = a_class("date", "convert", "tr x", "find", "git")
    assert started("/app/lib/b.jar", jar(A=words), "java", "-jar", "/app/a.jar") == {"convert"}
    assert started("/usr/share/java/theirs.jar", jar(A=words)) == set()


@pytest.mark.parametrize("data", [b"PK\3\4broken", jar(A=a_class("date"))[:-40], b"\xca\xfe" * 9])
def test_damaged_java_files_start_nothing(data: bytes) -> None:
    assert started("/app/a.jar", data, "java", "-jar", "/app/a.jar") == set()
    assert started("/app/A.class", data) == set()
