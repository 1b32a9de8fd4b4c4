"""The governor against its oracle, and the promises that span levels."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insula.governance import PLATFORM, UNIT, Governor, Limits, Need, Scope, used_tokens
from insula.kernel.errors import ExceedsLimit, LimitError, RateLimited

ACME, RESEARCHER = Scope("acme"), Scope("acme", "researcher")
PATHS = [[PLATFORM, "acme"], [PLATFORM, "acme", "acme/researcher"], [PLATFORM, "blue"]]

RATE = st.integers(1, 40)
FIGURES = st.fixed_dictionaries({}, optional={"rpm": RATE, "tpm": RATE, "in_flight": st.integers(1, 4)})
LIMITS = st.fixed_dictionaries(dict.fromkeys((PLATFORM, "acme", "acme/researcher", "blue"), FIGURES))
RID = st.sampled_from([f"call{number}" for number in range(6)])
TOKENS = st.integers(0, 30)
GAP = st.sampled_from([0, 1, 250_000, 1_000_000, 5_000_000, 61_000_000])


@st.composite
def traces(draw: st.DrawFn, least: int = 0) -> list[dict[str, Any]]:
    """Operations in any order and repetition, with times that only move on."""
    now, trace = 0, []
    for _ in range(draw(st.integers(least, 40))):
        now += draw(GAP)
        do = draw(
            st.sampled_from(["reserve"] * 4 + ["sent", "progress", "settle", "settle", "cancel", "expire"])
        )
        op: dict[str, Any] = {"do": do, "at": now}
        if do != "expire":
            op["rid"] = draw(RID)
        if do in ("progress", "settle"):
            op["tokens"] = draw(TOKENS)
        if do == "reserve":
            tokens = draw(TOKENS)
            ttl = draw(st.sampled_from([1_000_000, 20_000_000, 600_000_000]))
            op |= {
                "path": draw(st.sampled_from(PATHS)),
                "tokens": tokens,
                "given": draw(st.integers(0, tokens)),
            }
            op |= {"ttl_us": ttl}
        trace.append(op)
    return trace


@settings(max_examples=250, deadline=None)
@given(limits=LIMITS, trace=traces())
def test_every_decision_is_the_oracles(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]]
) -> None:
    replay(limits, trace)


@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, trace=traces())
def test_registers_agree_and_nothing_is_lost(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]]
) -> None:
    """Level and holds equal the oracle's; capacity - level = settled - refilled, exactly."""
    rig, slow = replay(limits, [op for op in trace if op["do"] != "expire"])
    for (key, measure), bucket in slow.buckets.items():
        assert bucket.capacity - bucket.level == bucket.settled - bucket.refilled
        if key in rig.governor._levels:
            level, pending = rig.level(key, measure)
            assert pending == sum(bucket.holds.values())
            if bucket.settled:
                assert level == bucket.level


@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, trace=traces())
def test_nothing_is_pending_when_no_call_lives(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]]
) -> None:
    rig, _ = replay(limits, trace)
    for rid in list(rig.governor._live):
        rig.governor.settle(rid, used_tokens(1))
        rig.governor.settle(rid, used_tokens(1))
        rig.governor.cancel(rid)
    pending = [b.pending for level in rig.governor._levels.values() for b in level.buckets.values()]
    assert set(pending) <= {0}


def registers(governor: Governor) -> list[tuple[Any, ...]]:
    return [
        (key, measure, bucket.level, bucket.pending, bucket.stamp_us)
        for key, level in governor._levels.items()
        for measure, bucket in level.buckets.items()
    ]


@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, trace=traces(5), scope=st.sampled_from([ACME, RESEARCHER]), tokens=TOKENS)
def test_a_refusal_changes_nothing_anywhere(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]], scope: Scope, tokens: int
) -> None:
    rig, _ = replay(limits, [*trace, {"do": "expire", "at": trace[-1]["at"]}])
    rig.governor.standing(scope)  # meets the levels of the scope
    before = registers(rig.governor)
    try:
        rig.governor.reserve(scope, "another", Need.tokens(tokens))
    except LimitError:
        assert registers(rig.governor) == before


