"""How events are booked: the statements that write them, and the sums they add to the totals.

Written by hand and handed to the driver as tuples: this runs for every call of every tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import add, attrgetter
from typing import Any

from sqlalchemy import Table

from insula.usage.adapters.tables import DAILY, EVENTS, HOURLY, KEY
from insula.usage.event import UsageEvent
from insula.usage.row import SUMS, day_of, figures_of

_COLUMNS = tuple(EVENTS.c.keys())
_DAY_AT = _COLUMNS.index("day")
_fields = attrgetter(*(name for name in _COLUMNS if name != "day"))

INSERT_EVENT = (
    f"INSERT INTO {EVENTS.name} ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' for _ in _COLUMNS)})"
)


def _adding(table: Table, period: str) -> str:
    names = (period, *KEY, *SUMS)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' for _ in names)}) "  # noqa: S608
        f"ON CONFLICT ({period}, {', '.join(KEY)}) DO UPDATE SET "
        + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    )


ADD_HOUR, ADD_DAY = _adding(HOURLY, "hour"), _adding(DAILY, "day")
"""Add sums to a total, or begin it. Take what ``totals`` returns."""

Period = Callable[[float], str | int]
Figures = tuple[int, ...]


def event_row(event: UsageEvent) -> tuple[Any, ...]:
    """Return what ``INSERT_EVENT`` takes."""
    fields = _fields(event)
    return (*fields[:_DAY_AT], day_of(event.timestamp), *fields[_DAY_AT:])


def totals(booked: Iterable[tuple[UsageEvent, Figures]], period: Period) -> list[tuple[Any, ...]]:
    """Add up figures by the period and ``KEY`` of their events, so that each total is written once."""
    sums: dict[tuple[str | int, ...], Figures] = {}
    for event, figures in booked:
        where = (period(event.timestamp), event.tenant_id, event.app_id or "", event.agent_id or "")
        key = (*where, event.model_id)
        before = sums.get(key)
        sums[key] = figures if before is None else tuple(map(add, before, figures))
    return [(*key, *total) for key, total in sums.items()]


def of_events(events: Iterable[UsageEvent]) -> list[tuple[UsageEvent, Figures]]:
    """Return ``events`` with what each adds to the totals."""
    return [(event, figures_of(event)) for event in events]
