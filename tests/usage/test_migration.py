"""Books of version 0.1 come up with everything that was in them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from insula.storage import ControlDatabase
from insula.usage.adapters.sql import SqlBooks
from insula.usage.row import SUMS

OLD_TABLES = """
CREATE TABLE usage_events (
    event_id VARCHAR NOT NULL PRIMARY KEY, tenant_id VARCHAR NOT NULL, run_id VARCHAR, agent_id VARCHAR,
    day VARCHAR NOT NULL, request_id VARCHAR NOT NULL, subject VARCHAR NOT NULL, provider VARCHAR NOT NULL,
    endpoint VARCHAR NOT NULL, model_id VARCHAR NOT NULL, request_model VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, timestamp FLOAT NOT NULL, started_at FLOAT NOT NULL, attempt BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, quota_tokens BIGINT NOT NULL,
    cost_nanousd BIGINT NOT NULL, usage_source VARCHAR NOT NULL, stream_end VARCHAR NOT NULL,
    price_version VARCHAR NOT NULL, trace_id VARCHAR NOT NULL
) WITHOUT ROWID;
CREATE INDEX usage_events_by_run ON usage_events (tenant_id, run_id);
CREATE TABLE usage_daily (
    tenant_id VARCHAR NOT NULL, day VARCHAR NOT NULL, model_id VARCHAR NOT NULL, agent_id VARCHAR NOT NULL,
    calls BIGINT NOT NULL, input_tokens BIGINT NOT NULL, cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL,
    quota_tokens BIGINT NOT NULL, cost_nanousd BIGINT NOT NULL, estimated_calls BIGINT NOT NULL,
    unpriced_calls BIGINT NOT NULL, PRIMARY KEY (tenant_id, day, model_id, agent_id)
) WITHOUT ROWID;
"""
OLD_FIELDS = [
    *("event_id", "tenant_id", "run_id", "agent_id", "day", "request_id", "subject", "provider", "endpoint"),
    *("model_id", "request_model", "kind", "timestamp", "started_at", "attempt", "input_tokens"),
    *("output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "quota_tokens"),
    *("cost_nanousd", "usage_source", "stream_end", "price_version", "trace_id"),
]
OLD_SUMS = [name for name in SUMS[1:-2] if name != "fair_cost"]


def old_books(path: Path, events: list[Any]) -> None:
    """Write ``events``, all of one day, model and agent, as version 0.1 did."""
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD_TABLES)
        for event in events:
            fields = {**event.as_dict(), "day": "2026-09-21"}
            marks = ", ".join("?" for _ in OLD_FIELDS)
            row = [fields[name] for name in OLD_FIELDS]
            connection.execute(f"INSERT INTO usage_events VALUES ({marks})", row)
        sums = [sum(getattr(event, name) for event in events) for name in OLD_SUMS]
        marks = ", ".join("?" for _ in range(14))
        row = ["acme", "2026-09-21", "m1", "researcher", len(events), *sums, 1, 1]
        connection.execute(f"INSERT INTO usage_daily VALUES ({marks})", row)
    connection.close()


def test_old_books_lose_nothing(tmp_path: Path, make: Any) -> None:
    first = 1_789_999_200.0  # a whole hour
    events = [
        make(1, timestamp=first),
        make(2, timestamp=first + 3_599.9, usage_source="estimated"),
        make(3, timestamp=first + 3_600, price_version="unpriced", cost_nanousd=0),
    ]
    old_books(tmp_path / "control.db", events)
    for _ in range(2):  # the second start finds new books
        control = ControlDatabase(tmp_path / "control.db")
        books = SqlBooks(control)
        (day,) = books.periods("acme")
        assert (day.calls, day.cost_nanousd, day.estimated_calls, day.unpriced_calls) == (3, 2_468, 1, 1)
        assert [(one.hour * 3_600, one.calls) for one in books.spent(0)] == [(first, 2), (first + 3_600, 1)]
        assert books.add(events) == 0
        control.close()
    control = ControlDatabase(tmp_path / "control.db")
    books = SqlBooks(control)
    books.add([make(4, timestamp=first, app_id="shop", fair_cost=7)])
    assert [(row.app, row.calls) for row in books.periods("acme")] == [
        (None, 3),
        ("shop", 1),
    ]
    assert books.run("acme", "run_1").calls == 4
    with control.read() as connection:
        names = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    control.close()
    assert {"usage_events_by_time", "usage_events_by_run", "usage_hourly_by_hour"} <= names
    assert "usage_daily_without_apps" not in names