@settings(max_examples=150, deadline=None)
@given(limits=LIMITS, trace=traces(), tokens=TOKENS)
def test_waiting_as_told_is_enough(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]], tokens: int
) -> None:
    rig, _ = replay(limits, trace)
    try:
        rig.governor.reserve(RESEARCHER, "another", Need.tokens(tokens))
    except RateLimited as refusal:
        if refusal.details["kind"] == "rate_limited":
            assert refusal.retry_after_s is not None
            rig.now += round(refusal.retry_after_s * 1e6) - 1
            # A hold that expires meanwhile frees more than the refill that the wait was told for.
            if all(grant.expires_us > rig.now for grant in rig.governor._live.values()):
                with pytest.raises(LimitError):
                    rig.governor.reserve(RESEARCHER, "another", Need.tokens(tokens), ttl_s=1)
            rig.now += 1
            rig.governor.reserve(RESEARCHER, "another", Need.tokens(tokens))
    except ExceedsLimit:
        rig.now += 10**12
        with pytest.raises(ExceedsLimit):
            rig.governor.reserve(RESEARCHER, "another", Need.tokens(tokens))


class Clock:
    """Microseconds that a test sets."""

    us = 0

    def __call__(self) -> int:
        return self.us


def governed(**limits: Limits) -> tuple[Governor, Clock]:
    clock, by_key = (
        Clock(),
        {PLATFORM if key == "platform" else key.replace("__", "/"): v for key, v in limits.items()},
    )
    return Governor(clock, lambda key: by_key.get(key, Limits())), clock


@pytest.mark.parametrize("callers", [64, 200])
def test_as_many_callers_as_fit_are_admitted(callers: int) -> None:
    governor, _ = governed(acme=Limits(tpm=1000, tpm_burst=1000))
    admitted: list[int] = []

    async def call(number: int) -> None:
        await asyncio.sleep(0)
        try:
            governor.reserve(ACME, str(number), Need.tokens(100))
        except RateLimited:
            return
        await asyncio.sleep(0)
        admitted.append(number)

    async def all_at_once() -> None:
        await asyncio.gather(*(call(number) for number in range(callers)))

    asyncio.run(all_at_once())
    assert len(admitted) == 10


def test_the_refusal_names_the_level_and_the_limit() -> None:
    governor, _ = governed(
        platform=Limits(rpm=100), acme=Limits(tpm=50), acme__researcher=Limits(in_flight=1)
    )
    governor.reserve(RESEARCHER, "first", Need.tokens(40))
    with pytest.raises(RateLimited) as refused:
        governor.reserve(RESEARCHER, "second", Need.tokens(5))
    assert refused.value.details == {
        "level": "application",
        "limit": "in_flight",
        "kind": "full_of_reservations",
    }
    governor.settle("first", used_tokens(40))
    with pytest.raises(RateLimited) as refused:
        governor.reserve(RESEARCHER, "third", Need.tokens(20))
    assert refused.value.details == {"level": "tenant", "limit": "tpm", "kind": "rate_limited"}
    assert refused.value.retry_after_s == pytest.approx(12.0)
    with pytest.raises(ExceedsLimit) as exceeds:
        governor.reserve(RESEARCHER, "fourth", Need.tokens(51))
    assert exceeds.value.details == {"level": "tenant", "limit": "tpm", "kind": "exceeds"}
    assert exceeds.value.retry_after_s is None


def test_a_bucket_full_of_promises_says_so() -> None:
    governor, clock = governed(acme=Limits(tpm=100))
    governor.reserve(ACME, "long", Need.tokens(90))
    clock.us = 10**8
    with pytest.raises(RateLimited) as refused:
        governor.reserve(ACME, "next", Need.tokens(20))
    assert refused.value.details["kind"] == "full_of_reservations"
    governor.settle("long", used_tokens(3))
    governor.reserve(ACME, "next", Need.tokens(20))


def test_a_request_that_was_sent_is_not_given_back() -> None:
    governor, _ = governed(acme=Limits(rpm=2))
    governor.reserve(ACME, "never sent", Need.tokens(1))
    governor.cancel("never sent")
    for rid in ("one", "two"):
        governor.reserve(ACME, rid, Need.tokens(1))
        governor.sent(rid)
        governor.cancel(rid)
    with pytest.raises(RateLimited):
        governor.reserve(ACME, "three", Need.tokens(1))


