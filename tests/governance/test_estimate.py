"""Estimates: the quantile is exact, the bounds hold, memory is bounded."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from insula.governance import Estimator, input_tokens
from insula.governance.quota.estimate import COLD, WINDOW, Recent


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3 * WINDOW))
def test_the_quantile_is_that_of_the_last_calls(figures: list[int]) -> None:
    recent = Recent()
    for figure in figures:
        recent.add(figure)
    window = sorted(figures[-WINDOW:])
    assert recent.quantile(95) == window[math.ceil(0.95 * len(window)) - 1]


@given(st.lists(st.integers(0, 10**6), max_size=30), st.integers(-5, 10**6), st.booleans())
def test_an_estimate_never_exceeds_what_was_asked(figures: list[int], most: int, strict: bool) -> None:
    estimator = Estimator()
    for figure in figures:
        estimator.learn("acme/a", "m", figure)
    estimate = estimator.output("acme/a", "m", most, strict=strict)
    assert 1 <= estimate <= max(1, most)
    if strict:
        assert estimate == max(1, most)


def test_a_newcomer_starts_cold_and_learns() -> None:
    estimator = Estimator()
    assert estimator.output("acme/a", "m", 100_000) == COLD
    for _ in range(20):
        estimator.learn("acme/a", "m", 50)
    assert estimator.output("acme/a", "m", 100_000) == 50, "calls that are all alike need no margin"
    assert estimator.output("acme/b", "m", 100_000) == COLD, "one agent's calls say nothing of another's"


def test_inventing_applications_makes_nobody_else_be_forgotten() -> None:
    estimator = Estimator(each=10)
    for _ in range(5):
        estimator.learn("acme/web", "m", 70)
    for number in range(500):
        estimator.learn(f"blue/app{number}", "m", 5)
    assert estimator.output("acme/web", "m", 1000) == 70
    assert len(estimator._tenants["blue"]) == 10


def test_the_least_used_are_dropped() -> None:
    estimator = Estimator(capacity=10)
    for number in range(50):
        estimator.learn(f"t{number}", "m", 1)
        estimator.learn("kept", "m", 1)
    assert len(estimator._tenants) == 10
    assert "kept" in estimator._tenants


def test_input_is_counted_up() -> None:
    assert [input_tokens(size) for size in (0, 1, 4, 5, 4000)] == [1, 1, 1, 2, 1000]
