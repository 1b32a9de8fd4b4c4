"""Corrections of prices in the books: a row beside each call that turns out to cost something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from insula.usage.adapters.booking import ADD_DAY, ADD_HOUR, Figures, totals
from insula.usage.adapters.tables import ADJUSTMENTS, EVENTS
from insula.usage.event import UsageEvent
from insula.usage.rating import Correction, Rate, Rerated, Standing, correct
from insula.usage.row import SUMS, day_of, hour_of

_PAGE = 500
_FIELDS = tuple(column.name for column in EVENTS.c if column.name != "day")
_SO_FAR = f"(SELECT %s FROM {ADJUSTMENTS.name} a WHERE a.event_id = e.event_id)"  # noqa: S608
_CALLS = f"""
SELECT {", ".join(f"e.{name}" for name in _FIELDS)}, {_SO_FAR % "ifnull(sum(delta_nanousd), 0)"},
  {_SO_FAR % "ifnull(sum(delta_unpriced), 0)"}, {_SO_FAR % "count(*)"}
FROM {EVENTS.name} e
WHERE tenant_id = ? AND timestamp < ? AND (timestamp, event_id) > (?, ?)
ORDER BY timestamp, event_id LIMIT {_PAGE}
"""  # noqa: S608 - names of our own
_WRITE = f"INSERT INTO {ADJUSTMENTS.name} VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of our own


class Place(NamedTuple):
    """Up to where calls were looked at."""

    timestamp: float
    event_id: str


def rerate_page(
    connection: Connection, tenant: str, place: Place, until: float, rate: Rate, now: float
) -> tuple[Rerated, Place | None]:
    """Correct the calls of one page behind ``place``; return what was done, and where it ended."""
    rows = connection.exec_driver_sql(_CALLS, (tenant, until, *place)).fetchall()
    if not rows:
        return Rerated(), None
    found = [correct(_event(row), Standing(*row[len(_FIELDS) :]), rate) for row in rows]
    corrections = [one for one in found if one is not None]
    if corrections:
        _write(connection, corrections, now)
    last = _event(rows[-1])
    delta = sum(one.delta_nanousd for one in corrections)
    return Rerated(len(rows), len(corrections), delta), Place(last.timestamp, last.event_id)


def _event(row: Sequence[Any]) -> UsageEvent:
    return UsageEvent(**dict(zip(_FIELDS, row, strict=False)))


def _write(connection: Connection, corrections: Sequence[Correction], now: float) -> None:
    connection.exec_driver_sql(_WRITE, [_row(one, now) for one in corrections])
    booked = [(one.event, _figures(one)) for one in corrections]
    connection.exec_driver_sql(ADD_HOUR, totals(booked, hour_of))
    connection.exec_driver_sql(ADD_DAY, totals(booked, day_of))


def _row(one: Correction, now: float) -> tuple[Any, ...]:
    event = one.event
    return (
        *(event.event_id, one.number, event.tenant_id),
        *(one.delta_nanousd, one.delta_unpriced, one.price_version, now),
    )


def _figures(one: Correction) -> Figures:
    deltas = {"cost_nanousd": one.delta_nanousd, "unpriced_calls": one.delta_unpriced}
    return tuple(deltas.get(name, 0) for name in SUMS)
