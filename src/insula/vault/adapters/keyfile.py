"""keys.db: wrapped keys and the tombstones of shredded ones, in a SQLite file that forgets what it deletes.

``secure_delete`` overwrites deleted rows in the database; the write-ahead log may still hold them until it
is truncated, so ``forget`` checkpoints, truncates, syncs, and then reads the bytes of both files to see for
itself.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import apsw

from insula.kernel.errors import IsolationBreach

_SCHEMA = """
create table if not exists wrapped_keys (name text primary key, wrapped blob not null) without rowid;
create table if not exists tombstones (name text primary key, fingerprint text not null, at real not null)
    without rowid;
"""


class KeyFile:
    """One process at a time has it open."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self.path = path
        self._lock = threading.RLock()
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(10_000)
        for pragma in ("secure_delete=on", "journal_mode=wal", "synchronous=full", "temp_store=memory"):
            self._connection.execute(f"pragma {pragma}")
        self._connection.execute(_SCHEMA)

    def get(self, name: str) -> bytes | None:
        with self._lock:
            rows = self._connection.execute("select wrapped from wrapped_keys where name = ?", (name,))
            return next((bytes(row[0]) for row in rows), None)

    def add(self, name: str, wrapped: bytes) -> None:
        """Store a wrapped key. Raises ``apsw.ConstraintError`` when there is one."""
        with self._lock, self._connection:
            self._connection.execute("insert into wrapped_keys values (?, ?)", (name, wrapped))

    def tombstone(self, name: str) -> tuple[str, float] | None:
        """Return (fingerprint, seconds since the epoch) of a shredded key."""
        with self._lock:
            rows = self._connection.execute("select fingerprint, at from tombstones where name = ?", (name,))
            return next(((row[0], row[1]) for row in rows), None)

    def names(self) -> list[str]:
        with self._lock:
            return [row[0] for row in self._connection.execute("select name from wrapped_keys order by 1")]

    def tombstones(self) -> list[str]:
        with self._lock:
            return [row[0] for row in self._connection.execute("select name from tombstones order by 1")]

    def forget(self, name: str, wrapped: bytes, fingerprint: str, at: float) -> None:
        """Put a tombstone in place of a key and prove that no byte of it is left in the files.

        Raises ``IsolationBreach`` when the bytes can still be found.
        """
        with self._lock:
            with self._connection:
                self._connection.execute(
                    "insert or ignore into tombstones values (?, ?, ?)", (name, fingerprint, at)
                )
                self._connection.execute("delete from wrapped_keys where name = ?", (name,))
            self._scour(wrapped)

    def scour(self) -> None:
        """Truncate the write-ahead log and sync: finishes a deletion that a crash cut."""
        with self._lock:
            self._connection.execute("pragma wal_checkpoint(truncate)")
            _sync(self.path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _scour(self, gone: bytes) -> None:
        self.scour()
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            if path.exists() and gone in path.read_bytes():
                raise IsolationBreach(f"a shredded key is still in {path.name}")


def _sync(path: Path) -> None:
    for target, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        fd = os.open(target, flags | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
