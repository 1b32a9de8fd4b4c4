"""Several gateways with books of their own: what each used before they met the store counts, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from insula.governance import PLATFORM, Limits, Need, Scope, used_tokens
from insula.governance.quota.meter import Use
from insula.governance.stores.address import Address
from insula.governance.stores.contract import Ended
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import BudgetExhausted, EnforcementUnavailable, LimitError, Misconfigured

ACME = Scope("acme", "desk", "clerk")
HOUR = int(time.time()) // 3_600


class Gateway:
    """A gateway and its usage records."""

    def __init__(self, used: int = 0, file: Path | None = None) -> None:
        self.used = [used] if used else []
        self.file = file
        self.fails = False
        self.asked: list[float] = []

    async def books(self, until: float) -> dict[str, list[tuple[int, Use]]]:
        self.asked.append(until)
        if self.fails:
            raise OSError("the disk is gone")
        hours = [(HOUR, Use(tokens, tokens * 10, 1)) for tokens in self.used]
        return {key: hours for _, key in ACME.levels()}

    @asynccontextmanager
    async def runs(
        self, server: Any, limits: dict[str, Limits], **options: Any
    ) -> AsyncIterator[ValkeyStore]:
        store = ValkeyStore(
            Address.parse(server.address),
            lambda key: limits.get(key, Limits()),
            books=self.books,
            remember=self.file,
            timeout_s=0.5,
            **options,
        )
        await store.start()
        try:
            yield store
        finally:
            await store.stop()


async def call(store: ValkeyStore, rid: str, tokens: int, scope: Scope = ACME) -> None:
    await store.reserve(scope, rid, Need.tokens(tokens))
    store.settle(rid, used_tokens(tokens))
    await store._outgoing.drained()


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)


def run(test: Awaitable[None]) -> None:
    asyncio.run(test)  # type: ignore[arg-type]


def test_a_first_budget_counts_what_all_gateways_used_before_it(servers: Any) -> None:
    """Before they met the store, by their books; since then, by the store, though no level had a budget."""

    async def test() -> None:
        server, limits = servers(), {"acme": Limits(rpm=10**6)}
        one, two = Gateway(used=100), Gateway(used=20)
        async with (
            one.runs(server, limits, gateways=2) as first,
            two.runs(server, limits, gateways=2) as second,
        ):

            def both(level: str, tokens_per_day: int) -> None:
                for store in (first, second):
                    store.set_limits(level, Limits(tokens_per_day=tokens_per_day))

            await call(first, "a", 3)
            await call(second, "b", 4)
            for level in ("acme", PLATFORM, "acme/desk", "acme/desk/clerk"):
                both(level, 130)
                with pytest.raises(LimitError) as over:
                    await first.reserve(ACME, f"{level}!", Need.tokens(4))
                assert over.value.details["used"] == "127", level
                both(level, 10**9)
            both("acme", 130)
            await call(second, "last", 3)
            assert second.used("acme", "day") == (130, 1_200, 5)
            with pytest.raises(BudgetExhausted):
                await first.reserve(ACME, "none", Need.tokens(1))

    run(test())


def test_a_budget_waits_for_the_gateways_that_there_are_said_to_be(servers: Any) -> None:
    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=50)}
        one, two = Gateway(used=10), Gateway(used=39)
        async with one.runs(server, limits, gateways=2) as first:
            with pytest.raises(EnforcementUnavailable, match="only 1 of the gateways") as closed:
                await first.reserve(ACME, "early", Need.tokens(1))
            assert "INSULA_GATEWAYS" in closed.value.hint and closed.value.retry_after_s == 1.0
            await call(first, "free", 1, Scope("blue"))
            async with two.runs(server, limits, gateways=2) as second:
                await until(lambda: second._books.told)
                await call(first, "one", 1)
                with pytest.raises(BudgetExhausted):
                    await second.reserve(ACME, "two", Need.tokens(1))
            assert first.used("acme", "month").quota == 50

    run(test())


def test_a_gateway_that_comes_later_brings_its_past(servers: Any) -> None:
    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=50)}
        async with Gateway(used=10).runs(server, limits) as first:
            await call(first, "one", 1)
            async with Gateway(used=20).runs(server, limits) as second:
                await until(lambda: second._books.told)
                await call(first, "two", 1)
                assert first.used("acme", "day").quota == 32

    run(test())


def test_a_gateway_that_was_restarted_tells_nothing_twice(servers: Any, tmp_path: Path) -> None:
    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=1_000)}
        gateway = Gateway(used=10, file=tmp_path / "store")
        async with gateway.runs(server, limits) as store:
            await call(store, "one", 5)
        gateway.used.append(5)  # as the records would have it by now
        async with gateway.runs(server, limits) as store:
            await call(store, "two", 1)
            assert store.used("acme", "day").quota == 16
        assert len(gateway.asked) == 1

    run(test())


def test_what_was_told_half_is_told_again_up_to_the_same_moment(servers: Any, tmp_path: Path) -> None:
    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=1_000)}
        gateway = Gateway(used=10, file=tmp_path / "store")
        async with gateway.runs(server, limits) as store:
            await until(lambda: store._books.told)
            gateway.fails = True
        server.say(b"DEL insula:{0}:b")  # as if it had died before the last step
        server.say(b'SETRANGE insula:{0}:m 40 "\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"')
        async with gateway.runs(server, limits) as store:
            await until(lambda: len(gateway.asked) == 2)
            with pytest.raises(EnforcementUnavailable, match="cannot be read from the usage records"):
                await store.reserve(ACME, "early", Need.tokens(1))
            gateway.fails = False
            await until(lambda: store._books.told)
            await call(store, "one", 1)
            assert store.used("acme", "day").quota == 11
        assert len(set(gateway.asked)) == 1

    run(test())


def test_after_a_loss_budgets_go_on_when_every_gateway_told_again(servers: Any, tmp_path: Path) -> None:
    """What ended while the store was away is in the books: it is told with them, not beside them."""

    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=100)}
        one, two = Gateway(used=10, file=tmp_path / "1"), Gateway(used=20, file=tmp_path / "2")
        async with one.runs(server, limits, gateways=2) as first:
            async with two.runs(server, limits, gateways=2) as second:
                await until(lambda: first._books.told and second._books.told)
                await call(first, "one", 5)
                await first.reserve(ACME, "running", Need.tokens(5))
                await first.reserve(ACME, "ends", Need.tokens(5))
                one.used.append(5)
                server.kill()
                await until(lambda: not first.connected and not second.connected)
                first.settle("ends", used_tokens(5))
                one.used.append(5)
            server.start()
            await until(lambda: first.connected and first._books.told)
            with pytest.raises(EnforcementUnavailable, match="only 1 of the gateways"):
                await first.reserve(ACME, "early", Need.tokens(1))
            async with two.runs(server, limits, gateways=2) as second:
                await until(lambda: second._books.told)
                first.settle("running", used_tokens(5))
                await first._outgoing.drained()
                await call(second, "more", 5)
                assert second.used("acme", "day").quota == 10 + 20 + 5 + 5 + 5 + 5

    run(test())


def test_a_gateway_that_died_before_it_told_an_end_tells_it_when_it_is_back(servers: Any) -> None:
    async def test() -> None:
        server, limits = servers(), {"acme": Limits(tokens_per_day=100, in_flight=9)}
        async with Gateway().runs(server, limits) as store:
            for rid in ("told", "untold", "overdue"):
                await store.reserve(ACME, rid, Need.tokens(20), ttl_s=0.01 if rid == "overdue" else 600)
            await call(store, "told", 20)
            await asyncio.sleep(0.02)
            assert await store.expire() == ["overdue"]
            store._calls.clear()  # it dies: nobody tells of the others
        async with Gateway().runs(server, limits) as store:
            ended = [
                Ended(ACME, rid, used_tokens(20)) for rid in ("told", "untold", "overdue", "never heard of")
            ]
            store.recall(ended * 40)
            assert store._recalling is not None
            await store._recalling
            with pytest.raises(LimitError) as over:
                await store.reserve(ACME, "over", Need.tokens(41))
            assert over.value.details["used"] == "60"
            await store.reserve(ACME, "rest", Need.tokens(40))

    run(test())


def test_what_cannot_be_told_now_is_told_when_the_store_is_back(servers: Any) -> None:
    async def test() -> None:
        server, limits = servers(keeps=True), {"acme": Limits(tokens_per_day=100)}
        async with Gateway().runs(server, limits) as store:
            await store.reserve(ACME, "untold", Need.tokens(20))
            store._calls.clear()
        async with Gateway().runs(server, limits) as store:
            server.kill()
            await until(lambda: not store.connected)
            store.recall([Ended(ACME, "untold", used_tokens(20))])
            await asyncio.sleep(0.05)
            server.start()
            assert store._recalling is not None
            await store._recalling
            await call(store, "one", 1)
            assert store.used("acme", "day").quota == 21

    run(test())


def test_a_damaged_memory_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "store"
    file.write_text('{"gateway": "zz"}\n')
    with pytest.raises(Misconfigured, match="is damaged") as wrong:
        ValkeyStore(Address.parse("unix:///nowhere"), lambda _key: Limits(), remember=file)
    assert "remove the file" in wrong.value.hint
