"""Shared costs in the control database, and what each tenant weighs in a month."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Float, MetaData, String, Table, delete, insert, select

from insula.kernel.errors import AlreadyExists, NotFound
from insula.usage.adapters.database import Database
from insula.usage.adapters.tables import DAILY
from insula.usage.period import Month
from insula.usage.shared_cost import Basis, SharedCost, Weights

_METADATA = MetaData()
_COSTS = Table(
    "usage_shared_costs",
    _METADATA,
    Column("month", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("nanousd", BigInteger, nullable=False),
    Column("basis", String, nullable=False),
    Column("recorded_at", Float, nullable=False),
)
_WEIGHTS = f"""
SELECT tenant_id, sum(cost_nanousd), sum(fair_cost) FROM {DAILY.name}
WHERE day BETWEEN ? AND ? GROUP BY 1
"""  # noqa: S608 - names of our own


class SqlCosts:
    """Implements ``Costs``. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.begin() as connection:
            _METADATA.create_all(connection)

    def add(self, cost: SharedCost, now: float) -> None:
        """Record ``cost``. Raises ``AlreadyExists`` if its month has one of that name."""
        with self._database.begin() as connection:
            if cost.name in {one.name for one in _of_month(connection, cost.month)}:
                raise AlreadyExists(
                    f"{cost.month} has a shared cost {cost.name!r}",
                    hint=f"insula cost remove {cost.name} --month {cost.month}",
                    field="name",
                )
            row = {
                "month": str(cost.month),
                "name": cost.name,
                "nanousd": cost.nanousd,
                "basis": str(cost.by),
            }
            connection.execute(insert(_COSTS).values(**row, recorded_at=now))

    def remove(self, month: Month, name: str) -> None:
        """Take a shared cost back. Raises ``NotFound``."""
        with self._database.begin() as connection:
            chosen = (_COSTS.c.month == str(month), _COSTS.c.name == name)
            if not connection.execute(delete(_COSTS).where(*chosen)).rowcount:
                hint = f"insula cost list --month {month}"
                raise NotFound(f"{month} has no shared cost {name!r}", hint=hint, field="name")

    def of_month(self, month: Month) -> list[SharedCost]:
        """Return what is shared in ``month``, by name."""
        with self._database.read() as connection:
            return _of_month(connection, month)

    def weights(self, month: Month) -> dict[str, Weights]:
        """Return what each tenant weighs in ``month``; tenants without a call are not in."""
        with self._database.read() as connection:
            return weights_of(connection, month)


def _of_month(connection: Connection, month: Month) -> list[SharedCost]:
    query = select(_COSTS).where(_COSTS.c.month == str(month)).order_by(_COSTS.c.name)
    return [SharedCost(row.name, month, row.nanousd, Basis(row.basis)) for row in connection.execute(query)]


def weights_of(connection: Connection, month: Month) -> dict[str, Weights]:
    """Return what each tenant weighs in ``month``."""
    days = (month.first.isoformat(), month.last.isoformat())
    found = connection.exec_driver_sql(_WEIGHTS, days)
    return {tenant: Weights(max(cost, 0), usage) for tenant, cost, usage in found}
