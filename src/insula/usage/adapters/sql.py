"""The books in the control database: every event once, and running totals per hour and per day."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select

from insula.usage.adapters import migration, reading, spending
from insula.usage.adapters.booking import ADD_DAY, ADD_HOUR, INSERT_EVENT, event_row, of_events, totals
from insula.usage.adapters.database import Database
from insula.usage.adapters.rerating import Place, rerate_page
from insula.usage.adapters.tables import ADJUSTMENTS, EVENTS
from insula.usage.concluded import Concluded
from insula.usage.event import UNPRICED, UsageEvent
from insula.usage.focus import Group
from insula.usage.period import Month, Period
from insula.usage.rating import Rate, Rerated
from insula.usage.row import SUMS, UsageRow, day_of, hour_of
from insula.usage.spent import Spent


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
                booked = of_events(fresh)
                connection.exec_driver_sql(INSERT_EVENT, [event_row(event) for event in fresh])
                connection.exec_driver_sql(ADD_HOUR, totals(booked, hour_of))
                connection.exec_driver_sql(ADD_DAY, totals(booked, day_of))
        return len(fresh)

    def periods(
        self, tenant: str, by: Period = Period.DAY, since: str | None = None, until: str | None = None
    ) -> list[UsageRow]:
        """Return one row per period, app, agent and model; days ``since`` and ``until`` are included."""
        with self._database.read() as connection:
            return reading.periods(connection, tenant, by, since, until)

    def groups(self, tenant: str, month: Month) -> list[Group]:
        """Return a month's calls by day, app, agent, model, kind and provider."""
        with self._database.read() as connection:
            return reading.groups(connection, tenant, month)

    def spent(self, since: float, until: float | None = None) -> list[Spent]:
        """Return what was spent in events with ``since <= timestamp <= until``, exact at both edges.

        One row per tenant, app, agent and hour, oldest first. Seconds since the epoch; ``until`` ``None``
        means all there is. Events that wait in the outbox are not in: flush the recorder before.
        """
        with self._database.read() as connection:
            return spending.spent(connection, since, until)

    def concluded(self, since: float, most: int) -> list[Concluded]:
        """Return the ``most`` calls that began last, without those that ended before a moment (s)."""
        with self._database.read() as connection:
            return spending.concluded(connection, since, most)

    def rerate(self, tenant: str, rate: Rate, since: float, until: float, now: float) -> Rerated:
        """Bring the calls of ``since <= timestamp < until`` to the prices of ``rate``; return what changed.

        Nothing that was written is edited: each correction is a row of its own, with the new price version,
        and the totals take its difference. Goes page by page, each in a transaction: what was corrected
        when it breaks off stays, and to begin again adds nothing.
        """
        done, place = Rerated(), Place(since, "")
        while True:
            with self._database.begin() as connection:
                more, following = rerate_page(connection, tenant, place, until, rate, now)
            done += more
            if following is None:
                return done
            place = following

    def run(self, tenant: str, run: str) -> UsageRow:
        """Return the totals of one run; zeros if it made no call."""
        mine = (EVENTS.c.tenant_id == tenant, EVENTS.c.run_id == run)
        sums = [func.count()] + [func.coalesce(func.sum(EVENTS.c[name]), 0) for name in SUMS[1:-2]]
        flags = [
            func.count().filter(EVENTS.c.usage_source != "provider"),
            func.count().filter(EVENTS.c.price_version == UNPRICED),
        ]
        deltas = select(
            func.coalesce(func.sum(ADJUSTMENTS.c.delta_nanousd), 0),
            func.coalesce(func.sum(ADJUSTMENTS.c.delta_unpriced), 0),
        ).join_from(EVENTS, ADJUSTMENTS, EVENTS.c.event_id == ADJUSTMENTS.c.event_id)
        with self._database.read() as connection:
            found = connection.execute(select(*sums, *flags).where(*mine)).one()
            cost, unpriced = connection.execute(deltas.where(*mine)).one()
        row = UsageRow(**dict(zip(SUMS, found, strict=True)))
        return row + UsageRow(cost_nanousd=cost, unpriced_calls=unpriced)


def _known(connection: Connection, event_ids: Iterable[str]) -> set[str]:
    wanted = json.dumps(list(event_ids))
    query = f"select event_id from {EVENTS.name} where event_id in (select value from json_each(?))"  # noqa: S608
    return set(connection.exec_driver_sql(query, (wanted,)).scalars())
