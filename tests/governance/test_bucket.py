"""The bucket's own promises: no overshoot, honest waits, conservation, whatever the clock does."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.governance import UNIT, Bucket

AMOUNT = st.integers(0, 12)
GAP_US = st.sampled_from([0, 1, 17, 999_999, 1_000_000, 2_500_000, 7_000_000, 30_000_000, 90_000_000])


class NaiveBucket:
    """The obvious bucket: debit the estimate, refund what was not used. It breaks its own limit."""

    def __init__(self, capacity: int, per_minute: int, now_us: int) -> None:
        self.capacity = self.level = capacity * UNIT
        self.rate, self.stamp_us = per_minute, now_us

    def refresh(self, now_us: int) -> None:
        self.level = min(self.capacity, self.level + (now_us - self.stamp_us) * self.rate)
        self.stamp_us = now_us

    def free(self, now_us: int) -> int:
        self.refresh(now_us)
        return self.level

    def hold(self, ticks: int) -> None:
        self.level -= ticks

    def use(self, ticks: int, promised: int, now_us: int) -> None:
        self.refresh(now_us)
        self.level += promised - ticks


Steps = list[tuple[int, int, int, int]]


def use_of(bucket: Bucket | NaiveBucket, steps: Steps) -> list[tuple[int, int, int]]:
    """Run reserve-then-settle traffic; return (admitted at, ticks really used, ticks beyond the estimate).

    A step is (gap before it in us, estimate, actual, how many later steps until it settles).
    """
    now = 0
    calls: list[tuple[int, int, int]] = []
    open_calls: list[tuple[int, int, int]] = []
    for number, (gap, estimate, actual, lasts) in enumerate(steps):
        now += gap
        for call in [call for call in open_calls if call[0] <= number]:
            bucket.use(call[2] * UNIT, call[1] * UNIT, now)
            open_calls.remove(call)
        if bucket.free(now) >= estimate * UNIT:
            bucket.hold(estimate * UNIT)
            open_calls.append((number + lasts, estimate, actual))
            calls.append((now, actual * UNIT, max(0, actual - estimate) * UNIT))
    return calls


def worst_excess(bucket: Bucket | NaiveBucket, steps: Steps) -> int:
    """Return the most ticks by which any window's use exceeds capacity + rate * time + overruns."""
    capacity, rate = bucket.capacity, bucket.rate
    calls = use_of(bucket, steps)
    worst = 0
    for start in range(len(calls)):
        used = overrun = 0
        for at, actual, beyond in calls[start:]:
            used, overrun = used + actual, overrun + beyond
            worst = max(worst, used - overrun - capacity - (at - calls[start][0]) * rate)
    return worst


STEP = st.tuples(GAP_US, AMOUNT, AMOUNT, st.integers(0, 6))


