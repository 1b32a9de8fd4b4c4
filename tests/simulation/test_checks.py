"""The judges, judged: each against the same rule written the slow and obvious way."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from insula.simulation.checks import Books, BucketBound, Gap, OrderChecks, Usage, Violations


@given(
    st.integers(1, 20),
    st.integers(0, 120),
    st.lists(st.tuples(st.integers(0, 5_000_000), st.integers(0, 8)), max_size=12),
)
def test_the_pail_finds_the_worst_window(
    capacity: int, per_minute: int, moves: list[tuple[int, int]]
) -> None:
    bound, now, uses = BucketBound(capacity, per_minute), 0, []
    worst = 0
    for pause, units in moves:
        now += pause
        uses.append((now, units))
        worst = max(worst, bound.use(units, now))
    windows = [
        sum(units for _, units in uses[first : last + 1])
        - capacity
        - Fraction((uses[last][0] - uses[first][0]) * per_minute, 60_000_000)
        for first, last in itertools.combinations_with_replacement(range(len(uses)), 2)
    ]
    assert Fraction(worst, 60_000_000) == max([Fraction(0), *windows])


TENANTS = ("a", "b", "c")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("queue", "serve", "correct", "block", "free")),
            st.sampled_from(TENANTS),
            st.integers(1, 9),
        ),
        max_size=40,
    )
)
def test_the_gap_is_the_worst_of_all_pairs_and_windows(steps: list[tuple[str, str, int]]) -> None:
    weights = {"a": 1, "b": 2, "c": 3}
    gap = Gap(weights, 0, lambda: 0)
    queued, blocked = dict.fromkeys(TENANTS, 0), set()
    served = dict.fromkeys(TENANTS, Fraction(0))
    history: list[tuple[dict[str, Fraction], set[str]]] = [(dict(served), set())]
    for what, tenant, amount in steps:
        if what == "queue":
            queued[tenant] += 1
            gap.queued(tenant, 1)
        elif what == "serve" and queued[tenant]:
            served[tenant] += Fraction(amount, weights[tenant])
            gap.dispatched(tenant, amount)
            history.append((dict(served), waiting(queued, blocked)))
            queued[tenant] -= 1
            gap.queued(tenant, -1)
        elif what == "correct":
            served[tenant] -= Fraction(amount, weights[tenant])
            gap.corrected(tenant, -amount)
        elif what in ("block", "free"):
            (blocked.add if what == "block" else blocked.discard)(tenant)
            gap.blocked(tenant, what == "block")
        history.append((dict(served), waiting(queued, blocked)))
    assert Fraction(gap.worst, 6) == slow_gap(history)


def waiting(queued: dict[str, int], blocked: set[str]) -> set[str]:
    return {name for name, count in queued.items() if count and name not in blocked}


def slow_gap(history: list[tuple[dict[str, Fraction], set[str]]]) -> Fraction:
    """Look at every pair and every stretch of history in which both wait all the time."""
    worst = Fraction(0)
    for one, other in itertools.combinations(TENANTS, 2):
        for first in range(len(history)):
            for served, present in history[first:]:
                if not {one, other} <= present:
                    break
                start = history[first][0]
                apart = (served[one] - start[one]) - (served[other] - start[other])
                worst = max(worst, abs(apart))
    return worst


def test_events_count_once_however_often_and_in_whatever_order_they_come() -> None:
    whole = [Usage(f"c{n}", "acme", 10 * n, n, 5) for n in range(1, 6)]
    for events in (whole, whole[::-1] + whole, [Usage("c3", "acme", 30, 3, 0, True), *whole, *whole]):
        violations = Violations()
        books = Books(violations)
        for event in events:
            books.record(event)
        for event in whole:
            books.debited(event.id, event.tokens)
        books.close()
        assert not violations.broken
        assert books.tokens == sum(event.tokens for event in whole)
        assert books.cost_nanousd == sum(event.cost_nanousd for event in whole)


def test_books_that_differ_by_one_token_are_found() -> None:
    violations = Violations()
    books = Books(violations)
    books.record(Usage("c1", "acme", 10, 0, 5))
    books.debited("c1", 14)
    books.close()
    assert violations.as_list()[0]["property"] == "C2"


def test_batch_before_interactive_and_late_before_early_are_found() -> None:
    violations = Violations()
    checks = OrderChecks(violations, batch_age_us=100)
    checks.queued("batch", "acme", "app", True, 0)
    checks.queued("quick", "acme", "app", False, 1)
    checks.queued("quick2", "acme", "app", False, 2)
    checks.dispatched("batch", "acme", "app", True, 50)
    checks.dispatched("quick2", "acme", "app", False, 60)
    checks.dispatched("quick", "acme", "app", False, 70)
    assert violations.broken == {"Q3": 1, "Q4": 1}


def test_an_aged_batch_item_may_go_first() -> None:
    violations = Violations()
    checks = OrderChecks(violations, batch_age_us=100)
    checks.queued("batch", "acme", "app", True, 0)
    checks.queued("quick", "acme", "app", False, 1)
    checks.dispatched("batch", "acme", "app", True, 100)
    assert not violations.broken
