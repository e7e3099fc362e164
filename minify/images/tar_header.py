"""Tar headers as bytes: POSIX ustar with PAX records where ustar cannot say it (pax(1), tar(5)).

Written by hand because `tarfile` spends more time per file on headers than reading it takes.
"""

from __future__ import annotations

from minify.model import Entry, Kind

BLOCK = 512
END = bytes(2 * BLOCK)
HARD_LINK = b"1"
TYPES = {
    Kind.FILE: b"0",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIR: b"5",
    Kind.FIFO: b"6",
}
NAME_MAX = 100
OCTAL_ID_MAX = 0o7777777
OCTAL_LONG_MAX = 0o77777777777


def padding(size: int) -> bytes:
    """The zero bytes that fill the last block of content of `size` bytes."""
    return bytes(-size % BLOCK)


def header(entry: Entry, mtime: int, *, twin: str = "") -> bytes:
    """Encode one entry, with its PAX header where needed.

    `twin` makes it a hard link to that path, stored earlier in the same archive.
    """
    pax: dict[str, bytes] = {}
    name = _text("path", member_name(entry), pax)
    target = member_path(twin) if twin else entry.link.encode("utf-8", "surrogateescape")
    size = entry.size if entry.kind is Kind.FILE and not twin else 0
    fields = (
        _number("uid", entry.uid, OCTAL_ID_MAX, pax),
        _number("gid", entry.gid, OCTAL_ID_MAX, pax),
        _number("size", size, OCTAL_LONG_MAX, pax),
        _number("mtime", mtime, OCTAL_LONG_MAX, pax),
    )
    link = _text("linkpath", target, pax)
    if not twin:
        # "=" ends the key of a PAX record (pax(1)): no reader could tell such a name back.
        pax.update({f"SCHILY.xattr.{k}": v for k, v in entry.xattrs if "=" not in k})
    kind = HARD_LINK if twin else TYPES[entry.kind]
    plain = _ustar(name, entry.mode, fields, (kind, link), entry.device)
    return pax_header(pax) + plain if pax else plain


def member_path(path: str) -> bytes:
    """A path as archives name it: relative, byte for byte."""
    return path.lstrip("/").encode("utf-8", "surrogateescape")


def member_name(entry: Entry) -> bytes:
    """The name an entry has in an archive: directories end in a slash, the root is `./`."""
    if entry.kind is not Kind.DIR:
        return member_path(entry.path)
    return member_path(entry.path) + b"/" if entry.path != "/" else b"./"


def plain_file(name: str, size: int) -> bytes:
    """Encode the header of an ordinary file of an archive of ours, with no date or owner."""
    return header(Entry("/" + name, Kind.FILE, 0o644, size=size), 0)


def pax_header(records: dict[str, bytes]) -> bytes:
    """Encode an extended header: its own block, then the records, sorted, padded."""
    if any(not _is_utf8(v) for k, v in records.items() if k in ("path", "linkpath")):
        records = {"hdrcharset": b"BINARY", **records}
    # hdrcharset sorts before path and linkpath, which it applies to.
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    fields = (0, 0, len(body), 0)
    block = _ustar(b"././@PaxHeader", 0, fields, (b"x", b""), (0, 0))
    return block + body + padding(len(body))


def _record(key: str, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where LENGTH counts itself."""
    body = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    if len(str(length)) != len(str(len(body))):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(key: str, value: bytes, pax: dict[str, bytes]) -> bytes:
    if len(value) <= NAME_MAX and value.isascii():
        return value
    pax[key] = value
    return bytes(byte if byte < 0x80 else 0x5F for byte in value[:NAME_MAX])


def _number(key: str, value: int, limit: int, pax: dict[str, bytes]) -> int:
    if 0 <= value <= limit:
        return value
    pax[key] = str(value).encode()
    return 0


def _ustar(
    name: bytes,
    mode: int,
    fields: tuple[int, int, int, int],
    kind: tuple[bytes, bytes],
    device: tuple[int, int],
) -> bytes:
    uid, gid, size, mtime = fields
    typeflag, link = kind
    block = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0        %s%s" % (
        name.ljust(NAME_MAX, b"\0"),
        mode,
        uid,
        gid,
        size,
        mtime,
        typeflag,
        link.ljust(NAME_MAX, b"\0"),
    )
    block += b"ustar\x0000" + bytes(64) + b"%07o\0%07o\0" % device
    block = block.ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