def test_in_flight_comes_back_whole() -> None:
    governor, _ = governed(acme=Limits(in_flight=2))
    for turn in range(50):
        governor.reserve(ACME, f"a{turn}", Need.tokens(10))
        governor.reserve(ACME, f"b{turn}", Need.tokens(10))
        with pytest.raises(RateLimited):
            governor.reserve(ACME, f"c{turn}", Need.tokens(10))
        governor.settle(f"a{turn}", used_tokens(99))
        governor.cancel(f"b{turn}")
    assert governor.in_flight() == 0


def test_the_same_id_reserves_once() -> None:
    governor, _ = governed(acme=Limits(rpm=2))
    first = governor.reserve(ACME, "same", Need.tokens(5))
    assert governor.reserve(ACME, "same", Need.tokens(7)) is first
    governor.reserve(ACME, "other", Need.tokens(5))
    with pytest.raises(RateLimited):
        governor.reserve(ACME, "third", Need.tokens(5))


def test_an_id_used_again_after_its_expiry_is_a_new_call() -> None:
    governor, clock = governed(acme=Limits(tpm=100))
    governor.reserve(ACME, "same", Need.tokens(10), ttl_s=1)
    clock.us = 1_000_000
    governor.expire()
    governor.reserve(ACME, "same", Need.tokens(10))
    assert governor.settle("same", used_tokens(10)).quota == 10
    assert governor.settle("same", used_tokens(10)).quota == 0, "the first life must not be settled too"


def test_the_longest_wait_is_the_one_told() -> None:
    governor, _ = governed(
        acme=Limits(rpm=60, rpm_burst=1, tpm=60), acme__researcher=Limits(rpm=6, rpm_burst=1)
    )
    governor.reserve(RESEARCHER, "1", Need.tokens(60))
    governor.settle("1", used_tokens(60))
    with pytest.raises(RateLimited) as refused:
        governor.reserve(RESEARCHER, "2", Need.tokens(30))
    assert (refused.value.details["level"], refused.value.details["limit"]) == ("tenant", "tpm")
    assert refused.value.retry_after_s == pytest.approx(30.0)


def test_holds_come_free_without_traffic() -> None:
    """A gateway that dies between reserve and settle blocks nobody for longer than the ttl."""
    governor, clock = governed(acme=Limits(tpm=100, in_flight=1))
    governor.reserve(ACME, "lost", Need.tokens(100, 10), ttl_s=30)
    clock.us = 29_999_999
    assert governor.expire() == ()
    clock.us = 30_000_000
    assert governor.expire() == ("lost",)
    assert governor.in_flight() == 0
    standing = governor.standing(ACME)
    assert standing.tokens is not None and standing.tokens.remaining == 90
    assert governor.settle("lost", used_tokens(60)).quota == 50
    assert governor.settle("lost", used_tokens(60)).quota == 0
    assert standing.tokens.remaining - governor.standing(ACME).tokens.remaining == 50  # type: ignore[union-attr]


def test_overdue_holds_do_not_refuse_a_newcomer() -> None:
    governor, clock = governed(acme=Limits(in_flight=1))
    governor.reserve(ACME, "lost", Need.tokens(1), ttl_s=5)
    clock.us = 5_000_000
    governor.reserve(ACME, "next", Need.tokens(1))


def test_a_new_limit_counts_calls_that_are_running() -> None:
    governor, _ = governed()
    for number in range(3):
        governor.reserve(RESEARCHER, str(number), Need.tokens(10))
    governor.set_limits("acme", Limits(in_flight=3, tpm=40))
    with pytest.raises(RateLimited) as refused:
        governor.reserve(ACME, "more", Need.tokens(20))
    assert refused.value.details["limit"] in ("in_flight", "tpm")
    for number in range(3):
        governor.settle(str(number), used_tokens(5))
    governor.reserve(ACME, "more", Need.tokens(20))
    assert governor.standing(ACME).tokens == (40, 5, 52_500_000)


def test_a_debt_beyond_what_is_borne_is_told_once_and_makes_estimates_strict() -> None:
    clock, told = Clock(), []
    limits = Limits(tpm=600, debt_percent=10)
    governor = Governor(
        lambda: clock.us, lambda key: limits if key == "acme" else Limits(),
        on_debt=lambda *facts: told.append(facts),
    )  # fmt: skip
    governor.reserve(ACME, "1", Need.tokens(600))
    governor.settle("1", used_tokens(650))
    assert not told and not governor.strict(ACME), "a tenth of the burst is borne"
    clock.us += 6_000_000
    governor.reserve(ACME, "2", Need.tokens(1))
    for rid in ("2", "none"):
        governor.settle(rid, used_tokens(100))
    assert told == [("acme", 90)] and governor.strict(ACME)
    clock.us += 9_000_000
    assert not governor.strict(ACME), "repaid but for what is borne"


