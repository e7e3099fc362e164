"""Read tar headers as the container runtimes do (Go's archive/tar), strictly and with bounds.

ustar, v7, PAX and GNU long names (pax(1), tar(5)). Content is not read: members carry the place of
their data. `tarfile` is not used: it reads extended headers of any size into memory, and takes ten
times as long.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from minify.errors import EngineError
from minify.images.span import Span
from minify.images.tar_budget import HINT, KEPT, XATTR, TarBudget, TarError

BLOCK = 512
ASKED = (XATTR, "GNU.sparse.")
ZERO = bytes(BLOCK)
HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")


@dataclass(slots=True)
class Member:
    """One member: its header as written, and where its data lies in the archive."""

    name: bytes
    type: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    device: tuple[int, int]
    offset: int
    pax: dict[str, bytes] = field(default_factory=dict)

    @property
    def xattrs(self) -> tuple[tuple[str, bytes], ...]:
        """Extended attributes, sorted by name."""
        if not self.pax:
            return ()
        found = ((k[len(XATTR) :], v) for k, v in self.pax.items() if k.startswith(XATTR))
        return tuple(sorted(found))


def members(tar: Span) -> Iterator[Member]:
    """Yield the members of an uncompressed tar in order; raises TarError for a damaged one."""
    try:
        fd = os.open(tar.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise EngineError(f"cannot read {tar.path}: {error.strerror}") from error
    try:
        yield from _members(fd, tar)
    finally:
        os.close(fd)


def _members(fd: int, tar: Span) -> Iterator[Member]:
    at, budget = 0, TarBudget(str(tar.path))
    pax: dict[str, bytes] = {}
    while at < tar.size:
        block = os.pread(fd, BLOCK, tar.offset + at)
        if len(block) < BLOCK or at + BLOCK > tar.size:
            raise TarError(f"tar header cut short at byte {at} of {tar.path}", hint=HINT)
        if block == ZERO:
            break
        member = _header(block, at)
        if member.type in b"xgLK":
            budget.special(BLOCK + member.size)
            _bounded(member, tar)
            data = os.pread(fd, member.size, tar.offset + member.offset)
            _extend(pax, member, data)
        else:
            _apply(member, pax)
            _bounded(member, tar)
            budget.member(member.name, member.link, pax)
            pax = {}
            yield member
        at = member.offset + member.size + (-member.size % BLOCK)
    if pax:
        raise TarError(f"tar ends after an extended header: {tar.path}", hint=HINT)


def _bounded(member: Member, tar: Span) -> None:
    if member.offset + member.size > tar.size:
        raise TarError(
            f"tar member {_show(member.name)} reaches beyond the end of {tar.path}", hint=HINT
        )


def _show(name: bytes) -> str:
    return ascii(name[:200].decode("utf-8", "backslashreplace"))


def _header(block: bytes, at: int) -> Member:
    (name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _version, _uname, _gname,
     major, minor, prefix, _pad) = HEADER.unpack(block)  # fmt: skip
    if sum(block) - sum(checksum) + 8 * 0x20 != _number(checksum):
        raise TarError(f"wrong tar header checksum at byte {at}", hint=HINT)
    name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and prefix[0]:  # GNU's "ustar " keeps times there, v7 nothing
        name = prefix.partition(b"\0")[0] + b"/" + name
    if kind in (b"\0", b"7"):
        kind = b"5" if name.endswith(b"/") else b"0"
    device = (_number(major), _number(minor)) if kind in (b"3", b"4") else (0, 0)
    length = _number(size)
    if length < 0:
        raise TarError(f"negative size of tar member {_show(name)}", hint=HINT)
    if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        length = 0  # as Go does: only files have data, whatever the size field says
    return Member(
        name, kind, _number(mode) & 0o7777, _number(uid), _number(gid), length, _number(mtime),
        link.partition(b"\0")[0], device, at + BLOCK,
    )  # fmt: skip


def _number(raw: bytes) -> int:
    """A numeric field: octal digits, or base-256 when the top bit is set."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big", signed=False) & ((1 << (8 * len(raw) - 1)) - 1)
        return value - (1 << (8 * len(raw) - 1)) if raw[0] & 0x40 else value
    digits = raw.strip(b" \0")
    try:
        if digits.isdigit():
            return int(digits, 8)
        digits = digits.partition(b"\0")[0]  # as Go does: what follows a NUL is not looked at
        if digits.isdigit() or not digits:
            return int(digits or b"0", 8)
    except ValueError:
        pass
    raise TarError(f"bad number in a tar header: {_show(raw)}", hint=HINT)


def _extend(pax: dict[str, bytes], member: Member, data: bytes) -> None:
    """Remember what an extended header says about the next member."""
    if member.type == b"x":
        told = parse_pax(data)
        # What nobody asks for (comments, access times, vendors' keys) is not held.
        pax.update({k: v for k, v in told.items() if k in KEPT or k.startswith(ASKED)})
    elif member.type in b"LK":
        pax["path" if member.type == b"L" else "linkpath"] = data.partition(b"\0")[0]
    # Global headers ("g") are ignored, as Docker and containerd do.


def parse_pax(data: bytes) -> dict[str, bytes]:
    """Parse PAX records, `LENGTH KEY=VALUE\\n` each; raises TarError when malformed."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        length = data[at:space] if space > at else b""
        end = at + int(length) if length.isdigit() else at
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        # `end` is beyond `at` or this raises: the loop always moves on.
        if not (at < space < end <= len(data)) or not (key and equals) or data[end - 1] != 0x0A:
            raise TarError("malformed PAX record in a tar header", hint=HINT)
        records[key.decode("utf-8", "surrogateescape")] = value
        at = end
    return records


def _apply(member: Member, pax: dict[str, bytes]) -> None:
    """Let PAX records override the plain header; an empty value means: as the header says."""
    if member.type == b"S" or any(k.startswith("GNU.sparse.") for k in pax):
        raise TarError(
            f"sparse file in a layer: {_show(member.name)}",
            hint="sparse tar members are not supported; build the layer without --sparse",
        )
    if not pax:
        return
    member.pax = pax
    member.name = pax.get("path") or member.name
    member.link = pax.get("linkpath") or member.link
    if pax.get("size") and member.type == b"0":
        member.size = _decimal(pax["size"])
    if pax.get("uid"):
        member.uid = _decimal(pax["uid"])
    if pax.get("gid"):
        member.gid = _decimal(pax["gid"])
    if pax.get("mtime"):
        whole, _, fraction = pax["mtime"].partition(b".")
        negative = whole.startswith(b"-")
        seconds = _decimal(whole.removeprefix(b"-") or b"0")
        # Whole seconds round down, as stat(2) shows them.
        member.mtime = -seconds - bool(fraction.strip(b"0")) if negative else seconds


def _decimal(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > 20:
        raise TarError(f"bad number in a PAX header: {_show(raw)}", hint=HINT)
    return int(raw)
