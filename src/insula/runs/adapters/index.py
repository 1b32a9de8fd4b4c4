"""The index of runs in the control database: which runs exist, whose they are, and which have ended.

It holds ids, a state word, a cause word, times and a hash of the idempotency key: nothing that a tenant owns.
Between submission and end the state stays ``queued`` here; where an open run stands is told by its record, or
by the platform that carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from insula.kernel.errors import AlreadyExists
from insula.kernel.ids import AgentName, RunId, TenantId
from insula.runs.run import RunSummary
from insula.runs.states import OPEN, RunState
from insula.storage import ControlDatabase

_metadata = sa.MetaData()
_runs = sa.Table(
    "run_index",
    _metadata,
    sa.Column("run", sa.String(40), primary_key=True),
    sa.Column("tenant", sa.String(48), nullable=False),
    sa.Column("agent", sa.String(48), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(32)),
    sa.Column("key_hash", sa.String(64)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.UniqueConstraint("tenant", "key_hash"),
    sa.Index("run_index_by_tenant", "tenant", "run"),
    sa.Index("run_index_open", "state", sqlite_where=sa.text("finished_at is null")),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in the index. ``key_hash`` is ``None`` for a run without an idempotency key."""

    run: RunId
    tenant: TenantId
    agent: AgentName
    state: RunState
    cause: str | None
    created_at: float
    finished_at: float | None
    key_hash: str | None = None

    def summary(self) -> RunSummary:
        """Return the entry as a line of a list."""
        return RunSummary(
            self.run, self.tenant, self.agent, self.state, self.cause, self.created_at, self.finished_at
        )


class RunIndex:
    """Synchronous; call it from a worker thread."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_metadata)

    def add(self, entry: Entry) -> Entry:
        """Write ``entry``; when its key is taken, write nothing and return the entry that has it.

        Raises ``AlreadyExists`` when its run id is in use.
        """
        try:
            return self._add(entry)
        except sa.exc.IntegrityError:
            raise AlreadyExists("a run of this id exists", hint="submit again", field="run") from None

    def _add(self, entry: Entry) -> Entry:
        with self._control.begin() as connection:
            taken = self._by_key(connection, entry.tenant, entry.key_hash)
            if taken is not None:
                return taken
            connection.execute(
                _runs.insert().values(
                    run=entry.run,
                    tenant=entry.tenant,
                    agent=entry.agent,
                    state=str(entry.state),
                    key_hash=entry.key_hash,
                    created_at=entry.created_at,
                )
            )
        return entry

    def find(self, tenant: TenantId, run: RunId) -> Entry | None:
        """Return the entry of a tenant's run; a stranger's run is as absent as one that never was."""
        query = _runs.select().where(_runs.c.run == run, _runs.c.tenant == tenant)
        with self._control.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _entry(row)

    def page(self, tenant: TenantId, before: RunId | None, limit: int) -> list[Entry]:
        """Return at most ``limit`` entries of a tenant older than ``before``, newest first."""
        query = _runs.select().where(_runs.c.tenant == tenant)
        if before is not None:
            query = query.where(_runs.c.run < before)
        with self._control.read() as connection:
            return [
                _entry(row) for row in connection.execute(query.order_by(_runs.c.run.desc()).limit(limit))
            ]

    def unfinished(self) -> list[Entry]:
        """Return every run that has not ended, oldest first: what a starting platform has to take up."""
        query = _runs.select().where(_runs.c.state.in_([str(state) for state in OPEN])).order_by(_runs.c.run)
        with self._control.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def finish(
        self, run: RunId, state: RunState, cause: str, at: float, *, release_key: bool = False
    ) -> None:
        """Write how a run ended, once: an entry that has ended stays as it is.

        ``release_key`` frees the idempotency key of a run that its caller never heard of.
        """
        values: dict[str, Any] = {"state": str(state), "cause": cause, "finished_at": at}
        if release_key:
            values["key_hash"] = None
        statement = _runs.update().where(_runs.c.run == run, _runs.c.finished_at.is_(None)).values(**values)
        with self._control.begin() as connection:
            connection.execute(statement)

    def owner(self, run: RunId) -> TenantId | None:
        """Return whose run it is."""
        with self._control.read() as connection:
            row = connection.execute(sa.select(_runs.c.tenant).where(_runs.c.run == run)).first()
        return None if row is None else TenantId(row.tenant)

    def forget(self, tenant: TenantId) -> None:
        """Drop every entry of a tenant."""
        with self._control.begin() as connection:
            connection.execute(_runs.delete().where(_runs.c.tenant == tenant))

    @staticmethod
    def _by_key(connection: sa.Connection, tenant: TenantId, key_hash: str | None) -> Entry | None:
        if key_hash is None:
            return None
        query = _runs.select().where(_runs.c.tenant == tenant, _runs.c.key_hash == key_hash)
        row = connection.execute(query).first()
        return None if row is None else _entry(row)


def _entry(row: Any) -> Entry:
    return Entry(
        run=RunId(row.run),
        tenant=TenantId(row.tenant),
        agent=AgentName(row.agent),
        state=RunState(row.state),
        cause=row.cause,
        created_at=row.created_at,
        finished_at=row.finished_at,
        key_hash=row.key_hash,
    )
