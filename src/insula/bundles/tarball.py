"""Reads a tar archive strictly: files and folders only, and everything else is an error that names it.

The standard library's reader follows more of the format (sparse files, links, negative numbers) than an
untrusted archive should be able to ask for, and ends silently at a damaged header. Format: POSIX.1-1988
ustar, with the long names of GNU tar ("L") and POSIX.1-2001 ("x").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from insula.bundles.names import refusal
from insula.kernel.errors import InvalidRequest

BLOCK = 512
_EMPTY = bytes(BLOCK)
_FILES = (b"0", b"\0")
_FOLDER, _LONG_NAME, _PAX, _PAX_GLOBAL = b"5", b"L", b"x", b"g"
_REFUSED = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a character device", b"4": "a block device",
    b"6": "a named pipe", b"7": "a contiguous file", b"K": "a link with a long target", b"S": "a sparse file",
}  # fmt: skip
_LONGEST_NAME = 64 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """``data`` is a view of the archive, ``None`` for a folder."""

    name: str
    executable: bool
    data: memoryview | None


def entries(archive: bytes) -> Iterator[Entry]:
    """Yield the entries of ``archive`` in order. Raises ``InvalidRequest`` at the first that is refused."""
    view = memoryview(archive)
    offset = 0
    long_name: str | None = None
    while not _is_end(view, offset):
        header = bytes(view[offset : offset + BLOCK])
        name = long_name if long_name is not None else _short_name(header)
        size = _number(header[124:136], name)
        data = view[offset + BLOCK : offset + BLOCK + size]
        kind = header[156:157]
        _check(header, name, kind, size, len(data))
        offset += BLOCK + -(-size // BLOCK) * BLOCK
        if kind == _LONG_NAME:
            long_name = _text(bytes(data).rstrip(b"\0"))
        elif kind == _PAX:
            long_name = _pax_path(bytes(data), name) or long_name
        elif kind != _PAX_GLOBAL:
            long_name = None
            executable = bool(_number(header[100:108], name) & 0o111)
            yield Entry(name, executable, data if kind in _FILES else None)
    if long_name is not None:
        raise _damaged("ends after the name of an entry")


def _is_end(view: memoryview, offset: int) -> bool:
    """Whether the archive ends here: with a block of zeros, and nothing but zeros behind it."""
    if len(view) < offset + BLOCK:
        raise _damaged("is cut off")
    if view[offset : offset + BLOCK] != _EMPTY:
        return False
    if any(bytes(view[offset:])):
        raise _damaged("has something behind its end")
    return True


def _check(header: bytes, name: str, kind: bytes, size: int, there: int) -> None:
    summed = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if summed != _number(header[148:156], name):
        raise _damaged("has a damaged header")
    if kind in _REFUSED:
        raise refusal(name, f"is {_REFUSED[kind]}", "only regular files may be in a bundle: copy the content")
    if kind not in (*_FILES, _FOLDER, _LONG_NAME, _PAX, _PAX_GLOBAL):
        raise refusal(name, f"is of an unknown kind {kind!r}", "only regular files may be in a bundle")
    if kind == _FOLDER and size:
        raise refusal(name, "is a folder with content", "pack the directory again")
    if kind in (_LONG_NAME, _PAX, _PAX_GLOBAL) and size > _LONGEST_NAME:
        raise refusal(name, "has an oversized header", "pack the directory again")
    if there < size:
        raise _damaged("is cut off")


def _short_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        name = raw.decode(errors="backslashreplace")
        raise refusal(name, "is not UTF-8", "rename the file") from None


def _number(field: bytes, name: str) -> int:
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise refusal(name, "has a header with a number that is not octal", "pack the directory again")
    return int(digits, 8)


def _pax_path(data: bytes, name: str) -> str | None:
    """Return the path that an extended header gives, if any. Other keys say nothing that a bundle keeps."""
    path: str | None = None
    while data:
        length, _, _ = data.partition(b" ")
        record = data[: int(length)] if length.isdigit() and len(length) < 6 else b""
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n") or len(record) != int(length):
            raise refusal(name, "has a malformed extended header", "pack the directory again")
        if key.startswith(b"GNU.sparse") or key in (b"size", b"linkpath"):
            raise refusal(name, f"is not a plain file ({key.decode(errors='replace')})", "copy the content")
        if key == b"path":
            path = _text(value)
        data = data[len(record) :]
    return path


def _damaged(problem: str) -> InvalidRequest:
    return InvalidRequest(f"the archive {problem}", hint="pack the directory again", field="bundle")
