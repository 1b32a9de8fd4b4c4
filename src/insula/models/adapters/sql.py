"""Catalog and entitlements in the control database."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from insula.governance.fairness import Capacity
from insula.kernel.ids import TenantId
from insula.models.capacity import changed, figures
from insula.models.endpoint import Endpoint, Kind, Model
from insula.models.entitlements import Entitlement
from insula.storage import ControlDatabase

_metadata = MetaData()

_endpoints = Table(
    "model_endpoints",
    _metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("base_url", String, nullable=False),
    Column("models", Text, nullable=False),
    Column("secret", String),
    Column("output_field", String, nullable=False),
    Column("capacity", Text),
)

_entitlements = Table(
    "entitlements",
    _metadata,
    Column("tenant", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("max_context", Integer),
    Column("max_output", Integer),
)


class SqlModels:
    """``CatalogStore`` and ``EntitlementStore`` on the control database."""

    def __init__(self, database: ControlDatabase) -> None:
        self._database = database
        database.create(_metadata)

    def endpoints(self) -> list[Endpoint]:
        with self._database.begin() as connection:
            rows = connection.execute(select(_endpoints)).mappings().all()
        return [_endpoint(dict(row)) for row in rows]

    def put_endpoint(self, endpoint: Endpoint) -> None:
        row = {
            "name": endpoint.name,
            "kind": str(endpoint.kind),
            "base_url": endpoint.base_url,
            "models": json.dumps(
                [[model.id, model.context_tokens, model.max_output] for model in endpoint.models]
            ),
            "secret": endpoint.secret,
            "output_field": endpoint.output_field,
            "capacity": _text(endpoint.capacity),
        }
        with self._database.begin() as connection:
            connection.execute(insert(_endpoints).values(row))

    def delete_endpoint(self, name: str) -> None:
        with self._database.begin() as connection:
            connection.execute(delete(_endpoints).where(_endpoints.c.name == name))

    def set_capacity(self, name: str, capacity: Capacity | None) -> None:
        statement = update(_endpoints).where(_endpoints.c.name == name).values(capacity=_text(capacity))
        with self._database.begin() as connection:
            connection.execute(statement)

    def entitlements(self) -> list[Entitlement]:
        with self._database.begin() as connection:
            rows = connection.execute(select(_entitlements)).all()
        return [Entitlement(TenantId(row[0]), row[1], row[2], row[3]) for row in rows]

    def put_entitlement(self, entitlement: Entitlement) -> None:
        bounds = {"max_context": entitlement.max_context, "max_output": entitlement.max_output}
        row = {"tenant": entitlement.tenant, "model": entitlement.model, **bounds}
        upsert = insert(_entitlements).values(row)
        with self._database.begin() as connection:
            connection.execute(upsert.on_conflict_do_update(index_elements=["tenant", "model"], set_=bounds))

    def delete_entitlement(self, tenant: TenantId, model: str) -> None:
        table = _entitlements.c
        with self._database.begin() as connection:
            connection.execute(delete(_entitlements).where(table.tenant == tenant, table.model == model))

    def delete_entitlements(self, tenant: TenantId) -> None:
        with self._database.begin() as connection:
            connection.execute(delete(_entitlements).where(_entitlements.c.tenant == tenant))


def _endpoint(row: dict[str, Any]) -> Endpoint:
    models = tuple(Model(*entry) for entry in json.loads(row["models"]))
    return Endpoint(
        row["name"],
        Kind(row["kind"]),
        row["base_url"],
        models,
        row["secret"],
        row["output_field"],
        changed(None, json.loads(row["capacity"] or "{}")),
    )


def _text(capacity: Capacity | None) -> str | None:
    return None if capacity is None else json.dumps(figures(capacity))
