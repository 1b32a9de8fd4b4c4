"""One stream as a file: append at its end, repair what a crash tore, notice what should not be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from insula.audit.chain import Head
from insula.audit.record import from_line, genesis

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a stream's file: its last whole record (0 and the genesis if none) and torn bytes."""

    seq: int
    hash: str
    size: int
    torn: bytes
    readable: bool


def read_tail(key: bytes, stream: str, path: Path) -> Tail:
    """Look at the end of the file at ``path``; a missing file is an empty one."""
    data = _last_lines(path)
    whole, newline, torn = data.rpartition(b"\n")
    size = path.stat().st_size if path.exists() else 0
    if not newline:
        return Tail(0, genesis(key, stream), size, torn, readable=True)
    last = whole.rpartition(b"\n")[2] + b"\n"
    try:
        record = from_line(last)
    except (ValueError, TypeError, RecursionError):
        return Tail(0, genesis(key, stream), size, torn, readable=False)
    return Tail(record.seq, record.hash, size, torn, readable=True)


def is_torn(tail: Tail, head: Head | None) -> bool:
    """True when the torn bytes are what a crash leaves: everything anchored still stands before them."""
    return bool(tail.torn) and tail.readable and tail.seq >= (head[0] if head else 0)


def cut(path: Path, tail: Tail) -> dict[str, object]:
    """Remove the torn bytes; return what was removed, for the record of the repair."""
    with open_append(path) as fd:
        os.ftruncate(fd, tail.size - len(tail.torn))
        os.fsync(fd)
    return {"bytes": len(tail.torn), "sha256": hashlib.sha256(tail.torn).hexdigest(), "after": tail.seq}


@contextmanager
def open_append(path: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _last_lines(path: Path) -> bytes:
    """Return the end of the file from before its last whole line on (all of a small file)."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        data = b""
        while end > 0 and data.count(b"\n") < 2:
            start = max(0, end - _CHUNK)
            file.seek(start)
            data, end = file.read(end - start) + data, start
    return data
