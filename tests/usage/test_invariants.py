"""M1 to M6: what has to hold of usage whatever happens. Each test is named for the invariant it tries."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.kernel.clock import ManualClock
from insula.kernel.errors import InvalidRequest
from insula.storage import ControlDatabase
from insula.usage import UNPRICED, PriceBook, Tokens, UsageEvent, UsageRow
from insula.usage.adapters.sql import SqlBooks
from insula.usage.streamed import StreamedUsage

COUNT = st.integers(0, 1_000)
SEPTEMBER, OCTOBER = 1_788_220_800.0, 1_790_812_800.0


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_m1_parts_are_inside_their_whole(
    make: Any, read: int, cached: int, written: int, hour: int, produced: int, thought: int
) -> None:
    fields = {
        "input_tokens": read,
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": hour,
        "output_tokens": produced,
        "reasoning_tokens": thought,
    }
    honest = cached + written <= read and hour <= written and thought <= produced
    if honest:
        assert make(**fields).tokens == Tokens(read, cached, written, produced, thought, hour)
        return
    with pytest.raises(InvalidRequest):
        make(**fields)


@given(st.lists(COUNT, min_size=1, max_size=10), COUNT, COUNT)
def test_m2_streamed_figures_are_cumulative(steps: list[int], fresh: int, cached: int) -> None:
    """A model that sums the deltas it wrote itself, told cumulatively as Anthropic does."""
    stream, produced = StreamedUsage(Tokens.from_anthropic), 0
    stream.take({"input_tokens": fresh, "cache_read_input_tokens": cached, "output_tokens": 0})
    for step in steps:
        produced += step
        stream.take({"output_tokens": produced})
    assert stream.tokens() == Tokens(fresh + cached, cached, 0, sum(steps))


def everything(books: SqlBooks) -> list[Any]:
    return [
        *books.periods("acme"),
        *books.periods("blue"),
        *books.spent(0),
    ]


def calls(make: Any, draw: random.Random, count: int) -> list[UsageEvent]:
    return [
        make(
            number,
            tenant_id=draw.choice(["acme", "blue"]),
            app_id=draw.choice([None, "shop"]),
            timestamp=draw.uniform(SEPTEMBER, OCTOBER),
            cost_nanousd=draw.randrange(10**12),
            quota_tokens=draw.randrange(10**6),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_m3_duplicates_disorder_and_lateness_leave_totals_equal(make: Any, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    events = calls(make, draw, 40)
    plain = SqlBooks(ControlDatabase(tmp_path / "plain.db"))
    plain.add(events)
    messy = SqlBooks(ControlDatabase(tmp_path / "messy.db"))
    late = draw.sample(events, 5)
    stream = draw.sample(3 * [event for event in events if event not in late], 105)
    for start in range(0, len(stream), 7):
        messy.add(stream[start : start + 7])
    messy.add(late + late)
    assert everything(messy) == everything(plain)


@pytest.mark.parametrize("seed", range(5))
def test_m4_the_sum_over_tenants_is_the_sum_of_events(make: Any, books: SqlBooks, seed: int) -> None:
    events = calls(make, random.Random(seed), 60)
    books.add(events)
    whole = sum(event.cost_nanousd for event in events)
    days = [row for tenant in ("acme", "blue") for row in books.periods(tenant)]
    assert sum(row.cost_nanousd for row in days) == whole
    assert sum(one.cost_nanousd for one in books.spent(0)) == whole
    assert all(type(row.cost_nanousd) is int for row in days)


def total(books: SqlBooks) -> UsageRow:
    return sum(books.periods("acme"), UsageRow())


def raw_events(books: SqlBooks) -> list[Any]:
    with books._database.read() as connection:
        return list(connection.exec_driver_sql("SELECT * FROM usage_events"))


def test_m5_re_rating_writes_adjustments_and_edits_nothing(make: Any, books: SqlBooks) -> None:
    books.add([make(number, timestamp=SEPTEMBER + number, cost_nanousd=100) for number in range(1_200)])
    books.add([make(5_000, timestamp=SEPTEMBER, price_version=UNPRICED, cost_nanousd=0)])
    books.add([make(5_001, timestamp=OCTOBER), make(5_002, tenant_id="blue", timestamp=SEPTEMBER)])
    before = raw_events(books)
    prices = {"up": 150, "down": 90}

    def rate(version: str) -> Any:
        return lambda event: (prices[version], version)

    done = books.rerate("acme", rate("up"), SEPTEMBER, OCTOBER, now=1.0)
    assert (done.calls, done.corrected, done.delta_nanousd) == (1_201, 1_201, 1_200 * 50 + 150)
    assert total(books).cost_nanousd == 1_201 * 150 + 1_234 and total(books).unpriced_calls == 0
    assert books.rerate("acme", rate("up"), SEPTEMBER, OCTOBER, now=2.0).corrected == 0
    done = books.rerate("acme", rate("down"), SEPTEMBER, OCTOBER, now=3.0)
    assert done.delta_nanousd == 1_201 * -60
    assert total(books).cost_nanousd == 1_201 * 90 + 1_234
    assert sum(one.cost_nanousd for one in books.spent(0) if one.tenant == "acme") == 1_201 * 90 + 1_234
    acme, blue = books.spent(SEPTEMBER, SEPTEMBER + 0.5)  # at an edge events are read, corrections and all
    assert (acme.cost_nanousd, acme.calls, blue.cost_nanousd) == (180, 2, 1_234)
    assert books.run("acme", "run_1").cost_nanousd == 1_201 * 90 + 1_234
    assert raw_events(books) == before
    with books._database.read() as connection:
        versions = connection.exec_driver_sql(
            "SELECT price_version, number, count(*) FROM usage_adjustments GROUP BY 1, 2 ORDER BY 2"
        ).fetchall()
    assert versions == [("up", 1, 1_201), ("down", 2, 1_201)]


def test_m5_the_price_list_itself_re_rates(make: Any, books: SqlBooks) -> None:
    """A call that was booked before anybody knew its model's price."""
    call = make(model_id="gpt-4o", timestamp=SEPTEMBER, price_version=UNPRICED, cost_nanousd=0)
    books.add([call, make(2, model_id="nobody-knows", timestamp=SEPTEMBER, price_version=UNPRICED)])
    prices = PriceBook(ManualClock())

    def rate(event: UsageEvent) -> tuple[int, str]:
        return prices.cost_at(event.timestamp, event.provider, event.model_id, event.tokens)

    done = books.rerate("acme", rate, 0, OCTOBER, now=1.0)
    assert (done.calls, done.corrected) == (2, 1)
    assert done.delta_nanousd == 100 * 2_500 + 20 * 10_000
    assert total(books).unpriced_calls == 1


@settings(max_examples=30)
@given(st.sampled_from(["client_abort", "upstream_error", "platform_crash"]))
def test_m6_an_aborted_stream_is_charged_as_an_estimate_and_flagged(make: Any, end: str) -> None:
    with pytest.raises(InvalidRequest):
        make(stream_end=end, usage_source="provider")
    assert make(stream_end=end, usage_source="estimated").cost_nanousd > 0


def test_m6_estimates_are_counted_apart(make: Any, books: SqlBooks) -> None:
    books.add([make(1), make(2, stream_end="client_abort", usage_source="partial")])
    books.add([make(3, stream_end="platform_crash", usage_source="estimated")])
    assert (total(books).calls, total(books).estimated_calls) == (3, 2)
