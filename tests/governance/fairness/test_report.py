"""The figures: shares, waiting times, what is forgotten and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.governance.fairness import FairnessOverview, FairnessReport, FairQueue, Item, Lane, Lent, race
from insula.governance.fairness.histogram import Histogram
from insula.governance.fairness.report import jain


def item(n: int, tenant: str, cost: int = 10, lane: Lane = Lane.INTERACTIVE) -> Item:
    return Item(f"{tenant}/{n}", tenant, "f", lane, cost)


def two_against_one() -> FairnessReport:
    """Tenants a and b wait all the time, c for a third of it; weights 1, 2 and 3."""
    queue = FairQueue(label_of=lambda tenant: "gold" if tenant == "c" else "plain")
    for tenant, weight in (("b", 2), ("c", 3)):
        queue.weigh(tenant, weight)
    for n in range(200):
        queue.enqueue(item(n, "a"), 0)
        queue.enqueue(item(n, "b"), 0)
    for now in range(180):
        if now == 60:
            for n in range(30):
                queue.enqueue(item(n, "c"), now)
        picked = queue.pick(now)
        assert picked is not None
        queue.settle(picked.id, picked.cost)
    return queue.fairness()


def test_what_was_received_is_what_was_entitled_to() -> None:
    report = two_against_one()
    a, b, c = report.tenants
    assert (a.tenant, a.weight, b.weight, c.weight) == ("a", 1, 2, 3)
    for tenant in report.tenants:
        assert tenant.entitled_share is not None and tenant.received_share is not None
        assert abs(tenant.entitled_share - tenant.received_share) < 0.02
    assert c.entitled_share is not None and abs(c.entitled_share - 1 / 2) < 0.02
    assert a.service + b.service + c.service == 1800
    assert a.backlogged_us == b.backlogged_us == 179 and 50 <= c.backlogged_us <= 70
    assert report.dispatches == 180 and report.waiting == 430 - 180
    assert report.jain > 0.99 and 0 < report.gap <= 1


def test_waiting_times_are_told_by_label_and_lane() -> None:
    gold, plain = two_against_one().waiting_times
    assert (gold.label, gold.lane, gold.count) == ("gold", "interactive", 30)
    assert plain.label == "plain" and plain.count == 150
    assert 0 < gold.p50_us <= gold.p95_us <= gold.p99_us <= gold.largest_us <= 60
    assert plain.largest_us == 179


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_percentile_is_at_most_an_eighth_high(durations: list[int], percent: int) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    durations.sort()
    exact = durations[-(-len(durations) * percent // 100) - 1]
    told = histogram.percentile(percent)
    assert exact <= told <= max(exact + exact // 8, exact)
    assert histogram.count == len(durations)


def test_a_clock_that_steps_back_is_no_wait() -> None:
    histogram = Histogram()
    histogram.add(-5)
    assert (histogram.count, histogram.percentile(99), Histogram().percentile(50)) == (1, 0, 0)


def test_jain_tells_equal_from_all_to_one() -> None:
    assert jain([3.0, 3.0, 3.0]) == 1
    assert abs(jain([1.0, 0.0, 0.0, 0.0]) - 0.25) < 1e-9
    assert jain([]) == 1


def test_who_is_idle_is_forgotten_but_for_a_bounded_number_of_accounts() -> None:
    queue = FairQueue()
    queue.enqueue(item(0, "busy"), 0)
    for n in range(5000):
        queue.enqueue(item(0, f"t{n}"), n)
        for _ in range(2):
            picked = queue.pick(n)
            assert picked is not None
            if picked.tenant == "busy":
                queue.enqueue(item(n + 1, "busy"), n)
            queue.settle(picked.id, 10)
    assert len(list(queue._race)) < 20
    assert len(queue.fairness().tenants) <= 4096 + 20


def test_idle_tenants_with_something_on_record_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of newcomers holds the virtual time where it is, so nobody's return would be lifted."""
    monkeypatch.setattr(race, "_REMEMBERED", 100)
    queue = FairQueue()
    queue.enqueue(item(0, "busy"), 0)
    for n in range(1000):
        queue.enqueue(item(0, f"t{n}"), n)
        picked = queue.pick(n)
        assert picked is not None
        queue.settle(picked.id, 10)
    assert len(list(queue._race)) <= 100 + 3


def test_when_all_is_quiet_nothing_is_remembered() -> None:
    queue = FairQueue()
    for n in range(100):
        queue.enqueue(item(n, f"t{n % 10}"), n)
    for _ in range(100):
        picked = queue.pick(200)
        assert picked is not None
        queue.settle(picked.id, 25)
    assert list(queue._race) == [] and queue._slips == {}


def test_the_accounts_of_who_comes_back_go_on() -> None:
    queue = FairQueue()
    for n in range(3):
        queue.enqueue(item(n, "a"), n)
        queue.pick(n)
        queue.settle(f"a/{n}", 10)
    (tenant,) = queue.fairness().tenants
    assert (tenant.dispatches, tenant.service, tenant.waiting, tenant.in_flight) == (3, 30, 0, 0)


def test_an_overview_shows_queues_that_came_later() -> None:
    endpoints: dict[str, FairQueue] = {}
    overview = FairnessOverview(endpoints, FairQueue())
    assert [queue.name for queue in overview.queues()] == ["sandboxes"]
    endpoints["b"], endpoints["a"] = FairQueue(), FairQueue()
    assert [(queue.name, queue.kind) for queue in overview.queues()][:2] == [
        ("a", "endpoint"),
        ("b", "endpoint"),
    ]
    assert overview.lent() == Lent()
