"""The books checked against themselves, one tenant and month at a time. The database does the arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from insula.usage.adapters.call_rules import ANSWERS, RULES, WRONG
from insula.usage.adapters.database import Database
from insula.usage.adapters.postings import ADDED, COLUMNS, POSTINGS
from insula.usage.adapters.reading import periods
from insula.usage.adapters.tables import DAILY, EVENTS, HOURLY
from insula.usage.invoice import draw_up
from insula.usage.period import Month, Period, hour_name
from insula.usage.reconciliation import Checked, Mismatch, RatesOf
from insula.usage.row import SUMS

# Only rates that were assumed depend on the day.
_BEGAN = "CASE WHEN burn_version LIKE 'assumed:%' THEN CAST(started_at AS INTEGER) / 86400 ELSE 0 END"
_IN_SLICE = f"FROM {EVENTS.name} e WHERE tenant_id = ? AND timestamp >= ? AND timestamp < ?"
_TENANTS = " UNION ".join(f"SELECT tenant_id FROM {one.name}" for one in (EVENTS, HOURLY, DAILY))  # noqa: S608
_REACH = f"""
SELECT min(first), max(last) FROM (
  SELECT min(timestamp) AS first, max(timestamp) AS last FROM {EVENTS.name} WHERE tenant_id = :tenant
  UNION ALL SELECT min(hour) * 3600, max(hour) * 3600 FROM {HOURLY.name} WHERE tenant_id = :tenant
  UNION ALL SELECT strftime('%s', min(day)) + 0, strftime('%s', max(day)) + 0
  FROM {DAILY.name} WHERE tenant_id = :tenant)
"""  # noqa: S608 - names of our own
_KINDS = f"SELECT burn_version, model_id, {_BEGAN}, count(*) {_IN_SLICE} GROUP BY 1, 2, 3"
_RATES = ("version", "model", "began", "input", "cache_read", "cache_write", "output")
_RATE_COLUMNS = ", ".join(f"json_extract(value, '$[{at}]') AS {name}" for at, name in enumerate(_RATES))
_WITH_RATES = f"""
WITH r AS MATERIALIZED (
  SELECT {_RATE_COLUMNS} FROM json_each(?))
SELECT {ANSWERS} FROM {EVENTS.name} e
LEFT JOIN r ON r.version = burn_version AND r.model = model_id AND r.began = {_BEGAN}
WHERE tenant_id = ? AND timestamp >= ? AND timestamp < ? AND ({WRONG})
"""  # noqa: S608 - names of our own

_ZEROS = ", ".join("0" for _ in SUMS)
_DUE = tuple(f"due_{name}" for name in SUMS)
_FOUND = tuple(f"found_{name}" for name in SUMS)
_BOTH = ", ".join((*_DUE, *_FOUND))
_ADDED = ", ".join(f"sum({name})" for name in (*_DUE, *_FOUND))
_DIFFERS = " OR ".join(f"sum({due}) <> sum({found})" for due, found in zip(_DUE, _FOUND, strict=True))


def _comparison(table: str, period: str, of_moment: str) -> str:
    """Return the query for totals that are not the sum of their events: key, what is due, what was found."""
    return f"""
WITH posted ({COLUMNS}) AS ({POSTINGS}),
both (period, app, agent, model, {_BOTH}) AS (
  SELECT {of_moment}, app, agent, model, {ADDED}, {_ZEROS} FROM posted GROUP BY 1, 2, 3, 4
  UNION ALL
  SELECT {period}, app_id, agent_id, model_id, {_ZEROS}, {", ".join(SUMS)} FROM {table}
  WHERE tenant_id = :tenant AND {period} >= :first AND {period} < :after)
SELECT period, app, agent, model, {_ADDED} FROM both GROUP BY 1, 2, 3, 4 HAVING {_DIFFERS}
"""  # noqa: S608 - names of our own


_HOURS = _comparison(HOURLY.name, "hour", "moment / 3600")
_DAYS = _comparison(DAILY.name, "day", "date(moment, 'unixepoch')")
_WHOLE = f"WITH posted ({COLUMNS}) AS ({POSTINGS}) SELECT {ADDED} FROM posted"  # noqa: S608


class SqlAccounts:
    """Implements ``Accounts``. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def slices(self, tenant: str | None) -> list[tuple[str, Month]]:
        """Return each tenant's months from its first entry in the books to its last."""
        with self._database.read() as connection:
            tenants = (
                [tenant] if tenant is not None else sorted(connection.exec_driver_sql(_TENANTS).scalars())
            )
            return [(one, month) for one in tenants for month in _months(connection, one)]

    def check(self, tenant: str, month: Month, rates: RatesOf, into: Checked) -> None:
        """Check one slice on one snapshot."""
        with self._database.read() as connection:
            into.note(_calls(connection, tenant, month, rates, into))
            into.note(_totals(connection, tenant, month))
            into.note(_invoice(connection, tenant, month))


def _months(connection: Connection, tenant: str) -> Iterator[Month]:
    first, last = connection.exec_driver_sql(_REACH, {"tenant": tenant}).one()
    if first is not None:
        month = Month.of(first)
        while month <= Month.of(last):
            yield month
            month = month.next


def _calls(
    connection: Connection, tenant: str, month: Month, rates: RatesOf, into: Checked
) -> Iterator[Mismatch]:
    """Compare the figures of each call with one another."""
    known = []
    reach = (tenant, month.begin, month.next.begin)
    for version, model, began, calls in connection.exec_driver_sql(_KINDS, reach):
        into.calls += calls
        found = rates(version, model, began * 86_400.0)
        if found is None:
            into.unverified += calls
        else:
            known.append((version, model, began, *found))
    for event, *answers in connection.exec_driver_sql(_WITH_RATES, (json.dumps(known), *reach)):
        for at, rule in enumerate(RULES):
            wrong, due, seen = answers[3 * at : 3 * at + 3]
            if wrong:
                yield Mismatch(rule.account, tenant, event, rule.field, due, seen)


def _totals(connection: Connection, tenant: str, month: Month) -> Iterator[Mismatch]:
    """Compare the totals of hours and days with the sums of their events."""
    reach = _reach(tenant, month)
    hours = {"first": int(month.begin) // 3_600, "after": int(month.next.begin) // 3_600}
    days = {"first": month.first.isoformat(), "after": month.next.first.isoformat()}
    for row in connection.exec_driver_sql(_HOURS, reach | hours):
        yield from _differences("hour", tenant, "/".join((hour_name(row[0]), *row[1:4])), row[4:])
    for row in connection.exec_driver_sql(_DAYS, reach | days):
        yield from _differences("day", tenant, "/".join(row[:4]), row[4:])


def _invoice(connection: Connection, tenant: str, month: Month) -> Iterator[Mismatch]:
    """Compare the invoice with the sum of the month's events."""
    due = connection.exec_driver_sql(_WHOLE, _reach(tenant, month)).one()
    days = periods(connection, tenant, Period.DAY, month.first.isoformat(), month.last.isoformat())
    drawn = draw_up(tenant, month, days, (), {}, now=month.next.begin).used.sums()
    return _differences("invoice", tenant, str(month), (*due, *drawn.values()))


def _reach(tenant: str, month: Month) -> dict[str, Any]:
    return {"tenant": tenant, "begin": month.begin, "end": month.next.begin}


def _differences(account: str, tenant: str, where: str, figures: Any) -> Iterator[Mismatch]:
    for at, name in enumerate(SUMS):
        due, found = figures[at], figures[len(SUMS) + at]
        if due != found:
            yield Mismatch(account, tenant, where, name, due, found)
