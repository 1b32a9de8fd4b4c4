"""Host users lent to sandboxes, one each, never two at once: not even between platforms of one host."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from insula.kernel.errors import Overloaded
from insula.sandbox.places import UIDS


@dataclass(frozen=True, slots=True)
class Lease:
    """``lock`` is the fd that holds ``uid``; the lease ends when the last copy of it is closed."""

    uid: int
    lock: int
    path: Path

    def end(self) -> None:
        """Give the uid back. Only when no process carries it."""
        # Unlinked while held: whoever opened the old file meanwhile finds it gone and takes another.
        self.path.unlink(missing_ok=True)
        os.close(self.lock)


class Uids:
    """Lends out ``span``, going round so that a number rests as long as possible. One thread at a time."""

    def __init__(self, span: range, directory: Path = UIDS) -> None:
        assert len(span) > 0
        assert span[0] >= 1000
        self._span = span
        self._directory = directory
        self._next = 0
        self._ready: deque[Lease] = deque()

    def lend(self) -> Lease:
        """Return a uid nobody holds and no process carries. Raises ``Overloaded`` when there is none."""
        return self._ready.popleft() if self._ready else self._find()

    def ready(self) -> bool:
        """Whether ``lend`` will answer at once."""
        return bool(self._ready)

    def prepare(self, count: int) -> None:
        """Look for uids ahead of time, until ``count`` are at hand or there are no more."""
        while len(self._ready) < count:
            try:
                self._ready.append(self._find())
            except Overloaded:
                return

    def close(self) -> None:
        """Give back what was found ahead of time."""
        while self._ready:
            self._ready.popleft().end()

    def _find(self) -> Lease:
        for _ in range(len(self._span)):
            uid = self._span[self._next % len(self._span)]
            self._next += 1
            lease = self._take(uid)
            if lease is not None:
                return lease
        raise Overloaded(
            "every host uid for sandboxes is in use", hint="widen INSULA_UID_FIRST..INSULA_UID_LAST"
        )

    def _take(self, uid: int) -> Lease | None:
        path = self._directory / str(uid)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(lock)
            if problem.errno == errno.EWOULDBLOCK:
                return None
            raise
        # Looked at while the lock is held, so what is seen stays true: nobody else starts anything as it.
        if not _is(path, lock) or uid in carried_uids():
            os.close(lock)
            return None
        return Lease(uid, lock, path)


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


def _is(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
