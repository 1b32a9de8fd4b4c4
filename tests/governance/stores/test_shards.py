"""Tenants spread over several servers, the platform's rates leased between them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from insula.governance import PLATFORM, Limits, Need, Scope, used_tokens
from insula.governance.quota.meter import Use
from insula.governance.stores.address import Address
from insula.governance.stores.leases import TTL_US, chunk
from insula.governance.stores.shards import ShardedStore, books_of
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import ExceedsLimit, LimitError, Misconfigured, RateLimited

TENANTS = ["acme", "blue", "coral", "delta", "echo", "fox", "gold", "hotel"]
MINUTE = 60_000_000


class Clock:
    us = 1_796_083_000_000_000


@asynccontextmanager
async def sharded(
    server: Any, limits: dict[str, Limits], clock: Clock | None, shards: int = 3, *, leased: bool = True
) -> AsyncIterator[ShardedStore]:
    """Several stores on one server, told apart by their prefix. With a clock, renewals are the test's."""
    server.say(b"FLUSHALL")
    stores = [
        ValkeyStore(
            Address.parse(server.address),
            lambda key: limits.get(key, Limits()),
            prefix=f"shard:{{{number}}}:",
            shards=shards if leased else 1,
            timeout_s=5,
            now_us=None if clock is None else lambda: clock.us,
        )
        for number in range(shards)
    ]
    store = ShardedStore(stores)
    await store.start()
    if clock is not None and store._renewing is not None:
        store._renewing.cancel()
        store._renewing = None
    try:
        yield store
    finally:
        await store.stop()


async def drained(store: ShardedStore) -> None:
    for shard in store.shards:
        await shard._outgoing.drained()


def test_the_tenants_are_spread_and_each_has_its_own_limits(shared_server: Any) -> None:
    async def test() -> None:
        async with sharded(shared_server, {"acme": Limits(rpm=2)}, Clock()) as store:
            assert len({store.shard(tenant) for tenant in TENANTS}) == 3
            for number in range(2):
                await store.reserve(Scope("acme"), str(number), Need.tokens(1))
            with pytest.raises(RateLimited):
                await store.reserve(Scope("acme"), "more", Need.tokens(1))
            await store.reserve(Scope("blue"), "other", Need.tokens(1))
            assert store.in_flight() == 3

    asyncio.run(test())


def test_what_was_used_before_is_told_where_its_tenant_is(shared_server: Any) -> None:
    used = {key: [(1, Use(number + 1, 0, 1))] for number, key in enumerate([*TENANTS, "acme/desk"])}

    async def books(_until: float) -> dict[str, list[tuple[int, Use]]]:
        return used

    async def test() -> None:
        async with sharded(shared_server, {}, Clock()) as store:
            told = [await books_of(number, 3, books)(0.0) for number in range(3)]
            assert sum(map(len, told)) == len(used)
            for shard, part in zip(store.shards, told, strict=True):
                assert part.items() <= used.items()
                assert all(store.shard(key.partition("/")[0]) is shard for key in part)

    asyncio.run(test())


def test_all_of_the_platforms_burst_can_be_used_from_one_shard(shared_server: Any) -> None:
    """A lease is no fixed part: who needs more leases more, down to the last token."""

    async def test() -> None:
        clock = Clock()
        async with sharded(shared_server, {PLATFORM: Limits(tpm=600, tpm_burst=100)}, clock) as store:
            for number in range(10):
                await store.reserve(Scope("acme"), str(number), Need.tokens(10))
            for tenant in TENANTS:
                with pytest.raises(RateLimited) as refused:
                    await store.reserve(Scope(tenant), "more", Need.tokens(10))
                assert refused.value.details["level"] == "platform"
            store.settle("0", used_tokens(10))
            store.settle("1", used_tokens(0))
            await drained(store)
            with pytest.raises(RateLimited) as refused:
                await store.reserve(Scope("acme"), "two", Need.tokens(20))
            assert refused.value.details["kind"] == "rate_limited"
            assert refused.value.retry_after_s == pytest.approx(1.0)
            clock.us += 1_000_000
            await store.reserve(Scope("acme"), "two", Need.tokens(20))
            with pytest.raises(ExceedsLimit):
                await store.reserve(Scope("acme"), "all", Need.tokens(101))

    asyncio.run(test())


def test_what_lies_idle_is_returned(shared_server: Any) -> None:
    async def test() -> None:
        clock = Clock()
        async with sharded(shared_server, {PLATFORM: Limits(tpm=60_000, tpm_burst=1_000)}, clock) as store:
            await store.reserve(Scope("acme"), "one", Need.tokens(1))
            store.settle("one", used_tokens(1))
            await drained(store)
            for _ in range(3):
                await store.renew()
            other = next(tenant for tenant in TENANTS if store.shard(tenant) is not store.shard("acme"))
            await store.reserve(Scope(other), "two", Need.tokens(990))

    asyncio.run(test())


