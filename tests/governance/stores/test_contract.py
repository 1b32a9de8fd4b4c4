"""What every store of limits promises, asked of each: in process, and shared."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from insula.governance import PLATFORM, Amounts, Governor, Hard, Limits, Need, Scope, used_tokens
from insula.governance.stores.address import Address
from insula.governance.stores.contract import LimitStore
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import BudgetExhausted, ExceedsLimit, RateLimited

ACME, CLERK = Scope("acme"), Scope("acme", "desk", "clerk")
PREFIXES = itertools.count()
World = Callable[[Callable[[Any], Awaitable[None]]], None]


async def soon(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


class Room:
    """A store and its clock, and what a test needs to wait for it."""

    def __init__(self) -> None:
        self.now_us = 1_796_083_000_000_000
        self.store: Any = None

    async def told(self) -> None:
        """Return when everything that was told has arrived."""
        outgoing = getattr(self.store, "_outgoing", None)
        if outgoing is not None:
            await outgoing.drained()

    async def reserve(self, scope: Scope, rid: str, need: Need, ttl_s: float = 600.0) -> Any:
        return await soon(self.store.reserve(scope, rid, need, ttl_s))

    async def expire(self) -> list[str]:
        return list(await soon(self.store.expire()))


@pytest.fixture(params=["memory", "valkey"])
def in_store(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a test's coroutine with a store under these limits."""

    def run(test: Callable[[Room], Awaitable[None]], **limits: Limits) -> None:
        room = Room()
        by_key = {PLATFORM if key == "platform" else key.replace("__", "/"): v for key, v in limits.items()}

        def limits_for(key: str) -> Limits:
            return by_key.get(key, Limits())

        async def with_memory() -> None:
            room.store = Governor(lambda: room.now_us, limits_for, wall_s=lambda: room.now_us / 1e6)
            await test(room)

        async def with_valkey() -> None:
            room.store = ValkeyStore(
                Address.parse(request.getfixturevalue("shared_server").address),
                limits_for,
                prefix=f"contract{next(PREFIXES)}:{{0}}:",
                now_us=lambda: room.now_us,
                timeout_s=5,
            )
            await room.store.start()
            try:
                await test(room)
            finally:
                await room.store.stop()

        asyncio.run(with_memory() if request.param == "memory" else with_valkey())

    return run


def test_it_has_all_that_a_gateway_asks(in_store: Any) -> None:
    async def test(room: Room) -> None:
        for name, member in vars(LimitStore).items():
            if not name.startswith("_") and callable(member):
                assert callable(getattr(room.store, name)), name

    in_store(test)


@pytest.mark.parametrize("callers", [64, 200])
def test_as_many_callers_as_fit_are_admitted(in_store: Any, callers: int) -> None:
    async def test(room: Room) -> None:
        async def call(number: int) -> bool:
            try:
                await room.reserve(CLERK, str(number), Need.tokens(100))
            except RateLimited:
                return False
            return True

        assert sum(await asyncio.gather(*(call(number) for number in range(callers)))) == 10
        assert room.store.in_flight() == 10

    in_store(test, acme=Limits(tpm=1_000))


def test_a_refusal_names_level_limit_kind_and_wait(in_store: Any) -> None:
    async def test(room: Room) -> None:
        await room.reserve(CLERK, "one", Need.tokens(40))
        with pytest.raises(RateLimited) as refused:
            await room.reserve(CLERK, "two", Need.tokens(5))
        assert refused.value.details["limit"] == "in_flight"
        assert refused.value.details["level"] == "agent"
        room.store.settle("one", used_tokens(40))
        await room.told()
        with pytest.raises(RateLimited) as refused:
            await room.reserve(CLERK, "three", Need.tokens(20))
        assert refused.value.details == {"level": "tenant", "limit": "tpm", "kind": "rate_limited"}
        assert refused.value.retry_after_s == pytest.approx(12.0)
        room.now_us += 11_999_999
        with pytest.raises(RateLimited):
            await room.reserve(CLERK, "three", Need.tokens(20))
        room.now_us += 1
        await room.reserve(CLERK, "three", Need.tokens(20))
        with pytest.raises(ExceedsLimit):
            await room.reserve(ACME, "four", Need.tokens(51))

    in_store(test, acme=Limits(tpm=50), acme__desk__clerk=Limits(in_flight=1))


