"""What was spent in a stretch of time: whole hours from the totals, the edges from the events."""

from __future__ import annotations

from sqlalchemy import Connection

from insula.usage.adapters.tables import ADJUSTMENTS, EVENTS, HOURLY
from insula.usage.concluded import Concluded
from insula.usage.row import HOUR_S, hour_of
from insula.usage.spent import Spent

_HOURS = f"""
SELECT tenant_id, app_id, agent_id, hour, sum(quota_tokens), sum(cost_nanousd), sum(calls)
FROM {HOURLY.name} WHERE hour >= ? AND hour < ? GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - names of our own

_NEVER = 253_402_300_800.0

# Only tenants with a total in that hour have events there: the index by tenant and time finds those.
_EDGE = f"""
SELECT e.tenant_id, ifnull(e.app_id, ''), ifnull(e.agent_id, ''), ?, sum(e.quota_tokens),
  sum(e.cost_nanousd + ifnull((SELECT sum(delta_nanousd) FROM {ADJUSTMENTS.name} a
                               WHERE a.event_id = e.event_id), 0)),
  count(*)
FROM {EVENTS.name} e
WHERE e.tenant_id IN (SELECT tenant_id FROM {HOURLY.name} WHERE hour = ?)
  AND e.timestamp >= ? AND e.timestamp < ? AND e.timestamp >= ? AND e.timestamp <= ?
GROUP BY 1, 2, 3
"""  # noqa: S608 - names of our own


# Ids begin with when a call began, so the latest are the last of the primary key: no search by time.
_LATEST = f"""
SELECT * FROM (
  SELECT request_id, tenant_id, ifnull(app_id, ''), ifnull(agent_id, ''), quota_tokens, input_quota_tokens,
    output_quota_tokens, cost_nanousd, timestamp
  FROM {EVENTS.name} ORDER BY event_id DESC LIMIT ?
) WHERE timestamp >= ?
"""  # noqa: S608 - names of our own


def spent(connection: Connection, since: float, until: float | None) -> list[Spent]:
    """Return what events with ``since <= timestamp <= until`` used, by tenant, app, agent and hour."""
    until = _NEVER if until is None else until
    whole = range(int(-(-since // HOUR_S)), int(until // HOUR_S))
    edges = sorted({hour_of(since), hour_of(until)} - set(whole[:1]) - set(whole[-1:]))
    found = list(connection.exec_driver_sql(_HOURS, (whole.start, whole.stop)))
    for hour in edges:
        first, end = hour * HOUR_S, (hour + 1) * HOUR_S
        found += connection.exec_driver_sql(_EDGE, (hour, hour, first, end, since, until))
    return sorted((Spent(*row) for row in found), key=lambda one: (one.hour, one))


def concluded(connection: Connection, since: float, most: int) -> list[Concluded]:
    """Return the ``most`` calls that began last, without those that ended before a moment."""
    rows = connection.exec_driver_sql(_LATEST, (most, since))
    return [Concluded(*row[:-1]) for row in rows]
