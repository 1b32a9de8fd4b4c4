"""The journal of the ledgers: every operation, written before it is done.

One line an operation: the CRC-32 of the rest in hex, the line's number, the operation as JSON. The number
shows a line that is missing, the checksum one that is not what was written.

A plain ``write`` is enough against the death of the process: what it returned for is in the kernel's hands,
whoever dies after that. Against a power failure the file is synced about once a second, not at each
operation: that would cost every call a turn of the disk, and what such a failure may take away, the usage
journal still has, event by event.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insula.kernel.durable import sync_directory, write_all
from insula.kernel.errors import Misconfigured

NAME = "ledger.journal"

Entry = list[Any]
"""``[tenant, operation, arguments]``."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal holds: its entries, the numbers of broken or missing lines, whether its end is torn."""

    entries: tuple[Entry, ...] = ()
    broken: tuple[int, ...] = ()
    torn: bool = False


class Journal:
    """One file, appended to, and now and then replaced by a shorter one that says the same.

    Owns ``directory``. Raises ``Misconfigured`` if another process does.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.path = directory / NAME
        self._lock = _lock(directory)
        self._fd: int | None = None
        self._number = 0
        self.size = 0
        self.dirty = False

    def read(self) -> Contents:
        """Return what an earlier process left. Blocking."""
        return read(self.path)

    def set_aside(self) -> Path:
        """Keep a damaged journal beside the one that takes its place; return where."""
        taken = sum(1 for _ in self._directory.glob(f"{NAME}.damaged-*"))
        kept = self._directory / f"{NAME}.damaged-{taken + 1}"
        os.link(self.path, kept)
        return kept

    def begin(self, entries: Iterable[Entry]) -> None:
        """Replace the file by one of these entries: durable before it takes the old one's name. Blocking.

        Raises ``OSError``; then the old file stays in use.
        """
        lines = b"".join(frame(number, entry) for number, entry in enumerate(entries, 1))
        new = self.path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, lines)
            os.fsync(fd)
            new.rename(self.path)
        except OSError:
            os.close(fd)
            raise
        self.close_file()
        self._fd, self.size, self.dirty = fd, len(lines), False
        self._number = lines.count(b"\n")
        sync_directory(self._directory)

    def append(self, entry: Entry) -> None:
        """Write an entry. Raises ``OSError``; then nothing of it is left that a reader would take for one."""
        assert self._fd is not None
        line = frame(self._number + 1, entry)
        try:
            write_all(self._fd, line)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise
        self._number += 1
        self.size += len(line)
        self.dirty = True

    def flusher(self) -> Callable[[], None]:
        """Return a blocking function, for another thread, that makes durable what was appended so far."""
        assert self._fd is not None
        fd = os.dup(self._fd)
        self.dirty = False

        def flush() -> None:
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)

        return flush

    def close_file(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def close(self) -> None:
        """Let go of the file and the directory."""
        self.close_file()
        os.close(self._lock)


def frame(number: int, entry: Entry) -> bytes:
    """Return an entry as a line."""
    rest = b"%d %b" % (number, _encode(entry).encode())
    return b"%08x %b\n" % (zlib.crc32(rest), rest)


def read(path: Path) -> Contents:
    """Read a journal. What follows the last newline is torn: no process was told that it is written.

    A broken line is reported by its number and the lines behind it are still read; a number that is left
    out is a missing line.
    """
    try:
        *lines, tail = path.read_bytes().rstrip(b"\0").split(b"\n")
    except FileNotFoundError:
        return Contents()
    entries: list[Entry] = []
    broken: list[int] = []
    expected = 1
    for line in lines:
        number, entry = _unframe(line)
        if entry is None:
            broken.append(expected)
            expected += 1
            continue
        broken.extend(range(expected, number))
        entries.append(entry)
        expected = number + 1
    return Contents(tuple(entries), tuple(broken), bool(tail))


def _unframe(line: bytes) -> tuple[int, Entry | None]:
    checksum, _, rest = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(rest):
        return 0, None
    number, _, entry = rest.partition(b" ")
    return int(number), json.loads(entry)


def _lock(directory: Path) -> int:
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Misconfigured(
            "another process keeps the ledgers of this home",
            hint="stop it, or choose another home",
            field="home",
        ) from None
    return fd
