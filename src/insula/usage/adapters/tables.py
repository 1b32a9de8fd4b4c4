"""The tables of the books: events as they came, totals per hour and per day, corrections to prices."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table
from sqlalchemy.types import TypeEngine

from insula.usage.row import SUMS

METADATA = MetaData()


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, String, nullable=False, server_default="") for name in names]


def _figures(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False, server_default="0") for name in names]


EVENTS = Table(
    "usage_events",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    *(Column(name, String) for name in ("run_id", "agent_id", "app_id", "user_id", "parent_run_id")),
    *_texts("day", "request_id", "subject", "provider", "endpoint", "model_id", "request_model", "kind"),
    *(Column(name, Float, nullable=False) for name in ("timestamp", "started_at")),
    *_figures("attempt", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
    *_figures("cache_write_1h_tokens", "reasoning_tokens", "quota_tokens", "input_quota_tokens"),
    *_figures(
        "output_quota_tokens", "ledger_tokens", "fair_cost", "fair_charged", "cost_nanousd", "queue_ms"
    ),
    *_texts("usage_source", "stream_end", "price_version", "burn_version", "lane", "trace_id"),
    Index("usage_events_by_run", "tenant_id", "run_id"),
    Index("usage_events_by_time", "tenant_id", "timestamp"),
    sqlite_with_rowid=False,
)
"""One row a call, never changed after it was written. ``day`` is the UTC day of ``timestamp``."""

KEY = ("tenant_id", "app_id", "agent_id", "model_id")


def _totals(name: str, period: str, kind: type[TypeEngine[str]] | type[TypeEngine[int]]) -> Table:
    return Table(
        name,
        METADATA,
        Column("tenant_id", String, primary_key=True),
        Column(period, kind, primary_key=True),
        *(Column(part, String, primary_key=True) for part in KEY[1:]),
        *_figures(*SUMS),
        sqlite_with_rowid=False,
    )


HOURLY = _totals("usage_hourly", "hour", Integer)
"""``hour`` counts whole hours since the epoch. ``app_id``, ``agent_id`` are empty for calls without one."""
Index("usage_hourly_by_hour", HOURLY.c.hour)

DAILY = _totals("usage_daily", "day", String)
Index("usage_daily_by_day", DAILY.c.day)

ADJUSTMENTS = Table(
    "usage_adjustments",
    METADATA,
    Column("event_id", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("delta_nanousd", BigInteger, nullable=False),
    Column("delta_unpriced", Integer, nullable=False),
    Column("price_version", String, nullable=False),
    Column("made_at", Float, nullable=False),
    Index("usage_adjustments_by_tenant", "tenant_id"),
    sqlite_with_rowid=False,
)
"""What re-rating changed, one row a correction; a call costs its own figure and all of its deltas."""
