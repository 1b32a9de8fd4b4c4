"""The books in the control database: every event once, and running totals per hour and per day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from operator import add, attrgetter
from typing import Any, Protocol

from sqlalchemy import Connection, Table, func, select

from insula.usage.adapters import migration, spending
from insula.usage.adapters.tables import DAILY, EVENTS, HOURLY, KEY
from insula.usage.event import UNPRICED, UsageEvent
from insula.usage.row import SUMS, UsageRow, day_of, figures_of, hour_of
from insula.usage.spent import Spent

# Written by hand and handed to the driver as tuples: this runs for every call of every tenant.
_COLUMNS = tuple(EVENTS.c.keys())
_fields = attrgetter(*(name for name in _COLUMNS if name != "day"))
_DAY_AT = _COLUMNS.index("day")
_INSERT_EVENT = (
    f"INSERT INTO {EVENTS.name} ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' for _ in _COLUMNS)})"
)


def adding(table: Table, period: str) -> str:
    """Return the statement that adds sums to the totals of ``table``: the period, ``KEY``, ``SUMS``."""
    names = (period, *KEY, *SUMS)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)}) "  # noqa: S608
        f"ON CONFLICT ({period}, {', '.join(KEY)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    )


ADD_HOUR, ADD_DAY = adding(HOURLY, "hour"), adding(DAILY, "day")
_NOTHING = (0,) * len(SUMS)


class Database(Protocol):
    """The part of the control database that the books need."""

    def begin(self) -> AbstractContextManager[Connection]: ...
    def read(self) -> AbstractContextManager[Connection]: ...


class SqlBooks:
    """Implements ``Books``, and answers what reports ask. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.begin() as connection:
            migration.bring_up(connection)

    def add(self, events: Sequence[UsageEvent]) -> int:
        """Book ``events`` in one transaction; return how many were new. Totals count only those."""
        distinct = {event.event_id: event for event in events}
        with self._database.begin() as connection:
            known = _known(connection, distinct)
            fresh = [event for event_id, event in distinct.items() if event_id not in known]
            if fresh:
                connection.exec_driver_sql(_INSERT_EVENT, [_event_row(event) for event in fresh])
                connection.exec_driver_sql(ADD_HOUR, _totals(fresh, hour_of))
                connection.exec_driver_sql(ADD_DAY, _totals(fresh, day_of))
        return len(fresh)

    def days(self, tenant: str, since: str | None, until: str | None) -> list[UsageRow]:
        """Return one row per day, app, agent and model, from day ``since`` to ``until`` (both included)."""
        query = select(DAILY).where(DAILY.c.tenant_id == tenant)
        if since is not None:
            query = query.where(DAILY.c.day >= since)
        if until is not None:
            query = query.where(DAILY.c.day <= until)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(*DAILY.primary_key)).mappings().all()
        return [_row(one) for one in found]

    def spent(self, since: float, until: float | None = None) -> list[Spent]:
        """Return what was spent in events with ``since <= timestamp <= until``, exact at both edges.

        One row per tenant, app, agent and hour, oldest first. Seconds since the epoch; ``until`` ``None``
        means all there is. Events that wait in the outbox are not in: flush the recorder before.
        """
        with self._database.read() as connection:
            return spending.spent(connection, since, until)

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


def _totals(events: Iterable[UsageEvent], period: Callable[[float], str | int]) -> list[tuple[Any, ...]]:
    """Add up events by period and ``KEY``, so that each total is written once per batch."""
    totals: dict[tuple[str | int, ...], tuple[int, ...]] = {}
    for event in events:
        key = (
            period(event.timestamp),
            event.tenant_id,
            event.app_id or "",
            event.agent_id or "",
            event.model_id,
        )
        totals[key] = tuple(map(add, totals.get(key, _NOTHING), figures_of(event)))
    return [(*key, *total) for key, total in totals.items()]


def _row(found: Any) -> UsageRow:
    sums = {name: found[name] for name in SUMS}
    return UsageRow(
        day=found["day"],
        app=found["app_id"] or None,
        agent=found["agent_id"] or None,
        model=found["model_id"],
        **sums,
    )