def test_calls_in_flight_are_divided_and_a_budget_is_refused(shared_server: Any) -> None:
    async def test() -> None:
        limits = {PLATFORM: Limits(in_flight=7)}
        async with sharded(shared_server, limits, Clock()) as store:
            count = 0
            for number in range(80):
                try:
                    await store.reserve(Scope(TENANTS[number % 8]), str(number), Need.tokens(1))
                    count += 1
                except RateLimited:
                    pass
            assert count == 6
            limits[PLATFORM] = Limits(nanousd_per_day=10**9)
            with pytest.raises(Misconfigured):
                await store.reserve(Scope("acme"), "paid", Need.tokens(1))

    asyncio.run(test())


@pytest.mark.parametrize("seed", range(3))
def test_the_platform_passes_its_bound_by_no_more_than_the_live_leases(shared_server: Any, seed: int) -> None:
    """In every window: use <= burst + rate * time + what was leased at its beginning.

    Renewals come at random, are cut off between any two of their steps, and at times do not come for longer
    than a lease lives.
    """

    worst, spent, afforded = asyncio.run(traffic(shared_server, seed, leased=True))
    assert worst <= 0
    assert spent > min(afforded, 2_500) / 4, "leasing must not starve the platform"


def test_without_leases_the_platform_passes_its_bound(shared_server: Any) -> None:
    """The check can fail: shards that each take the platform's limits for theirs overshoot."""
    worst, _, _ = asyncio.run(traffic(shared_server, 0, leased=False))
    assert worst > 50


async def traffic(server: Any, seed: int, *, leased: bool) -> tuple[float, int, float]:
    """Return the worst window's excess, and what was spent of what could have been."""
    clock, chance = Clock(), random.Random(seed)
    rate, burst = [(600, 100), (600, 700), (6_000, 100)][seed]
    limits = Limits(tpm=rate, tpm_burst=burst)
    uses: list[tuple[int, int]] = []
    lent: list[tuple[int, int]] = []
    running: dict[str, int] = {}
    async with sharded(server, {PLATFORM: limits}, clock, leased=leased) as store:
        for number in range(250):
            clock.us += chance.choice([0, 1_000, 50_000, 500_000, chance.randint(0, 3_000_000)])
            if chance.random() < 0.01:
                clock.us += TTL_US + 1
            rid, tokens = str(number), chance.randint(1, 40)
            with contextlib.suppress(LimitError):
                await store.reserve(Scope(chance.choice(TENANTS)), rid, Need.tokens(tokens))
                running[rid] = tokens
            for other in [one for one in running if chance.random() < 0.4]:
                used = chance.choice([running[other], running[other] // 2])
                del running[other]
                store.settle(other, used_tokens(used))
                await drained(store)
                uses.append((clock.us, used))
            if leased and chance.random() < 0.5:
                await renew_in_part(store, limits, chance)
            lent.append((clock.us, await live(store) if leased else 0))
    afforded = burst + (uses[-1][0] - uses[0][0]) * rate / MINUTE
    return excess(uses, limits, lent), sum(used for _, used in uses), afforded


async def renew_in_part(store: ShardedStore, limits: Limits, chance: random.Random) -> None:
    """Renew one shard's lease, at times only up to some step: as when the gateway dies."""
    lease = store._leases[chance.choice(store.shards)]
    steps = chance.choice([1, 2, 3, 3, 3])
    shard, home = lease._shard, lease._home
    real_lend, real_lease, taken = home.lend, shard.lease, 0

    async def counted(real: Any, *args: Any) -> Any:
        nonlocal taken
        taken += 1
        return await real(*args) if taken <= steps else None

    home.lend = lambda *args: counted(real_lend, *args)  # type: ignore[method-assign]
    shard.lease = lambda *args: counted(real_lease, *args)  # type: ignore[method-assign]
    await lease.renew(limits, chunk(limits, len(store.shards)))
    home.lend, shard.lease = real_lend, real_lease  # type: ignore[method-assign]


async def live(store: ShardedStore) -> int:
    """Return the tokens that shards may use now: granted and not used."""
    total = 0
    for number, shard in enumerate(store.shards):
        wire = shard.exchange.link.wire
        assert wire is not None
        raw = await wire.ask(b"GET", f"shard:{{{number}}}:l:*".encode())
        if isinstance(raw, bytes):
            total += max(0, int(struct.unpack_from("<30d", raw)[8]))
    return total


def excess(uses: list[tuple[int, int]], limits: Limits, lent: list[tuple[int, int]]) -> float:
    """Return by how much the worst window passes its bound, in tokens."""
    burst, rate, worst = limits.tpm_burst or 0, limits.tpm or 0, float("-inf")
    for first, (start, _) in enumerate(uses):
        before = [held for at, held in lent if at <= start]
        at_start = max(before[-2:], default=0)
        total = 0
        for at, used in uses[first:]:
            total += used
            worst = max(worst, total - burst - rate * (at - start) / MINUTE - at_start)
    return worst
