"""The control database: what the platform itself knows, on SQLite through SQLAlchemy Core.

WAL with ``synchronous=FULL``: a commit that returned survives a power cut. Writers of this process queue on a
lock instead of polling the file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, event, inspect
from sqlalchemy.schema import CreateColumn

_BUSY_MS = 10_000
_PRAGMAS = (
    f"PRAGMA busy_timeout={_BUSY_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
)


class ControlDatabase:
    """One SQLite file, mode 0600.

    ``url`` is its path, or a SQLAlchemy URL that starts with ``sqlite:///``.
    """

    def __init__(self, url: str | Path) -> None:
        self.path = Path(str(url).removeprefix("sqlite:///"))
        _private(self.path)
        self._engine = _engine(self.path)
        self._write = threading.Lock()
        self._writer: int | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed on leaving, rolled back on an error. Not to be nested."""
        assert self._writer != threading.get_ident(), "a write transaction inside a write transaction"
        with self._write:
            self._writer = threading.get_ident()
            try:
                with self._engine.begin() as connection:
                    yield connection
            finally:
                self._writer = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction on one snapshot; never waits for a writer."""
        with self._engine.connect().execution_options(insula_read=True) as connection:
            yield connection

    def create(self, metadata: MetaData) -> None:
        """Create what does not exist yet of ``metadata``: tables, and columns that may be null."""
        with self.begin() as connection:
            metadata.create_all(connection)
            for table in metadata.sorted_tables:
                _add_columns(connection, table)

    def close(self) -> None:
        self._engine.dispose()


def _add_columns(connection: Connection, table: Table) -> None:
    """Add the columns that a table of an earlier version lacks."""
    present = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in present:
            assert column.nullable, f"{table.name}.{column.name} can't be added to a table with rows"
            ddl = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {ddl}')


def _private(path: Path) -> None:
    """Create the file with mode 0600 before SQLite would with the umask; WAL files inherit the mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we write BEGIN ourselves, so that a transaction is what it says
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("insula_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
