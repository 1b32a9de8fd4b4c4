"""The server killed, emptied, stopped, restarted, replaced; connections cut; scripts forgotten."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from insula.governance import PLATFORM, Amounts, Hard, Limits, Need, Scope, used_tokens
from insula.governance.quota.meter import Use
from insula.governance.stores.address import Address
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import EnforcementUnavailable, LimitError, RateLimited

ACME, BLUE = Scope("acme", "desk", "clerk"), Scope("blue")


@asynccontextmanager
async def gateway(server: Any, limits: dict[str, Limits], **options: Any) -> AsyncIterator[ValkeyStore]:
    options = {"timeout_s": 0.2} | options
    store = ValkeyStore(Address.parse(server.address), lambda key: limits.get(key, Limits()), **options)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def until(true: Callable[[], Any], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


async def admitted(store: ValkeyStore, scope: Scope, count: int, tokens: int = 1, tag: str = "") -> list[str]:
    """Reserve ``count`` times; the ids that were admitted."""
    rids = [f"{tag}{number}" for number in range(count)]
    answers = await asyncio.gather(
        *(store.reserve(scope, rid, Need.tokens(tokens)) for rid in rids), return_exceptions=True
    )
    for answer in answers:
        assert not isinstance(answer, BaseException) or isinstance(
            answer, LimitError | EnforcementUnavailable
        )
    return [rid for rid, answer in zip(rids, answers, strict=True) if not isinstance(answer, BaseException)]


def run(test: Awaitable[None]) -> None:
    asyncio.run(test)  # type: ignore[arg-type]


def test_while_the_store_is_away_budgets_fail_closed_and_rates_to_a_share(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        limits = {"acme": Limits(nanousd_per_day=10**9), "blue": Limits(tpm=100), "tiny": Limits(in_flight=3)}
        async with gateway(server, limits, gateways=4) as store:
            assert await admitted(store, BLUE, 1)
            server.kill()
            await until(lambda: not store.connected)
            with pytest.raises(EnforcementUnavailable) as closed:
                await store.reserve(ACME, "paid", Need.tokens(1))
            assert closed.value.retry_after_s == 1.0
            with pytest.raises(EnforcementUnavailable):
                await store.reserve(Scope("tiny"), "a limit that cannot be divided", Need.tokens(1))
            assert len(await admitted(store, BLUE, 100, tag="alone")) == 25
            assert store.standing(BLUE).tokens is not None and store.standing(BLUE).tokens.limit == 25  # type: ignore[union-attr]
            assert store.outages.failed_closed == 2
            assert store.outages.failed_open == 100
            assert store.fail_open_s > 0

    run(test())


def test_a_store_that_comes_back_empty_gives_nothing_twice(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        limits = {"acme": Limits(tpm=60, in_flight=50)}
        async with gateway(server, limits, gateways=2) as store:
            before = await admitted(store, ACME, 40, tag="before")
            assert len(before) == 40
            for rid in before[:20]:
                store.settle(rid, used_tokens(1))
            server.kill()
            await until(lambda: not store.connected)
            alone = await admitted(store, ACME, 40, tag="alone")
            assert len(alone) == 25  # half of what may be in flight
            server.start()
            await until(lambda: store.connected)
            assert store.outages.store_lost == 1
            await store._outgoing.drained()
            after = await admitted(store, ACME, 50, tag="after")
            assert after == [], "the burst was used before, and what ran alone is a debt"
            in_flight = store._known.path(store._known.route(ACME), store._link.ground, 0)  # type: ignore[arg-type]
            assert in_flight.slots[0].pending // 60_000_000 == 20 + 25
            for rid in before[20:] + alone:
                store.settle(rid, used_tokens(1))
            await store._outgoing.drained()
            standing = store._known.path(store._known.route(ACME), store._link.ground, 0)  # type: ignore[arg-type]
            assert standing.slots[0].pending == 0 and standing.tokens[0].pending == 0
            assert standing.tokens[0].level < -40 * 60_000_000

    run(test())


def test_budgets_of_an_empty_store_wait_for_the_books(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        told = asyncio.Event()
        books = {"acme": [(0, Use(0, 0, 0))]}

        async def read(_until: float) -> dict[str, list[tuple[int, Use]]]:
            await told.wait()
            if not books:
                raise OSError("no books")
            return dict(books)

        limits = {"acme": Limits(tokens_per_month=1_000)}
        async with gateway(server, limits, books=read) as store:
            told.set()
            (await store.reserve(ACME, "one", Need.tokens(400))).hard  # noqa: B018
            store.settle("one", used_tokens(400))
            await store._outgoing.drained()
            hour = store.exchange.server_us() // 3_600_000_000
            running = await store.reserve(ACME, "running", Need.tokens(300))
            assert running.hard == Hard(300)
            server.kill()
            await until(lambda: not store.connected)
            books.clear()
            server.start()
            await until(lambda: store.connected)
            with pytest.raises(EnforcementUnavailable):
                await store.reserve(ACME, "two", Need.tokens(1))
            books["acme"] = [(hour, Use(400, 0, 1))]
            await until(lambda: store._books.told)
            with pytest.raises(RateLimited) as full:
                await store.reserve(ACME, "three", Need.tokens(301))
            assert full.value.details["used"] == "400"
            await store.reserve(ACME, "four", Need.tokens(300))
            store.settle("running", used_tokens(300))
            await store._outgoing.drained()
            assert store.used("acme", "month").quota == 700

    run(test())


def test_a_restart_with_data_loses_nothing_and_counts_nothing_twice(servers: Any) -> None:
    async def test() -> None:
        server = servers(keeps=True)
        limits = {"acme": Limits(tpm=10**6, tpm_burst=10**6, in_flight=8, tokens_per_day=10**9)}
        async with gateway(server, limits) as store:
            rids = await admitted(store, ACME, 8, tokens=10)
            for rid in rids[:2]:
                store.settle(rid, used_tokens(1_000))
            await store._outgoing.drained()
            server.kill()
            await until(lambda: not store.connected)
            for rid in rids[2:5]:
                store.progress(rid, used_tokens(50))
                store.settle(rid, used_tokens(1_000))
            server.start()
            await until(lambda: store.connected and not store._outgoing)
            assert store.outages.store_lost == 0 and store.outages.store_changed == 2
            assert store.used("acme", "day") == (5_000, 0, 5)
            assert len(await admitted(store, ACME, 8, tag="more")) == 5

    run(test())


def test_a_slow_store_is_given_up_and_takes_nothing_in_late(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        limits = {"acme": Limits(in_flight=4)}
        async with gateway(server, limits, gateways=2) as store:
            assert len(await admitted(store, ACME, 1)) == 1
            server.signal(signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            start = loop.time()
            assert len(await admitted(store, ACME, 6, tag="late")) == 2
            assert loop.time() - start < 2
            await asyncio.sleep(0.3)
            server.signal(signal.SIGCONT)
            await until(lambda: store.connected and not store._outgoing)
            await store._link.wire.ask(b"PING")  # type: ignore[union-attr]
            path = store._known.path(store._known.route(ACME), store._link.ground, 0)  # type: ignore[arg-type]
            assert path.slots[0].pending // 60_000_000 == 3, "one from before, two admitted alone"

    run(test())


def test_functions_that_were_forgotten_are_sent_again(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        async with gateway(server, {"acme": Limits(rpm=10)}) as store:
            server.say(b"FUNCTION FLUSH SYNC")
            assert len(await admitted(store, ACME, 12)) == 10
            server.say(b"FUNCTION FLUSH SYNC")
            store.settle("0", used_tokens(1))
            await store._outgoing.drained()
            assert store.connected and store.outages.failed_open == 0

    run(test())


def test_a_store_emptied_under_way_is_noticed(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        async with gateway(server, {"acme": Limits(in_flight=3)}) as store:
            assert len(await admitted(store, ACME, 3)) == 3
            server.say(b"FLUSHALL")
            store.sent("0")
            await until(lambda: store.outages.store_lost == 1 and store.connected and not store._outgoing)
            assert await admitted(store, ACME, 3, tag="more") == []

    run(test())


def test_a_loss_is_noticed_by_a_gateway_that_was_restarted_too(servers: Any, tmp_path: Path) -> None:
    async def test() -> None:
        server = servers()
        file = tmp_path / "store"
        async with gateway(server, {"acme": Limits(rpm=60)}, remember=file) as store:
            assert len(await admitted(store, ACME, 60)) == 60
        server.kill()
        server.start()
        async with gateway(server, {"acme": Limits(rpm=60)}) as stranger:
            assert stranger.outages.store_lost == 0
        async with gateway(server, {"acme": Limits(rpm=60)}, remember=file) as store:
            assert store.outages.store_lost == 1
            assert len(await admitted(store, ACME, 60)) <= 1

    run(test())


def test_cut_connections_lose_nothing_and_count_nothing_twice(servers: Any) -> None:
    """Calls run while their connection is cut at random; in the end every token is counted once."""

    async def test() -> None:
        server, chance = servers(), random.Random(7)
        limits = {PLATFORM: Limits(tpm=10**6), "acme": Limits(tpm=10**6, in_flight=1_000, rpm=10**5)}
        booked: list[tuple[float, int]] = []

        async def books(until: float) -> dict[str, list[tuple[int, Use]]]:
            hour = int(time.time()) // 3_600
            return {"acme": [(hour, Use(tokens, 0, 1)) for at, tokens in booked if at <= until]}

        async with gateway(server, limits, books=books, metered=lambda key: key == "acme") as store:
            done = asyncio.Event()

            async def cut() -> None:
                while not done.is_set():
                    await asyncio.sleep(chance.uniform(0.001, 0.02))
                    await asyncio.to_thread(server.say, b"CLIENT KILL TYPE normal")

            async def call(number: int) -> int:
                await asyncio.sleep(chance.uniform(0, 0.8))
                rid = f"call{number}"
                try:
                    await store.reserve(ACME, rid, Need.tokens(10))
                except LimitError:
                    return 0
                if chance.random() < 0.2:
                    store.cancel(rid)
                    return 0
                store.sent(rid)
                used = 0
                for _ in range(chance.randint(0, 3)):
                    used += chance.randint(0, 9)
                    store.progress(rid, used_tokens(used))
                    await asyncio.sleep(chance.uniform(0, 0.02))
                used += chance.randint(0, 9)
                booked.append((time.time(), used))
                store.settle(rid, used_tokens(used))
                return used

            cutter = asyncio.create_task(cut())
            totals = await asyncio.gather(*(call(number) for number in range(400)))
            done.set()
            await cutter
            await until(lambda: store.connected and not store._outgoing)
            await store.reserve(ACME, "last", Need.tokens(0))
            store.cancel("last")
            await store._outgoing.drained()
            path = store._known.path(store._known.route(ACME), store._link.ground, 0)  # type: ignore[arg-type]
            for bucket in path.tokens:
                assert bucket.pending == 0
            assert path.slots[0].pending == 0
            assert store.outages.failed_open > 0, "the cuts must have hurt"
            assert store.used("acme", "month").quota == sum(totals)

    run(test())


def test_a_replica_takes_over(servers: Any, tmp_path: Path) -> None:
    async def test() -> None:
        primary = servers(port=True)
        replica = servers(replica_of=primary.port)
        await until(lambda: b"master_link_status:up" in replica.say(b"INFO replication"))
        door = primary.directory / "door"
        door.symlink_to(primary.socket)
        limits = {"acme": Limits(tpm=10**6, in_flight=4, tokens_per_day=10**6)}

        class Door:
            address = f"unix://{door}"

        async with gateway(Door, limits) as store:
            rids = await admitted(store, ACME, 4, tokens=100)
            store.settle(rids[0], used_tokens(100))
            await store._outgoing.drained()
            await until(lambda: b"slave0" in primary.say(b"INFO replication"))
            await asyncio.sleep(0.2)
            primary.kill()
            store.settle(rids[1], used_tokens(100))
            replica.say(b"REPLICAOF NO ONE")
            door.unlink()
            door.symlink_to(replica.socket)
            await until(lambda: store.connected and not store._outgoing)
            assert store.outages.store_lost == 0 and store.outages.store_changed == 2
            assert store.used("acme", "day") == (200, 0, 2)
            assert len(await admitted(store, ACME, 4, tag="more")) == 2

    run(test())


def test_a_gateway_that_has_just_come_learns_what_was_used(servers: Any) -> None:
    """A policy that reads use must not see nothing for long."""

    async def test() -> None:
        server = servers()
        limits = {"acme": Limits(tokens_per_day=100)}
        async with gateway(server, limits) as first, gateway(server, limits) as second:
            await first.reserve(ACME, "one", Need.tokens(60))
            first.settle("one", used_tokens(60))
            await first._outgoing.drained()
            assert second.used("acme", "day").quota == 0
            await until(lambda: second.used("acme", "day").quota == 60)

    run(test())


def test_a_store_that_is_behind_admits_nothing_new(servers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("insula.governance.stores.outgoing.MOST", 5)
        server = servers()
        async with gateway(server, {"acme": Limits(rpm=100)}) as store:
            rids = await admitted(store, ACME, 6)
            server.kill()
            await until(lambda: not store.connected)
            for rid in rids:
                store.settle(rid, used_tokens(1))
            with pytest.raises(EnforcementUnavailable):
                await store.reserve(ACME, "next", Need.tokens(1))
            server.start()
            await until(lambda: store.connected and not store._outgoing)
            await store.reserve(Scope("other"), "next", Need.tokens(1))

    run(test())


def test_a_caller_that_gives_up_waiting_leaves_no_hold(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        async with gateway(server, {"acme": Limits(in_flight=1)}) as store:
            store.reserve(ACME, "gone", Need.tokens(1)).cancel()
            await asyncio.sleep(0.1)
            await store._outgoing.drained()
            assert len(await admitted(store, ACME, 1)) == 1

    run(test())


def test_amounts_beyond_all_bounds_are_taken(servers: Any) -> None:
    async def test() -> None:
        server = servers()
        async with gateway(server, {"acme": Limits(tpm=10**12, nanousd_per_day=10**18)}) as store:
            cap = Hard(10**30, 10**24)
            grant = await store.reserve(ACME, "one", Need(Amounts(1, 5, 5, 0, 0), cap, cap))
            assert grant.hard.nanousd == 10**18
            store.settle("one", Amounts(0, 10**30, 10**30, 0, 10**18))
            await store._outgoing.drained()
            assert store.used("acme", "day").nanousd == 10**18
            with pytest.raises(LimitError):
                await store.reserve(ACME, "two", Need(Amounts(1, 0, 0, 0, 0)))

    run(test())