def test_more_calls_in_flight_can_be_allowed_while_calls_run() -> None:
    governor, _ = governed(acme=Limits(in_flight=1))
    governor.reserve(ACME, "1")
    governor.set_limits("acme", Limits(in_flight=3))
    governor.reserve(ACME, "2")
    governor.reserve(ACME, "3")
    with pytest.raises(RateLimited):
        governor.reserve(ACME, "4")
    governor.set_limits("acme", Limits(in_flight=1))
    governor.settle("1", used_tokens(0))
    with pytest.raises(RateLimited):
        governor.reserve(ACME, "5")


def test_limits_can_be_raised_lowered_and_taken_back() -> None:
    governor, _ = governed(acme=Limits(rpm=2))
    governor.reserve(ACME, "1", Need.tokens(0))
    governor.settle("1", used_tokens(0))
    governor.set_limits("acme", Limits(rpm=5))
    assert governor.standing(ACME).requests.remaining == 1  # type: ignore[union-attr]
    governor.set_limits("acme", Limits())
    assert governor.standing(ACME).requests is None
    governor.set_limits("acme", None)
    assert governor.limits("acme") == Limits(rpm=2)


@settings(max_examples=100, deadline=None)
@given(limits=LIMITS, trace=traces(8), changed=FIGURES)
def test_changing_limits_in_the_middle_leaks_no_hold(
    replay: Any, limits: dict[str, Any], trace: list[dict[str, Any]], changed: dict[str, int]
) -> None:
    rig, _ = replay(limits, trace)
    rig.governor.set_limits("acme", Limits.parse(changed))
    for rid in list(rig.governor._live):
        rig.governor.progress(rid, used_tokens(3))
        rig.governor.settle(rid, used_tokens(5))
    pending = [b.pending for level in rig.governor._levels.values() for b in level.buckets.values()]
    assert set(pending) <= {0}


def test_idle_levels_are_forgotten_without_a_trace() -> None:
    governor, clock = governed(platform=Limits(tpm=1000), acme=Limits(rpm=60))
    for number in range(30):
        scope = Scope("acme", f"agent{number}")
        governor.reserve(scope, str(number), Need.tokens(10))
        governor.settle(str(number), used_tokens(10))
    governor.expire()
    assert {PLATFORM, "acme"} <= set(governor._levels)
    clock.us = 60_000_000
    governor.expire()
    assert governor._levels == {} and governor._paths == {}
    assert governor.standing(ACME).requests == (60, 60, 0)


def test_a_level_with_a_debt_is_not_forgotten() -> None:
    governor, clock = governed(acme=Limits(tpm=60))
    governor.reserve(ACME, "1", Need.tokens(1))
    governor.settle("1", used_tokens(600))
    clock.us = 300_000_000
    governor.expire()
    with pytest.raises(RateLimited):
        governor.reserve(ACME, "2", Need.tokens(1))


def test_a_tenant_called_platform_is_a_tenant() -> None:
    governor, _ = governed(platform=Limits(rpm=1))
    governor.set_limits("platform", Limits(rpm=50))
    governor.reserve(Scope("platform"), "1", Need.tokens(0))
    assert governor._levels[PLATFORM].buckets["rpm"].pending == UNIT
    assert governor._levels["platform"].buckets["rpm"].pending == UNIT


def test_standing_shows_the_tightest_level() -> None:
    governor, _ = governed(
        platform=Limits(rpm=1000, tpm=10_000),
        acme=Limits(rpm=60, tpm=9_000),
        acme__researcher=Limits(tpm=500),
    )
    governor.reserve(RESEARCHER, "1", Need.tokens(100))
    standing = governor.standing(RESEARCHER)
    assert standing.requests == (60, 59, 1_000_000)
    assert standing.tokens == (500, 400, 12_000_000)
    assert governor.standing(Scope("blue")).requests == (1000, 999, 60_000)
