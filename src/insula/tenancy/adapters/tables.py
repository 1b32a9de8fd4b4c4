"""The registry's tables."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, MetaData, String, Table

METADATA = MetaData()

TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", String, primary_key=True),
    Column("tier", String, nullable=False),
    Column("state", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("overrides", JSON, nullable=False),
)
"""A deleted tenant keeps its row: that is what makes its id unusable for ever."""

AGENTS = Table(
    "agents",
    METADATA,
    Column("tenant", String, ForeignKey("tenants.id"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("bundle", String, nullable=False),
    Column("runtime", String, nullable=False),
    Column("models", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("deployed_at", Float, nullable=False),
    Column("manifest", JSON, nullable=False),
)
