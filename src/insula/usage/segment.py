"""Segments of the usage journal: append-only files, one event a line, each line with its checksum.

A line is the CRC-32 of the event in hex, a space, the event, a newline. A segment is allocated whole before
it is used, so that a full disk shows before a line is accepted and a commit need not grow the file; what
follows the last line is zeros. It is opened with ``O_DSYNC``: a write that returned is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from insula.kernel.durable import sync_directory

SUFFIX = ".journal"


class Segment:
    """One file that takes lines until ``size`` bytes are written. Raises ``OSError``."""

    def __init__(self, path: Path, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DSYNC
        self.path = path
        self.size = size
        self.offset = 0
        self._fd = os.open(path, flags, 0o600)
        try:
            os.posix_fallocate(self._fd, 0, size)
            os.fsync(self._fd)
            sync_directory(path.parent)
        except OSError:
            self.close()
            path.unlink()
            raise

    @property
    def full(self) -> bool:
        return self.offset >= self.size

    def write(self, data: bytes) -> None:
        """Append ``data`` durably, or raise and leave nothing of it behind that replay would read."""
        view, at = memoryview(data), self.offset
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError:
            self._cut()
            raise
        self.offset = at

    def _cut(self) -> None:
        """Take back a write that failed. Where even that fails, its whole lines may be read again."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, self.offset)
            os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def frame(event: bytes) -> bytes:
    """Return ``event`` as a line."""
    return b"%08x %b\n" % (zlib.crc32(event), event)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment holds: whole events, how many lines are broken, whether the last one was cut short."""

    events: Sequence[bytes]
    broken: int
    torn: bool


def read(path: Path) -> Contents:
    """Read a segment that a dead process left behind.

    A line cut short at the very end is what a crash leaves of a write that was never acknowledged. A broken
    line before others is not: it is counted, and the lines around it are still read.
    """
    lines = path.read_bytes().rstrip(b"\0").split(b"\n")
    tail = lines.pop()
    events = [_unframe(line) for line in lines]
    torn = bool(tail)
    while events and events[-1] is None:
        events.pop()
        torn = True
    whole = [event for event in events if event is not None]
    return Contents(whole, len(events) - len(whole), torn)


def _unframe(line: bytes) -> bytes | None:
    line = line.lstrip(b"\0")
    checksum, _, event = line.partition(b" ")
    return event if checksum == b"%08x" % zlib.crc32(event) and event else None
