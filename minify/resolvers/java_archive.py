"""Facts from class files and jars: what a class is called, what a manifest names. Pure."""

from __future__ import annotations

import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Constant pool tags and the bytes that follow each (JVM specification, table 4.4-A).
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4,
          18: 4, 19: 2, 20: 2}  # fmt: skip


@dataclass(frozen=True)
class _Pool:
    """A class file's constant pool (JVM specification, 4.4): by index; `end` is what follows."""

    texts: dict[int, bytes]
    classes: dict[int, int]
    strings: tuple[int, ...]
    end: int


def _pool(data: bytes) -> _Pool | None:
    """Read the constant pool; None if it is no class file, or a damaged one."""
    texts: dict[int, bytes] = {}
    classes: dict[int, int] = {}
    strings: list[int] = []
    try:
        if data[:4] != b"\xca\xfe\xba\xbe":
            return None
        count, at, index = struct.unpack_from(">H", data, 8)[0], 10, 1
        while index < count:
            tag = data[at]
            if tag == 1:
                length = struct.unpack_from(">H", data, at + 1)[0]
                texts[index] = data[at + 3 : at + 3 + length]
                at += 3 + length
            else:
                if tag == 7:
                    classes[index] = struct.unpack_from(">H", data, at + 1)[0]
                elif tag == 8:
                    strings.append(struct.unpack_from(">H", data, at + 1)[0])
                at += 1 + _SIZES[tag]
            index += 2 if tag in (5, 6) else 1
    except (struct.error, KeyError, IndexError):
        return None
    return _Pool(texts, classes, tuple(strings), at)


def class_name(data: bytes) -> str:
    """The name of a class file's class, as "org/example/Main"; empty if it is no class file."""
    pool = _pool(data)
    try:
        this = struct.unpack_from(">H", data, pool.end + 2)[0] if pool else 0
        return pool.texts[pool.classes[this]].decode("utf-8", "surrogateescape") if pool else ""
    except (struct.error, KeyError):
        return ""


def literals(data: bytes) -> tuple[str, ...]:
    """The string constants of a class file, sorted; empty if it is no class file."""
    pool = _pool(data)
    found = {pool.texts.get(i, b"") for i in pool.strings} if pool else set()
    return tuple(sorted(text.decode("utf-8", "replace") for text in found))


def classes(stream: BinaryIO, most: int) -> Iterator[bytes]:
    """The class files of a jar, `most` bytes in all; none of a damaged one, nor of jars inside."""
    try:
        with zipfile.ZipFile(stream) as jar:
            for info in jar.infolist():
                if info.filename.endswith(".class") and info.file_size <= most:
                    most -= info.file_size
                    yield jar.read(info)
    except (zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return


def class_path(stream: BinaryIO) -> tuple[str, ...]:
    """The `Class-Path` of a jar's manifest, relative URLs as written; raises ValueError.

    JAR File Specification, "Main attributes": lines fold at 72 bytes, a space continues one.
    """
    try:
        with zipfile.ZipFile(stream) as jar:
            info = jar.getinfo("META-INF/MANIFEST.MF")
            if info.file_size > 4 * 1024 * 1024:
                raise ValueError("manifest too large")
            manifest = jar.read(info)
    except KeyError:
        return ()
    except (zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    text = manifest.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n ", "")
    found: list[str] = []
    for line in text.split("\n"):
        key, _, value = line.partition(":")
        if key.lower() == "class-path":
            found += value.split()
    return tuple(found)


def options(argv: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Split a `java` command line: the class path entries, and other paths it names (java(1))."""
    entries: list[str] = []
    others: list[str] = []
    words = iter(argv)
    for word in words:
        if word in ("-cp", "-classpath", "--class-path", "-p", "--module-path"):
            entries += next(words, "").split(":")
        elif word == "-jar":
            entries.append(next(words, ""))
        elif word.startswith(("--class-path=", "--module-path=", "-Xbootclasspath")):
            entries += word.partition("=" if word[1] == "-" else ":")[2].split(":")
        elif word.startswith("-D"):
            others += _path(word.partition("=")[2])
        elif word.startswith(("-javaagent:", "-agentpath:", "-XX:")):
            sign = "=" if word.startswith("-XX:") else ":"
            value = word.partition(sign)[2]
            others += _path(value if sign == "=" else value.partition("=")[0])
        else:
            others += _path(word)
    return [e for e in entries if e], others


def _path(value: str) -> list[str]:
    bare = value.removeprefix("file:").removeprefix("optional:").removeprefix("@")
    return [p for p in bare.split(":") if p.startswith("/")]


def arguments(text: str) -> tuple[str, ...]:
    """The words of an `@argfile` or of JAVA_TOOL_OPTIONS: by white space, quotes keep it."""
    words: list[str] = []
    word, quote, inside = "", "", False
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for char in [*line, "\n"]:
            if quote:
                quote, word = ("", word) if char == quote else (quote, word + char)
            elif char in "\"'":
                quote, inside = char, True
            elif char.isspace():
                words += [word] if word or inside else []
                word, inside = "", False
            else:
                word += char
    return tuple(words)


def beside(jar: str, url: str) -> str:
    """Where a relative URL in a jar's manifest leads."""
    bare = url.removeprefix("file:")
    return posixpath.normpath(posixpath.join(posixpath.dirname(jar), bare))
