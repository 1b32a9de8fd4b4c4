"""Which store the settings ask for, and what is said when they cannot be met."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from insula.governance import PLATFORM, Amounts, Governor, Limits, Need, Scope
from insula.governance.stores import build_store
from insula.governance.stores.address import Address
from insula.governance.stores.shards import ShardedStore
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.errors import Misconfigured


class NoPool:
    """Some ledger."""


def build(limits_store: str | None, pool: Any = None) -> Any:
    return build_store(
        limits_store,
        clock=ManualClock(),
        limits_for=lambda _key: Limits(),
        metered=lambda _key: False,
        pool_of=lambda _tenant: pool,
        gateways=3,
    )


def test_without_an_address_the_counters_are_in_process() -> None:
    assert isinstance(build(None), Governor)


def test_with_one_or_more_they_are_shared() -> None:
    async def test() -> None:
        assert isinstance(build("unix:///run/limits.sock"), ValkeyStore)
        sharded = build("valkey://one, valkey://two:7000")
        assert isinstance(sharded, ShardedStore)
        assert [str(shard._link.address) for shard in sharded.shards] == [
            "valkey://one:6379",
            "valkey://two:7000",
        ]

    asyncio.run(test())


@pytest.mark.parametrize(
    "text", ["", "localhost:6379", "http://host", "unix://", "valkey://host:nought", "valkey://secret@:1"]
)
def test_a_malformed_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        build(text)
    assert refused.value.field == "limits_store"
    assert "secret" not in str(refused.value)


def test_an_address_never_shows_its_password() -> None:
    address = Address.parse("valkeys://limits:s%40fe@host")
    assert (address.user, address.password, address.tls) == ("limits", "s@fe", True)
    assert "s@fe" not in repr(address) + str(address)


def test_calls_that_need_a_ledger_are_refused_with_the_reason() -> None:
    async def test() -> None:
        store = build("unix:///nowhere", NoPool())
        with pytest.raises(Misconfigured) as refused:
            await store.reserve(Scope("acme"), "one", Need(Amounts(1, 1, 1, 0, 0), run="run_1"))
        assert "budget" in refused.value.message and refused.value.field == "limits_store"

    asyncio.run(test())


def test_an_answer_in_pieces_is_read_whole(shared_server: Any) -> None:
    """And a password that the server does not want is an answer too: an error."""

    async def test() -> None:
        wire = await Address.parse(shared_server.address).connect(5, lambda: None)
        assert await wire.ask(b"ECHO", b"x" * 10**6) == b"x" * 10**6
        first, second = await asyncio.gather(wire.ask(b"ECHO", b"1"), wire.ask(b"ECHO", b"2"))
        assert (first, second) == (b"1", b"2")
        wire.close()
        with pytest.raises(ConnectionError):
            await wire.ask(b"PING")

    asyncio.run(test())


def test_idle_levels_are_forgotten_and_busy_ones_are_not(shared_server: Any) -> None:
    async def test() -> None:
        shared_server.say(b"FLUSHALL")
        now = 1_796_083_000_000_000
        limits = {PLATFORM: Limits(rpm=60), "debt": Limits(tpm=60), "paid": Limits(nanousd_per_day=10**9)}
        store = ValkeyStore(
            Address.parse(shared_server.address), lambda key: limits.get(key, Limits()), now_us=lambda: now
        )
        await store.start()
        for tenant in ("idle", "used", "debt", "paid", "busy"):
            await store.reserve(Scope(tenant), tenant, Need.tokens(1))
        store.cancel("idle")
        for tenant in ("used", "debt", "paid"):
            store.settle(tenant, Amounts(0, 10_000, 0, 0, 5))
        await store._outgoing.drained()
        wire = store.exchange.link.wire
        assert wire is not None

        async def left() -> set[bytes]:
            cursor = b"0"
            for _ in range(50):
                cursor = await store.exchange.tidy(cursor)
                if cursor == b"0":
                    break
            keys = await wire.ask(b"KEYS", b"insula:{0}:l:*")
            assert isinstance(keys, list)
            return {key.removeprefix(b"insula:{0}:l:") for key in keys}

        now += 60_000_000
        assert await left() == {b"*", b"used", b"debt", b"paid", b"busy"}
        now += 41 * 86_400_000_000
        assert await left() == {b"*", b"busy"}, "what was used in another month is in no budget"
        await store.stop()

    asyncio.run(test())