@st.composite
def traffic(draw: st.DrawFn) -> tuple[int, int, Steps]:
    """A limit and calls that probe it: holds of nearly everything, pauses of nearly the whole refill."""
    capacity, rate = draw(st.integers(1, 20)), draw(st.integers(1, 120))
    refill_us = capacity * UNIT // rate
    gap = st.sampled_from([0, 0, 1, refill_us // 3, refill_us, 2 * refill_us]) | st.integers(0, refill_us)
    estimate = st.sampled_from([1, capacity // 2, capacity]) | st.integers(0, capacity + 1)
    actual = st.sampled_from([0, capacity]) | st.integers(0, 2 * capacity)
    steps = st.lists(st.tuples(gap, estimate, actual, st.integers(1, 12)), max_size=60)
    return capacity, rate, draw(steps)


@settings(max_examples=300, deadline=None)
@given(traffic())
def test_no_window_uses_more_than_its_bound(limit: tuple[int, int, Steps]) -> None:
    capacity, rate, steps = limit
    assert worst_excess(Bucket(capacity, rate, 0), steps) == 0


def adversarial(seed: int, capacity: int, rate: int) -> Steps:
    """Hold everything, wait for the refill, use nothing or all: what a refund pays twice."""
    draw, refill_us = random.Random(seed), capacity * UNIT // rate
    gaps = (0, 0, 0, 0, refill_us)
    return [
        (draw.choice(gaps), capacity, draw.choice((0, capacity)), draw.randrange(1, 20)) for _ in range(100)
    ]


def test_the_refund_bucket_fails_the_same_check() -> None:
    """Negative control: the check above can fail, here by three times the capacity."""
    naive = max(worst_excess(NaiveBucket(10, 60, 0), adversarial(seed, 10, 60)) for seed in range(40))
    exact = max(worst_excess(Bucket(10, 60, 0), adversarial(seed, 10, 60)) for seed in range(40))
    assert naive >= 3 * 10 * UNIT
    assert exact == 0


def test_the_refund_bucket_pays_twice() -> None:
    """The shortest story: hold all, wait for half of the refill, use that, then get the hold back."""
    steps: Steps = [(0, 10, 0, 2), (5_000_000, 5, 5, 9), (0, 10, 10, 9)]
    assert worst_excess(NaiveBucket(10, 60, 0), steps) == 5 * UNIT
    assert worst_excess(Bucket(10, 60, 0), steps) == 0


@st.composite
def worn_buckets(draw: st.DrawFn) -> tuple[Bucket, int]:
    """A bucket somewhere in its life, and the time."""
    bucket, now = Bucket(draw(st.integers(1, 50)), draw(st.integers(1, 10_000)), 0), 0
    for gap, estimate, actual, _ in draw(st.lists(STEP, max_size=12)):
        now += gap
        if bucket.free(now) >= estimate * UNIT:
            bucket.hold(estimate * UNIT)
            if actual % 3:
                bucket.use(actual * UNIT, estimate * UNIT, now)
    return bucket, now + draw(GAP_US)


@settings(max_examples=300, deadline=None)
@given(worn_buckets(), st.integers(0, 60))
def test_the_wait_is_exact_to_the_microsecond(worn: tuple[Bucket, int], units: int) -> None:
    bucket, now = worn
    ticks = units * UNIT
    wait = bucket.wait_us(ticks, now)
    if wait is None:
        assert bucket.free(now + 10**15) < ticks, "refill alone would have been enough"
    else:
        assert bucket.free(now + wait) >= ticks
        assert wait == 0 or bucket.free(now + wait - 1) < ticks


@settings(max_examples=200, deadline=None)
@given(worn_buckets(), AMOUNT, AMOUNT)
def test_who_asks_for_more_is_not_served_before_who_asks_for_less(
    worn: tuple[Bucket, int], less: int, more: int
) -> None:
    bucket, now = worn
    less, more = min(less, more) * UNIT, max(less, more) * UNIT
    assert not (bucket.free(now) >= more and bucket.free(now) < less)
    waits = [bucket.wait_us(ticks, now) for ticks in (less, more)]
    assert waits[1] is None or (waits[0] is not None and waits[0] <= waits[1])


@settings(max_examples=200, deadline=None)
@given(worn_buckets(), st.lists(st.integers(-(10**12), 10**12), max_size=20))
def test_a_clock_that_jumps_never_lifts_a_bucket_above_its_capacity(
    worn: tuple[Bucket, int], jumps: list[int]
) -> None:
    bucket, now = worn
    for jump in jumps:
        now += jump
        before, stamp = bucket.level, bucket.stamp_us
        bucket.refresh(now)
        assert bucket.free(now) + bucket.pending <= bucket.capacity
        assert bucket.stamp_us >= stamp
        if now <= stamp:
            assert bucket.level == before, "a clock that went back added something"


@given(st.integers(1, 10**9), st.lists(st.integers(0, 10**7), min_size=1, max_size=40))
def test_reading_often_loses_no_refill(rate: int, gaps: list[int]) -> None:
    often, once = Bucket(10**9, rate, 0), Bucket(10**9, rate, 0)
    often.level = once.level = 0
    now = 0
    for gap in gaps:
        now += gap
        often.refresh(now)
    once.refresh(now)
    assert often.level == once.level


def test_a_read_writes_nothing() -> None:
    bucket = Bucket(10, 60, 0)
    bucket.hold(4 * UNIT)
    bucket.use(9 * UNIT, 4 * UNIT, 10)
    seen = (bucket.level, bucket.pending, bucket.stamp_us)
    for now in (0, 5, 10**6, 10**9):
        bucket.free(now)
        bucket.wait_us(7 * UNIT, now)
        bucket.idle(now)
    assert (bucket.level, bucket.pending, bucket.stamp_us) == seen


def test_debt_is_repaid_and_never_forgiven() -> None:
    bucket = Bucket(10, 60, 0)
    bucket.hold(5 * UNIT)
    bucket.use(40 * UNIT, 5 * UNIT, 0)
    assert bucket.free(0) == -30 * UNIT
    assert bucket.wait_us(UNIT, 0) == 31_000_000
    assert [bucket.free(seconds * 1_000_000) // UNIT for seconds in (29, 30, 40, 1000)] == [-1, 0, 10, 10]


@pytest.mark.parametrize(("capacity", "per_minute"), [(5, 30), (200, 600)])
def test_resizing_keeps_what_was_used(capacity: int, per_minute: int) -> None:
    bucket = Bucket(100, 600, 0)
    bucket.hold(90 * UNIT)
    bucket.use(90 * UNIT, 90 * UNIT, 0)
    bucket.resize(capacity, per_minute, 0)
    assert bucket.level == min(10, capacity) * UNIT
    full = [bucket.free(second * 1_000_000) for second in range(0, 2000, 100)]
    assert full[-1] == capacity * UNIT
    assert all(earlier <= later for earlier, later in pairwise(full))
