"""What was spent, against a plain sum over the events: to the event at both edges."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from insula.storage import ControlDatabase
from insula.usage import Spent, UsageEvent
from insula.usage.adapters.sql import SqlBooks

HOUR = 3_600.0
EDGES = [0.0, math.nextafter(HOUR, 0), HOUR, math.nextafter(HOUR, math.inf), 2 * HOUR, 5 * HOUR + 0.5]
MOMENT = st.sampled_from(EDGES) | st.floats(0, 6 * HOUR)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "tenant_id": draw(st.sampled_from(["acme", "blue"])),
            "app_id": draw(st.sampled_from([None, "shop"])),
            "agent_id": draw(st.sampled_from([None, "a"])),
            "timestamp": draw(MOMENT),
            "quota_tokens": draw(st.integers(0, 10**6)),
            "cost_nanousd": draw(st.integers(0, 10**15)),
        }
        for number in range(draw(st.integers(0, 20)))
    ]


def plainly(events: list[UsageEvent], since: float, until: float | None) -> list[Spent]:
    tokens: Counter[tuple[Any, ...]] = Counter()
    cost: Counter[tuple[Any, ...]] = Counter()
    count: Counter[tuple[Any, ...]] = Counter()
    for event in events:
        if since <= event.timestamp and (until is None or event.timestamp <= until):
            hour = int(event.timestamp // HOUR)
            key = (hour, event.tenant_id, event.app_id or "", event.agent_id or "")
            tokens[key] += event.quota_tokens
            cost[key] += event.cost_nanousd
            count[key] += 1
    return [
        Spent(tenant, app, agent, hour, tokens[key], cost[key], count[key])
        for key in sorted(count)
        for hour, tenant, app, agent in [key]
    ]


@settings(max_examples=25, deadline=None)
@given(calls(), st.lists(st.tuples(MOMENT, st.none() | MOMENT), min_size=1, max_size=6))
def test_spent_is_the_plain_sum(
    make: Any, tmp_path_factory: Any, history: list[dict[str, Any]], spans: list[tuple[float, float | None]]
) -> None:
    books = SqlBooks(ControlDatabase(tmp_path_factory.mktemp("books") / "control.db"))
    events = [make(**one) for one in history]
    books.add(events)
    for since, until in spans:
        assert books.spent(since, until) == plainly(events, since, until)


def test_an_event_at_the_very_end_is_in_and_one_after_it_is_not(books: SqlBooks, make: Any) -> None:
    books.add([make(1, timestamp=7_200.25), make(2, timestamp=math.nextafter(7_200.25, math.inf))])
    assert [one.calls for one in books.spent(0, 7_200.25)] == [1]
    assert [one.calls for one in books.spent(7_200.25)] == [2]
    assert books.spent(7_201.0) == []


def test_the_latest_calls_are_told_one_by_one(books: SqlBooks, make: Any) -> None:
    figures = {"quota_tokens": 30, "input_quota_tokens": 20, "output_quota_tokens": 10, "cost_nanousd": 7}
    books.add(
        [
            make(number, timestamp=1_000.0 + number, app_id="shop", agent_id=None, **figures)
            for number in range(5)
        ]
    )
    found = books.concluded(1_002.0, 4)
    assert [one.request_id for one in found] == [make(number).request_id for number in (4, 3, 2)]
    assert found[0][1:] == ("acme", "shop", "", 30, 20, 10, 7)
    assert len(books.concluded(0, 2)) == 2
