"""A sealed file: a SQLite database encrypted as a whole under one key, stamped with whose it is.

The cipher is ChaCha20-Poly1305 per page (SQLite3 Multiple Ciphers), the key is used raw. The stamp is
written twice: hashed into the 16 salt bytes at the start of the file, which are readable without the key,
and in clear inside. So another namespace's file in this place is told from a damaged file or a wrong key,
even before it is opened.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from insula.kernel.errors import IsolationBreach, OperatorError

_SALT = 16
_KEY = 32
_BUSY_MS = 10_000
_PRAGMAS = (
    "pragma cipher_memory_security=1",
    "pragma journal_mode=wal",
    "pragma synchronous=full",
    "pragma secure_delete=on",
    "pragma foreign_keys=on",
    "pragma trusted_schema=off",
    "pragma temp_store=memory",
    "pragma cache_size=-1024",
)


class SealedFileUnreadable(OperatorError):
    """The key does not open the file, or the file is damaged."""

    code = "sealed_file_unreadable"


class SealedFile:
    """One open sealed database. Safe to share between threads: calls take turns. Make it with ``open``."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._closed = False

    @classmethod
    def open(cls, path: Path, key: bytes, stamp: str) -> SealedFile:
        """Open the file at ``path``, or create it (mode 0600) sealed under ``key`` (32 bytes) and ``stamp``.

        Raises ``SealedFileUnreadable`` for a wrong key or a damaged file, ``IsolationBreach`` when the file
        carries another stamp: it is somebody else's.
        """
        assert len(key) == _KEY and stamp
        salt = hashlib.sha256(b"insula stamp\0" + stamp.encode()).digest()[:_SALT]
        _claim(path, salt, stamp)
        connection = apsw.Connection(str(path))
        try:
            _unlock(connection, key, salt)
            _check_stamp(connection, stamp)
        except apsw.Error as error:
            connection.close()
            raise _unreadable(path) from error
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def execute(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (or several without parameters) and return its rows."""
        with self._lock:
            self._must_be_open()
            try:
                return list(self._connection.execute(sql, params))
            except (apsw.CorruptError, apsw.NotADBError) as error:
                raise _unreadable(self.path) from error

    @contextmanager
    def transaction(self) -> Iterator[SealedFile]:
        """A write transaction: committed on leaving, rolled back on an error. Not to be nested."""
        with self._lock:
            assert not self._connection.in_transaction, "a transaction inside a transaction"
            self.execute("begin immediate")
            try:
                yield self
                self.execute("commit")
            except BaseException:
                self._roll_back()
                raise

    def close(self) -> None:
        """Close the file. Closing twice is fine; using it afterwards is an error."""
        with self._lock:
            self._closed = True
            self._connection.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def __repr__(self) -> str:
        return f"<SealedFile {self.path}>"

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    def _must_be_open(self) -> None:
        if self._closed:
            raise SealedFileUnreadable(
                "the sealed file was closed",
                hint="open it again with a fresh context; its tenant may be gone",
            )


def _claim(path: Path, salt: bytes, stamp: str) -> None:
    """Refuse a link or a file of another stamp; create an empty private file where there is none."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        head = os.read(fd, _SALT)
    finally:
        os.close(fd)
    if head and head != salt:
        raise IsolationBreach(f"the file {path} does not carry the stamp {stamp}")


def _unlock(connection: apsw.Connection, key: bytes, salt: bytes) -> None:
    connection.set_busy_timeout(_BUSY_MS)
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)  # no statement reaches another file, or copies this one
    connection.execute(f"pragma key='raw:{key.hex()}{salt.hex()}'")
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _check_stamp(connection: apsw.Connection, stamp: str) -> None:
    connection.execute("create table if not exists insula_stamp (one integer primary key, stamp text)")
    connection.execute("insert or ignore into insula_stamp values (1, ?)", (stamp,))
    found = connection.execute("select stamp from insula_stamp").fetchall()
    if found != [(stamp,)]:
        raise IsolationBreach(f"a sealed file is stamped {found[0][0]!r} and was opened as {stamp!r}")


def _unreadable(path: Path) -> SealedFileUnreadable:
    return SealedFileUnreadable(
        f"the sealed file {path.name} cannot be read: the key is not its key, or the file is damaged",
        hint="restore the file and keys.db from one backup",
    )