def test_what_was_sent_is_not_given_back(in_store: Any) -> None:
    async def test(room: Room) -> None:
        await room.reserve(ACME, "never sent", Need.tokens(1))
        room.store.cancel("never sent")
        for rid in ("one", "two"):
            await room.reserve(ACME, rid, Need.tokens(1))
            room.store.sent(rid)
            room.store.cancel(rid)
        with pytest.raises(RateLimited):
            await room.reserve(ACME, "three", Need.tokens(1))

    in_store(test, acme=Limits(rpm=2))


def test_a_budget_is_cut_to_what_is_left_and_never_passed(in_store: Any) -> None:
    async def test(room: Room) -> None:
        cap, least = Hard(900, 10**9), Hard(100, 10**7)
        need = Need(Amounts(1, 10, 10, 0, 0), cap, cap, least)
        first = await room.reserve(ACME, "first", need)
        assert first.hard == Hard(900, 10**9)
        second = await room.reserve(ACME, "second", need)
        assert second.hard == Hard(100, 10**9)
        assert await soon(room.store.extend("second", Hard(50, 5 * 10**8))) == Hard(100, 15 * 10**8)
        with pytest.raises(RateLimited) as full:
            await room.reserve(ACME, "third", need)
        assert full.value.details["kind"] == "full_of_reservations"
        room.store.settle("first", Amounts(0, 900, 0, 0, 3 * 10**9))
        room.store.settle("second", Amounts(0, 100, 0, 0, 0))
        await room.told()
        with pytest.raises(BudgetExhausted) as spent:
            await room.reserve(ACME, "third", need)
        assert spent.value.details["limit"] == "tokens_per_day"
        assert room.store.used("acme", "day") == (1_000, 3 * 10**9, 2)
        room.now_us += 86_400 * 10**6
        await room.reserve(ACME, "third", need)

    in_store(test, acme=Limits(tokens_per_day=1_000, nanousd_per_month=10**10))


def test_lost_calls_come_free_and_a_late_settle_counts_once(in_store: Any) -> None:
    async def test(room: Room) -> None:
        await room.reserve(ACME, "lost", Need.tokens(100, 10), ttl_s=30)
        room.now_us += 29_999_999
        assert await room.expire() == []
        room.now_us += 1
        assert await room.expire() == ["lost"]
        assert room.store.in_flight() == 0
        for _ in range(2):
            room.store.settle("lost", used_tokens(60))
            await room.told()
        await room.reserve(ACME, "next", Need.tokens(0))
        standing = room.store.standing(ACME)
        assert standing.tokens.remaining == 1_000 - 60

    in_store(test, acme=Limits(tpm=1_000, tpm_burst=1_000, rpm=10**6))


def test_limits_change_under_running_calls(in_store: Any) -> None:
    async def test(room: Room) -> None:
        for number in range(3):
            await room.reserve(CLERK, str(number), Need.tokens(10))
        room.store.set_limits("acme", Limits(in_flight=3, tpm=40, strict=True, queue_wait_s=9))
        with pytest.raises(RateLimited):
            await room.reserve(ACME, "more", Need.tokens(5))
        for number in range(3):
            room.store.settle(str(number), used_tokens(5))
        await room.reserve(ACME, "more", Need.tokens(20))
        assert room.store.standing(ACME).tokens == (40, 5, 52_500_000)
        assert room.store.strict(ACME) and room.store.queue_wait_s(ACME) == 9
        assert not room.store.budgeted(ACME)
        room.store.set_limits("acme", None)
        assert room.store.limits("acme") == Limits()
        assert not room.store.strict(ACME)

    in_store(test)


def test_the_same_id_reserves_once_and_settles_once(in_store: Any) -> None:
    async def test(room: Room) -> None:
        for _ in range(3):
            await room.reserve(ACME, "one", Need.tokens(10))
        for _ in range(3):
            room.store.settle("one", used_tokens(10))
            room.store.cancel("one")
        await room.told()
        await room.reserve(ACME, "two", Need.tokens(0))
        assert room.store.standing(ACME).tokens.remaining == 90

    in_store(test, acme=Limits(tpm=100))
