"""The books: duplicates, disorder and batches change nothing; sums are exact."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.storage import ControlDatabase
from insula.usage import UsageEvent, UsageRow
from insula.usage.adapters.sql import SqlBooks
from insula.usage.row import SUMS

TENANTS = ("acme", "blue")


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Changes to the standard event, for events with distinct ids."""
    return [
        {
            "number": number,
            "tenant_id": draw(st.sampled_from(TENANTS)),
            "agent_id": draw(st.sampled_from([None, "a", "b"])),
            "model_id": draw(st.sampled_from(["m1", "m2"])),
            "run_id": draw(st.sampled_from([None, "run_1", "run_2"])),
            "timestamp": draw(st.sampled_from([0.0, 86_399.99, 86_400.0, 1_790_000_000.0])),
            "input_tokens": draw(st.integers(0, 10**12)),
            "output_tokens": draw(st.integers(0, 10**6)),
            "cost_nanousd": draw(st.integers(0, 10**15)),
            "usage_source": draw(st.sampled_from(["provider", "estimated"])),
            "price_version": draw(st.sampled_from(["p1", "unpriced"])),
        }
        for number in range(draw(st.integers(0, 25)))
    ]


def totals(books: SqlBooks) -> dict[str, list[UsageRow]]:
    return {tenant: books.periods(tenant) for tenant in TENANTS}


@settings(max_examples=25, deadline=None)
@given(histories(), st.integers(0, 2**32))
def test_duplicates_and_disorder_leave_totals_equal(
    make: Any, tmp_path_factory: Any, history: list[dict[str, Any]], seed: int
) -> None:
    """At least once, with deduplication, is exactly once; the sum over tenants is the sum of events."""
    events = [make(**one) for one in history]
    plain, messy = two_books(tmp_path_factory.mktemp("books"))
    plain.add(events)
    draw = random.Random(seed)
    stream = draw.sample(events + events + events, 3 * len(events))
    while stream:
        batch, stream = stream[: draw.randrange(1, 9)], stream[8:] if len(stream) > 8 else stream[1:]
        messy.add(batch)
    messy.add(events)
    assert totals(plain) == totals(messy)
    for name, of_events in (("cost_nanousd", "cost_nanousd"), ("input_tokens", "input_tokens")):
        booked = sum(getattr(row, name) for rows in totals(messy).values() for row in rows)
        assert booked == sum(getattr(event, of_events) for event in events)


def two_books(directory: Path) -> tuple[SqlBooks, SqlBooks]:
    return SqlBooks(ControlDatabase(directory / "a.db")), SqlBooks(ControlDatabase(directory / "b.db"))


def test_add_tells_how_many_were_new(books: SqlBooks, make: Any) -> None:
    assert books.add([make(1), make(2), make(1)]) == 2
    assert books.add([make(2), make(3)]) == 1
    assert books.add([]) == 0


def test_rows_are_by_utc_day_model_and_agent(books: SqlBooks, make: Any) -> None:
    books.add([make(1, timestamp=86_399.9), make(2, timestamp=86_400.0), make(3, timestamp=86_400.0)])
    books.add([make(4, timestamp=86_400.0, agent_id=None), make(5, timestamp=86_400.0, model_id="m2")])
    seen = [(row.day, row.model, row.agent, row.calls) for row in books.periods("acme")]
    assert seen == [
        ("1970-01-01", "m1", "researcher", 1),
        ("1970-01-02", "m1", None, 1),
        ("1970-01-02", "m1", "researcher", 2),
        ("1970-01-02", "m2", "researcher", 1),
    ]
    assert [row.day for row in books.periods("acme", since="1970-01-02", until="1970-01-02")] == [
        "1970-01-02"
    ] * 3
    assert books.periods("acme", since="1970-01-03") == []


def test_a_run_is_summed_and_a_strangers_run_is_empty(books: SqlBooks, make: Any) -> None:
    books.add([make(1), make(2, price_version="unpriced", cost_nanousd=0), make(3, run_id="run_2")])
    books.add([make(4, tenant_id="blue", usage_source="estimated")])
    total = books.run("acme", "run_1")
    assert (total.calls, total.input_tokens, total.cost_nanousd) == (2, 200, 1_234)
    assert (total.unpriced_calls, total.estimated_calls) == (1, 0)
    assert books.run("blue", "run_1").estimated_calls == 1
    assert books.run("blue", "run_2") == UsageRow()
    assert total.as_dict()["cost_usd"] == "0.000001234"


def test_a_batch_is_booked_whole_or_not_at_all(books: SqlBooks, make: Any) -> None:
    """A batch that fails between its events and its totals leaves neither."""
    with books._database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE usage_daily RENAME TO elsewhere")
    with pytest.raises(Exception, match="usage_daily"):
        books.add([make(1)])
    with books._database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO usage_daily")
    assert books.add([make(1)]) == 1
    assert books.periods("acme")[0].calls == 1


def test_rows_add_up() -> None:
    ones: dict[str, Any] = dict.fromkeys(SUMS, 1)
    twos: dict[str, Any] = dict.fromkeys(SUMS, 2)
    one, two = UsageRow(period="d", **ones), UsageRow(**twos)
    assert (one + two).sums() == dict.fromkeys(SUMS, 3)
    assert sum([one, two], UsageRow()).period is None


def test_every_field_of_an_event_is_kept(books: SqlBooks, make: Any) -> None:
    event: UsageEvent = make(
        1, trace_id="t", subject="s", endpoint="e", request_model="rm", reasoning_tokens=3
    )
    books.add([event])
    with books._database.read() as connection:
        row = dict(connection.exec_driver_sql("SELECT * FROM usage_events").mappings().one())
    assert {name: row[name] for name in event.as_dict() if name != "schema"} == {
        name: value for name, value in event.as_dict().items() if name != "schema"
    }
