"""Weights that an operator set for tenants, in the control database, with a snapshot for the hot path."""

from __future__ import annotations

from fractions import Fraction

from sqlalchemy import Column, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from insula.storage import ControlDatabase

_METADATA = MetaData()
_WEIGHTS = Table(
    "weights",
    _METADATA,
    Column("tenant", String, primary_key=True),
    Column("weight", String, nullable=False),
)


class SqlWeights:
    """Weights by tenant. Reads come from memory; a tenant whose tier decides has none."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)
        with control.read() as connection:
            rows = connection.execute(select(_WEIGHTS)).all()
        self._held = {row.tenant: Fraction(row.weight) for row in rows}

    def get(self, tenant: str) -> Fraction | None:
        """Return what was set for ``tenant``, or ``None``."""
        return self._held.get(tenant)

    def put(self, tenant: str, weight: Fraction) -> None:
        """Set a tenant's weight; durable on return."""
        values = {"weight": str(weight)}
        statement = insert(_WEIGHTS).values(tenant=tenant, **values)
        with self._control.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["tenant"], set_=values))
        self._held[tenant] = weight

    def drop(self, tenant: str) -> None:
        """Let the tier decide again, or forget a tenant that is gone."""
        with self._control.begin() as connection:
            connection.execute(delete(_WEIGHTS).where(_WEIGHTS.c.tenant == tenant))
        self._held.pop(tenant, None)
