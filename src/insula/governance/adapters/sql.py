"""Limits that an operator set, in the control database, with a snapshot for the hot path.

A limit is dated: it holds from ``effective_from`` on, until a later one does. None is ever edited, so what
held when can still be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Column, Float, MetaData, String, Table, Text, delete, inspect, select
from sqlalchemy.dialects.sqlite import insert

from insula.governance.quota.limits import Limits
from insula.storage import ControlDatabase

_METADATA = MetaData()
_LIMITS = Table(
    "dated_limits",
    _METADATA,
    Column("level", String, primary_key=True),
    Column("effective_from", Float, primary_key=True),
    Column("limits", Text, nullable=False),
)


class Dated(NamedTuple):
    """Limits and the moment from which they hold, seconds since the epoch."""

    effective_from: float
    limits: Limits


class SqlLimits:
    """Limits by level key (``*``, ``tenant``, ``tenant/app``, ...). Reads come from memory."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)
        _take_over(control)
        self._held: dict[str, list[Dated]] = {}
        with control.read() as connection:
            rows = connection.execute(select(_LIMITS).order_by(_LIMITS.c.effective_from)).all()
        for level, since, text in rows:
            self._held.setdefault(level, []).append(Dated(since, Limits(**json.loads(text))))

    def get(self, level: str, at: float) -> Limits | None:
        """Return what holds for ``level`` at a moment, or ``None`` if nothing was set."""
        held = self._held.get(level)
        if held is None:
            return None
        return next((row.limits for row in reversed(held) if row.effective_from <= at), None)

    def put(self, level: str, limits: Limits, effective_from: float) -> None:
        """Set the limits of ``level`` from a moment on; durable on return."""
        values = {"limits": json.dumps(limits.as_dict())}
        statement = insert(_LIMITS).values(level=level, effective_from=effective_from, **values)
        keys = ["level", "effective_from"]
        with self._control.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
        held = [row for row in self._held.get(level, []) if row.effective_from != effective_from]
        self._held[level] = sorted([*held, Dated(effective_from, limits)], key=lambda row: row.effective_from)

    def history(self, level: str) -> tuple[Dated, ...]:
        """Return what was ever set for ``level``, oldest first, what is to come included."""
        return tuple(self._held.get(level, ()))

    def changing(self, after: float, until: float) -> tuple[str, ...]:
        """Return the levels whose limits change in ``(after, until]``."""
        return tuple(
            level
            for level, rows in self._held.items()
            if any(after < row.effective_from <= until for row in rows)
        )

    def budgeted(self, at: float) -> Iterable[str]:
        """Return the levels that have a calendar budget at a moment."""
        for level in self._held:
            limits = self.get(level, at)
            if limits is not None and limits.budgeted:
                yield level

    def drop(self, tenant: str) -> None:
        """Forget what was set for a tenant, its applications and agents."""
        gone = [level for level in self._held if level == tenant or level.startswith(f"{tenant}/")]
        with self._control.begin() as connection:
            connection.execute(delete(_LIMITS).where(_LIMITS.c.level.in_(gone)))
        for level in gone:
            del self._held[level]


def _take_over(control: ControlDatabase) -> None:
    """Bring in what an earlier version kept: one undated row a level, a column a limit."""
    with control.begin() as connection:
        if not inspect(connection).has_table("limits"):
            return
        for row in connection.exec_driver_sql("select * from limits").mappings().all():
            values: dict[str, Any] = {name: value for name, value in row.items() if name != "level"}
            text = json.dumps(Limits(**values).as_dict())
            old = insert(_LIMITS).values(level=row["level"], effective_from=0.0, limits=text)
            connection.execute(old.on_conflict_do_nothing())
        connection.exec_driver_sql("drop table limits")
