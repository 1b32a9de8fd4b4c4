"""Budgets and their meters: windows of the calendar, clocks that jump, holds that stretch and yield."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.governance import Amounts, Governor, Hard, Limits, Need, Scope, used_tokens
from insula.governance.quota.meter import HOUR_S, Meter, Use, day_of, ends_at, month_of
from insula.governance.quota.need import PLENTY, promise
from insula.kernel.errors import BudgetExhausted, ExceedsLimit, RateLimited

ACME = Scope("acme")
NOON = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())


class World:
    """A governor with two clocks in hand."""

    def __init__(self, **limits: Limits) -> None:
        self.us = 0
        self.wall = float(NOON)
        self.governor = Governor(
            lambda: self.us,
            lambda key: limits.get(key.replace("/", "__"), Limits()),
            wall_s=lambda: self.wall,
        )

    def used(self, window: str) -> Use:
        return self.governor.used("acme", window)  # type: ignore[arg-type]


def hard(cap: int, want: int | None = None, least: int = 1, nanousd: int = 0) -> Need:
    want = cap if want is None else want
    return Need(Amounts(1), Hard(cap, nanousd), Hard(want, nanousd), Hard(least, nanousd))


HOURS = st.integers(NOON // HOUR_S - 2000, NOON // HOUR_S + 2000)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 1, 5, -1, -3, 24, -24, 100]), st.integers(0, 50)), max_size=40
    )
)
def test_a_meter_knows_each_window_by_its_number(steps: list[tuple[int, int]]) -> None:
    """However the clock steps, the figures are those of the window it names, as far back as is kept."""
    hour = NOON // HOUR_S
    meter = Meter(hour)
    hours: dict[int, int] = defaultdict(int)
    visited: list[int] = []
    for step, quota in steps:
        hour += step
        meter.at(hour)
        meter.add(quota, 2 * quota)
        hours[hour] += quota
        visited.append(hour)
        days = list(dict.fromkeys(reversed([day_of(one) for one in visited])))[:4]
        assert meter.used("hour").quota <= hours[hour]
        if day_of(hour) in days and len({day_of(one) for one in visited}) <= 4:
            assert meter.used("day").quota == sum(q for h, q in hours.items() if day_of(h) == day_of(hour))
        if len({month_of(one) for one in visited}) <= 4:
            right = sum(q for h, q in hours.items() if month_of(h) == month_of(hour))
            assert meter.used("month") == (right, 2 * right, meter.used("month").calls)


@given(st.lists(st.tuples(HOURS, st.integers(0, 100)), max_size=20), st.integers(0, 100))
def test_what_the_books_say_is_counted_on_top(rows: list[tuple[int, int]], own: int) -> None:
    hour = NOON // HOUR_S
    meter = Meter(hour)
    meter.add(own, 0)
    meter.load([(when, Use(quota, 0, 1)) for when, quota in rows])
    today = sum(quota for when, quota in rows if day_of(when) == day_of(hour))
    this_hour = sum(quota for when, quota in rows if when == hour)
    assert meter.used("day").quota == own + today
    assert meter.used("hour").quota == own + this_hour
    meter.at(hour + 1)
    assert meter.used("hour").quota == 0 and meter.used("day").quota >= own + today - 0 * this_hour


def test_windows_end_when_the_calendar_says() -> None:
    hour = NOON // HOUR_S
    assert ends_at("day", hour) == int(datetime(2026, 11, 26, tzinfo=UTC).timestamp())
    assert ends_at("month", hour) == int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())
    december = int(datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp()) // HOUR_S
    assert ends_at("month", december) == int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**7))
def test_a_promise_is_never_more_than_there_is(cap: int, want: int, free: int) -> None:
    given_ = promise(cap, min(want, cap), free)
    assert given_ <= min(cap, free)
    if free >= PLENTY * cap:
        assert given_ == cap


def test_a_budget_is_used_up_until_its_day_ends() -> None:
    world = World(acme=Limits(tokens_per_day=100))
    world.governor.reserve(ACME, "a", hard(60))
    world.governor.settle("a", used_tokens(60))
    assert world.governor.reserve(ACME, "b", hard(60)).hard.quota == 40, "cut to what is left"
    with pytest.raises(RateLimited) as held:
        world.governor.reserve(ACME, "c", hard(60))
    assert held.value.details["kind"] == "full_of_reservations"
    world.governor.settle("b", used_tokens(40))
    with pytest.raises(BudgetExhausted) as refused:
        world.governor.reserve(ACME, "c", hard(60))
    assert refused.value.details["reset_at"] == "2026-11-26T00:00:00.000Z"
    assert refused.value.retry_after_s is None
    with pytest.raises(ExceedsLimit):
        world.governor.reserve(ACME, "d", hard(500, least=101))
    world.wall += 12 * HOUR_S
    assert world.governor.reserve(ACME, "c", hard(60)).hard.quota == 60


def test_a_refusal_tells_a_budget_that_is_used_up_from_one_that_is_too_small_now() -> None:
    world = World(acme=Limits(tokens_per_day=100))
    world.governor.settle(world.governor.reserve(ACME, "a", hard(60)).rid, used_tokens(60))
    with pytest.raises(BudgetExhausted, match="has 40 left, and this call may need 41"):
        world.governor.reserve(ACME, "b", hard(60, least=41))
    world.governor.settle(world.governor.reserve(ACME, "c", hard(40)).rid, used_tokens(40))
    with pytest.raises(BudgetExhausted, match="is used up"):
        world.governor.reserve(ACME, "d", hard(60, least=41))


def test_a_clock_that_steps_back_gives_no_budget_twice() -> None:
    world = World(acme=Limits(tokens_per_day=100))
    world.governor.settle(world.governor.reserve(ACME, "a", hard(100)).rid, used_tokens(100))
    world.wall += 12 * HOUR_S  # tomorrow
    world.governor.settle(world.governor.reserve(ACME, "b", hard(70)).rid, used_tokens(70))
    world.wall -= 12 * HOUR_S  # today again
    with pytest.raises(BudgetExhausted):
        world.governor.reserve(ACME, "c", hard(1))
    world.wall += 12 * HOUR_S
    assert world.governor.reserve(ACME, "d", hard(100)).hard.quota == 30
    world.wall += 1000 * 365 * 24  # far away, and back
    world.wall -= 1000 * 365 * 24
    world.governor.settle("d", used_tokens(30))
    with pytest.raises(BudgetExhausted):
        world.governor.reserve(ACME, "e", hard(1))


def test_money_and_tokens_are_apart_and_the_tighter_one_decides() -> None:
    world = World(acme=Limits(tokens_per_month=1000), STAR=Limits())
    world.governor.set_limits("acme", Limits(tokens_per_month=1000, nanousd_per_month=50))
    grant = world.governor.reserve(ACME, "a", hard(600, nanousd=30))
    assert grant.hard == Hard(600, 30)
    with pytest.raises(RateLimited) as refused:
        world.governor.reserve(ACME, "b", hard(300, nanousd=30))
    assert refused.value.details["limit"] == "usd_per_month"
    world.governor.settle("a", Amounts(0, 10, 10, 0, 3))
    assert world.used("month") == (10, 3, 1)


def test_what_others_give_back_can_be_asked_for_meanwhile() -> None:
    world = World(acme=Limits(tokens_per_day=100))
    world.governor.reserve(ACME, "a", hard(80, want=50))
    world.governor.reserve(ACME, "b", hard(80, want=50))
    assert world.governor.extend("a", Hard(30)) == Hard(50)
    world.governor.settle("b", used_tokens(5))
    assert world.governor.extend("a", Hard(30)) == Hard(80)
    assert world.governor.extend("a", Hard(30)) == Hard(95)
    assert world.governor.extend("gone", Hard(30)) == Hard(0)


def test_a_budget_set_in_the_middle_counts_what_went_before_and_what_runs() -> None:
    world = World()
    world.governor.reserve(ACME, "running", hard(40))
    world.governor.load(
        "tenant", "acme", [(NOON // HOUR_S, Use(50, 0, 1)), (NOON // HOUR_S - 24, Use(7, 0, 1))]
    )
    world.governor.set_limits("acme", Limits(tokens_per_day=100, tokens_per_month=1000))
    assert world.governor.reserve(ACME, "next", hard(40)).hard.quota == 10
    assert world.used("month").quota == 57
    world.governor.settle("running", used_tokens(40))
    assert world.used("day").quota == 90


def test_a_lost_call_frees_its_budget_and_is_counted_when_it_turns_up() -> None:
    world = World(acme=Limits(tokens_per_day=100))
    world.governor.reserve(ACME, "lost", hard(100), ttl_s=10)
    world.us = 11_000_000
    assert world.governor.expire() == ("lost",)
    assert world.governor.reserve(ACME, "next", hard(70)).hard.quota == 70
    world.governor.settle("lost", used_tokens(25))
    world.governor.settle("lost", used_tokens(25))
    assert world.used("day") == (25, 0, 1)
    world.governor.cancel("next")
    assert world.governor.reserve(ACME, "last", hard(100)).hard.quota == 75


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_budget_is_never_passed_in_any_order_of_things(data: st.DataObject) -> None:
    """Calls that stay within what they hold never use more than the limit of any day, at any level."""
    limits = {
        "*": Limits(tokens_per_day=data.draw(st.integers(50, 400))),
        "acme": Limits(tokens_per_day=data.draw(st.integers(20, 300)), nanousd_per_day=500),
    }
    world = World(acme=limits["acme"])
    world.governor.set_limits("*", limits["*"])
    live: dict[str, Hard] = {}
    used: dict[tuple[str, int], int] = defaultdict(int)
    money: dict[int, int] = defaultdict(int)
    for number in range(data.draw(st.integers(1, 40))):
        what = data.draw(
            st.sampled_from(["reserve", "reserve", "settle", "settle", "extend", "cancel", "time"])
        )
        if what == "time":
            step = data.draw(st.sampled_from([10, HOUR_S, 24 * HOUR_S, -HOUR_S, -24 * HOUR_S]))
            # Calls under way end in the day that the clock names then: set back, it may be one used up.
            world.wall += max(0, step) if live else step
        elif what == "reserve":
            cap = data.draw(st.integers(1, 120))
            want = data.draw(st.integers(1, cap))
            scope = data.draw(st.sampled_from([ACME, Scope("blue")]))
            try:
                grant = world.governor.reserve(scope, f"{scope.tenant}{number}", hard(cap, want, nanousd=cap))
                live[grant.rid] = grant.hard
            except (RateLimited, BudgetExhausted, ExceedsLimit):
                pass
        elif live:
            rid = data.draw(st.sampled_from(sorted(live)))
            if what == "extend":
                live[rid] = world.governor.extend(rid, Hard(data.draw(st.integers(0, 50)), 50))
            elif what == "cancel":
                world.governor.cancel(rid)
                del live[rid]
            else:
                held = live.pop(rid)
                tokens = data.draw(st.integers(0, max(0, held.quota)))
                cost = data.draw(st.integers(0, max(0, held.nanousd)))
                world.governor.settle(rid, Amounts(0, tokens, tokens, 0, cost))
                today = day_of(int(world.wall) // HOUR_S)
                used["*", today] += tokens
                if rid.startswith("acme"):
                    used["acme", today] += tokens
                    money[today] += cost
        assert all(figure <= (limits[key].tokens_per_day or 0) for (key, _), figure in used.items())
        assert all(figure <= 500 for figure in money.values())


def test_a_budget_that_sleeps_forgets_nothing_and_takes_little() -> None:
    world = World(acme=Limits(tokens_per_month=100))
    world.governor.settle(world.governor.reserve(ACME, "a", hard(60)).rid, used_tokens(60))
    world.us = 120_000_000
    world.governor.expire()
    assert "acme" not in world.governor._levels and len(world.governor._asleep["acme"]) < 200
    assert world.used("month") == (60, 0, 1) and set(world.governor.meters()) == {"acme"}
    assert not world.governor.begin_meter("tenant", "acme")
    assert world.governor.reserve(ACME, "b", hard(60)).hard.quota == 40
    world.governor.cancel("b")
    world.governor.expire()
    world.wall += 30 * 24 * HOUR_S
    world.governor.expire()
    assert world.governor._asleep == {}
