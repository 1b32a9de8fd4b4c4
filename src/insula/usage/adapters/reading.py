"""Totals as reports want them: by hour, by day, or by month, which is days added up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from insula.usage.adapters.postings import ADDED, COLUMNS, POSTINGS
from insula.usage.adapters.tables import DAILY, HOURLY
from insula.usage.focus import Group
from insula.usage.period import Month, Period, hour_name, hours_since_epoch
from insula.usage.row import SUMS, UsageRow

_GROUPS = f"""
WITH posted ({COLUMNS}) AS ({POSTINGS})
SELECT date(moment, 'unixepoch'), app, agent, model, kind, provider, {ADDED}
FROM posted GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""  # noqa: S608 - names of our own
_WIDTH = {Period.DAY: len("2026-11-23"), Period.MONTH: len("2026-11")}
_ADDED = ", ".join(f"sum({name})" for name in SUMS)
_FIRST, _LAST = "", "9"
_HOURS = f"""
SELECT hour, app_id, agent_id, model_id, {", ".join(SUMS)} FROM {HOURLY.name}
WHERE tenant_id = ? AND hour >= ? AND hour < ? ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - names of our own
_DAYS = f"""
SELECT substr(day, 1, ?), app_id, agent_id, model_id, {_ADDED} FROM {DAILY.name}
WHERE tenant_id = ? AND day >= ? AND day <= ? GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""  # noqa: S608 - names of our own


def periods(
    connection: Connection, tenant: str, by: Period, since: str | None, until: str | None
) -> list[UsageRow]:
    """Return one row per period, app, agent and model, from day ``since`` to ``until`` (both included)."""
    if by is Period.HOUR:
        first = hours_since_epoch(since) if since else 0
        end = hours_since_epoch(until) + 24 if until else 2**62
        found = connection.exec_driver_sql(_HOURS, (tenant, first, end))
        return [_row(hour_name(row[0]), row) for row in found]
    days = (_WIDTH[by], tenant, since or _FIRST, until or _LAST)
    return [_row(row[0], row) for row in connection.exec_driver_sql(_DAYS, days)]


def _row(period: str, row: Any) -> UsageRow:
    sums = dict(zip(SUMS, row[4:], strict=True))
    return UsageRow(period=period, app=row[1] or None, agent=row[2] or None, model=row[3], **sums)


def groups(connection: Connection, tenant: str, month: Month) -> list[Group]:
    """Return a month's calls by day, app, agent, model, kind and provider, with corrections of prices."""
    reach = {"tenant": tenant, "begin": month.begin, "end": month.next.begin}
    found = connection.exec_driver_sql(_GROUPS, reach)
    return [Group(row[4], row[5], _row(row[0], (*row[:4], *row[6:]))) for row in found]
