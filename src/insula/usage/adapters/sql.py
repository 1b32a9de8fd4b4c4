"""The books in the control database: every event once, and running totals per tenant, day, model, agent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from operator import add, attrgetter
from typing import Any, Protocol

from sqlalchemy import BigInteger, Column, Connection, Float, Index, MetaData, String, Table, func, select
from sqlalchemy.dialects.sqlite import insert

from insula.usage.event import UNPRICED, UsageEvent
from insula.usage.row import SUMS, UsageRow, day_of, figures_of

METADATA = MetaData()

_SUM_COLUMNS = [Column(name, BigInteger, nullable=False) for name in SUMS]

EVENTS = Table(
    "usage_events",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("run_id", String),
    Column("agent_id", String),
    Column("day", String, nullable=False),
    *(Column(name, String, nullable=False) for name in ("request_id", "subject", "provider", "endpoint")),
    *(Column(name, String, nullable=False) for name in ("model_id", "request_model", "kind")),
    *(Column(name, Float, nullable=False) for name in ("timestamp", "started_at")),
    *(Column(name, BigInteger, nullable=False) for name in ("attempt", "input_tokens", "output_tokens")),
    *(Column(name, BigInteger, nullable=False) for name in ("cache_read_tokens", "cache_write_tokens")),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("reasoning_tokens", "quota_tokens", "cost_nanousd")
    ),
    *(Column(name, String, nullable=False) for name in ("usage_source", "stream_end", "price_version")),
    Column("trace_id", String, nullable=False),
    Index("usage_events_by_run", "tenant_id", "run_id"),
    sqlite_with_rowid=False,
)

DAILY = Table(
    "usage_daily",
    METADATA,
    *(Column(name, String, primary_key=True) for name in ("tenant_id", "day", "model_id", "agent_id")),
    *_SUM_COLUMNS,
    sqlite_with_rowid=False,
)
"""``agent_id`` is empty for calls that no agent made."""

# Written by hand and handed to the driver as tuples: this runs for every call of every tenant.
_INSERT_EVENT = (
    f"insert or ignore into {EVENTS.name} ({', '.join(EVENTS.c.keys())}) "  # noqa: S608 - names of our own
    f"values ({', '.join('?' for _ in EVENTS.c)})"
)
_COLUMNS = tuple(EVENTS.c.keys())
_fields = attrgetter(*(name for name in _COLUMNS if name != "day"))
_DAY_AT = _COLUMNS.index("day")
_ADD_DAY = insert(DAILY)
_ADD_DAY = _ADD_DAY.on_conflict_do_update(
    index_elements=list(DAILY.primary_key),
    set_={name: DAILY.c[name] + _ADD_DAY.excluded[name] for name in SUMS},
)


_NOTHING = (0,) * len(SUMS)


class Database(Protocol):
    """The part of the control database that the books need."""

    def begin(self) -> AbstractContextManager[Connection]: ...
    def read(self) -> AbstractContextManager[Connection]: ...
    def create(self, metadata: MetaData) -> None: ...


class SqlBooks:
    """Implements ``Books``, and answers what reports ask. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(METADATA)

    def add(self, events: Sequence[UsageEvent]) -> int:
        """Book ``events`` in one transaction; return how many were new. Totals count only those."""
        distinct = {event.event_id: event for event in events}
        with self._database.begin() as connection:
            known = _known(connection, distinct)
            fresh = [event for event_id, event in distinct.items() if event_id not in known]
            if fresh:
                connection.exec_driver_sql(_INSERT_EVENT, [_event_row(event) for event in fresh])
                connection.execute(_ADD_DAY, _daily(fresh))
        return len(fresh)

    def days(self, tenant: str, since: str | None, until: str | None) -> list[UsageRow]:
        """Return one row per day, model and agent, for days from ``since`` to ``until`` (both included)."""
        query = select(DAILY).where(DAILY.c.tenant_id == tenant)
        if since is not None:
            query = query.where(DAILY.c.day >= since)
        if until is not None:
            query = query.where(DAILY.c.day <= until)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(*DAILY.primary_key)).mappings().all()
        return [_row(one) for one in found]

    def run(self, tenant: str, run: str) -> UsageRow:
        """Return the totals of one run; zeros if it made no call."""
        sums = [func.count()] + [func.coalesce(func.sum(EVENTS.c[name]), 0) for name in SUMS[1:-2]]
        flags = [
            func.count().filter(EVENTS.c.usage_source != "provider"),
            func.count().filter(EVENTS.c.price_version == UNPRICED),
        ]
        query = select(*sums, *flags).where(EVENTS.c.tenant_id == tenant, EVENTS.c.run_id == run)
        with self._database.read() as connection:
            found = connection.execute(query).one()
        return UsageRow(**dict(zip(SUMS, found, strict=True)))


def _known(connection: Connection, event_ids: Iterable[str]) -> set[str]:
    wanted = json.dumps(list(event_ids))
    query = f"select event_id from {EVENTS.name} where event_id in (select value from json_each(?))"  # noqa: S608
    return set(connection.exec_driver_sql(query, (wanted,)).scalars())


def _event_row(event: UsageEvent) -> tuple[Any, ...]:
    fields = _fields(event)
    return (*fields[:_DAY_AT], day_of(event.timestamp), *fields[_DAY_AT:])


def _daily(events: Iterable[UsageEvent]) -> list[dict[str, Any]]:
    """Add up events by tenant, day, model and agent, so that each total is written once per batch."""
    totals: dict[tuple[str, str, str, str], tuple[int, ...]] = {}
    for event in events:
        key = (event.tenant_id, day_of(event.timestamp), event.model_id, event.agent_id or "")
        totals[key] = tuple(map(add, totals.get(key, _NOTHING), figures_of(event)))
    return [
        {
            "tenant_id": tenant,
            "day": day,
            "model_id": model,
            "agent_id": agent,
            **dict(zip(SUMS, total, strict=True)),
        }
        for (tenant, day, model, agent), total in totals.items()
    ]


def _row(found: Any) -> UsageRow:
    sums = {name: found[name] for name in SUMS}
    return UsageRow(day=found["day"], model=found["model_id"], agent=found["agent_id"] or None, **sums)
