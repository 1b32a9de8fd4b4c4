"""Limits that an operator set, in the control database, with a snapshot for the hot path."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from insula.governance.quota.limits import Limits
from insula.storage import ControlDatabase

_METADATA = MetaData()
_LIMITS = Table(
    "limits",
    _METADATA,
    Column("level", String, primary_key=True),
    Column("rpm", Integer),
    Column("tpm", Integer),
    Column("in_flight", Integer),
    Column("rpm_burst", Integer),
    Column("tpm_burst", Integer),
)


class SqlLimits:
    """Limits by level key (``*``, ``tenant``, ``tenant/agent``). Reads come from memory."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)
        with control.read() as connection:
            rows = connection.execute(select(_LIMITS)).mappings().all()
        self._held = {
            row["level"]: Limits(**{name: row[name] for name in row if name != "level"}) for row in rows
        }

    def get(self, level: str) -> Limits | None:
        """Return what was set for ``level``, or ``None``."""
        return self._held.get(level)

    def put(self, level: str, limits: Limits) -> None:
        """Set the limits of ``level``; durable on return."""
        values = limits.as_dict()
        statement = insert(_LIMITS).values(level=level, **values)
        with self._control.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["level"], set_=values))
        self._held[level] = limits

    def drop(self, tenant: str) -> None:
        """Forget what was set for a tenant and its agents."""
        gone = [level for level in self._held if level == tenant or level.startswith(f"{tenant}/")]
        with self._control.begin() as connection:
            connection.execute(delete(_LIMITS).where(_LIMITS.c.level.in_(gone)))
        for level in gone:
            del self._held[level]
