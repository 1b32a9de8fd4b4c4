"""Host users lent to sandboxes, one each, never two at once: not even between platforms of one host."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from insula.kernel.errors import Overloaded
from insula.sandbox.places import UIDS


@dataclass(frozen=True, slots=True)
class Lease:
    """``lock`` is the fd that holds ``uid``; the lease ends when the last copy of it is closed."""

    uid: int
    lock: int

    def end(self) -> None:
        os.close(self.lock)


class Uids:
    """Lends out ``span``, going round so that a number rests as long as possible."""

    def __init__(self, span: range, directory: Path = UIDS) -> None:
        assert len(span) > 0 and span[0] >= 1000
        self._span = span
        self._directory = directory
        self._next = 0

    def lend(self) -> Lease:
        """Return a uid nobody holds and no process carries. Raises ``Overloaded`` when there is none."""
        carried = carried_uids()
        for _ in range(len(self._span)):
            uid = self._span[self._next % len(self._span)]
            self._next += 1
            lock = self._take(uid)
            if lock is None:
                continue
            if uid in carried:
                os.close(lock)
                continue
            return Lease(uid, lock)
        raise Overloaded(
            "every host uid for sandboxes is in use", hint="widen INSULA_UID_FIRST..INSULA_UID_LAST"
        )

    def _take(self, uid: int) -> int | None:
        lock = os.open(self._directory / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(lock)
            if problem.errno == errno.EWOULDBLOCK:
                return None
            raise
        return lock


def carried_uids() -> frozenset[int]:
    """Return the users of all processes of the host: a leftover keeps its number out of use."""
    found = set()
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdecimal():
                try:
                    found.add(entry.stat().st_uid)
                except OSError:
                    continue
    return frozenset(found)
