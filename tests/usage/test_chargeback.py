"""Invoices are the sum of events and shared costs, to the nano-dollar; so is the FOCUS export."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from insula.identity import Authority, SigningKeys, Usage, VerifiedContext
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.errors import AlreadyExists, InvalidRequest, NotFound
from insula.kernel.ids import TenantId
from insula.kernel.money import NANO_USD, usd
from insula.storage import ControlDatabase
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.usage import UNPRICED, Outbox, PriceBook, Recorder, Rerating
from insula.usage.adapters.costs import SqlCosts
from insula.usage.adapters.sql import SqlBooks
from insula.usage.chargeback import Chargeback
from insula.usage.focus import COLUMNS
from insula.usage.period import Month
from insula.usage.shared_cost import Basis, SharedCost

TENANTS = (TenantId("acme"), TenantId("blue"), TenantId("cyan"))
SEPTEMBER = Month.parse("2026-09")


class OpenSealer:
    """Keys of this test may lie open."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        return sealed


class Office:
    """Books, shared costs, and an authority that vouches for three tenants."""

    def __init__(self, home: Path) -> None:
        self.clock = ManualClock(SEPTEMBER.next.begin + 5)
        control = ControlDatabase(home / "control.db")
        registry = SqlRegistry(control, Trust.INTERNAL, self.clock)
        for tenant in TENANTS:
            registry.create(tenant, Tier.PRO)
        store = SqlKeyStore(control)
        keys = SigningKeys(store, OpenSealer(), self.clock)
        self.authority = Authority(keys, registry, self.clock, store, lambda _refusal: None)
        self.books = SqlBooks(control)
        self.recorder = Recorder(Outbox(home / "usage"), self.books, linger_s=30)
        self.chargeback = Chargeback(self.recorder, self.books, SqlCosts(control), self.clock)

    def context(self, tenant: TenantId) -> VerifiedContext[Usage]:
        token = self.authority.mint(tenant, "operator/op1", Usage)
        context: VerifiedContext[Usage] = self.authority.verifier(Usage).verify(token)
        return context


def in_office(home: Path, scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def hours() -> None:
        office = Office(home)
        await office.recorder.start()
        await scenario(office)
        await office.recorder.stop()

    asyncio.run(asyncio.wait_for(hours(), 30))


def calls(make: Any, seed: int, count: int = 80) -> list[Any]:
    draw = random.Random(seed)
    return [
        make(
            number,
            tenant_id=draw.choice(TENANTS),
            app_id=draw.choice([None, "shop", "chat"]),
            agent_id=draw.choice([None, "researcher"]),
            model_id=draw.choice(["m1", "m2"]),
            provider=draw.choice(["openai", "anthropic"]),
            timestamp=draw.uniform(SEPTEMBER.begin - 86_400, SEPTEMBER.next.begin + 86_400),
            cost_nanousd=draw.randrange(10**12),
            fair_cost=draw.randrange(10**9),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_invoices_are_the_sum_of_events_and_of_what_is_shared(make: Any, tmp_path: Path, seed: int) -> None:
    async def scenario(office: Office) -> None:
        events = calls(make, seed)
        for event in events:
            office.recorder.record(event)
        await office.recorder.flush()
        office.books.rerate("acme", lambda event: (event.cost_nanousd + 7, "new"), 0, 2e9, now=0)
        costs = [
            SharedCost("idle-gpu", SEPTEMBER, 1_000_000_007, Basis.USAGE),
            SharedCost("platform", SEPTEMBER, 99 * NANO_USD + 1, Basis.COST),
        ]
        for cost in costs:
            await office.chargeback.share(cost)
        invoices = {one: await office.chargeback.invoice(office.context(one), SEPTEMBER) for one in TENANTS}
        inside = [one for one in events if SEPTEMBER.begin <= one.timestamp < SEPTEMBER.next.begin]
        for tenant, invoice in invoices.items():
            mine = [one for one in inside if one.tenant_id == tenant]
            corrected = 7 * len(mine) if tenant == "acme" else 0
            assert invoice.used.calls == len(mine)
            assert invoice.used.cost_nanousd == sum(one.cost_nanousd for one in mine) + corrected
            assert invoice.used.input_tokens == sum(one.input_tokens for one in mine)
            assert not invoice.preliminary
            rows = await office.chargeback.focus(office.context(tenant), SEPTEMBER)
            assert sum(Decimal(row["BilledCost"] or 0) for row in rows) == Decimal(usd(invoice.total_nanousd))
            assert sum(int(row["x_Calls"] or 0) for row in rows) == len(mine)
            assert all(tuple(row) == COLUMNS for row in rows)
        for number, cost in enumerate(costs):
            assert sum(one.shared[number].nanousd for one in invoices.values()) == cost.nanousd
        shared = await office.chargeback.shared(SEPTEMBER)
        assert [sum(parts.values()) for _, parts in shared] == [cost.nanousd for cost in costs]

    in_office(tmp_path, scenario)


def test_a_month_that_runs_is_preliminary_and_one_to_come_is_refused(make: Any, tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        acme = office.context(TENANTS[0])
        assert (await office.chargeback.invoice(acme, SEPTEMBER.next)).as_dict()["preliminary"] is True
        for refused in (
            office.chargeback.invoice(acme, SEPTEMBER.next.next),
            office.chargeback.share(SharedCost("gpu", SEPTEMBER.next.next, 1, Basis.COST)),
        ):
            with pytest.raises(InvalidRequest) as error:
                await refused
            assert error.value.field == "month"
        assert str(office.chargeback.month(None)) == "2026-10"

    in_office(tmp_path, scenario)


def test_lines_are_by_app_agent_and_model_with_their_days(make: Any, tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        for number, day in enumerate((3, 1, 2)):
            office.recorder.record(make(number, timestamp=SEPTEMBER.begin + day * 86_400, app_id="shop"))
        office.recorder.record(make(9, timestamp=SEPTEMBER.begin, model_id="m2"))
        told = (await office.chargeback.invoice(office.context(TENANTS[0]), SEPTEMBER)).as_dict()
        seen = [(line["app"], line["model"], line["first_day"], line["calls"]) for line in told["lines"]]
        assert seen == [(None, "m2", "2026-09-01", 1), ("shop", "m1", "2026-09-02", 3)]
        assert told["lines"][1]["last_day"] == "2026-09-04"
        assert told["total_usd"] == "0.000004936" and told["total_nanousd"] == 4 * 1_234

    in_office(tmp_path, scenario)


def test_a_shared_cost_is_recorded_once_and_can_be_taken_back(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        cost = SharedCost("gpu", SEPTEMBER, 10, Basis.COST)
        await office.chargeback.share(cost)
        with pytest.raises(AlreadyExists):
            await office.chargeback.share(cost)
        assert await office.chargeback.shared(SEPTEMBER) == [(cost, {})]  # nobody used anything
        await office.chargeback.unshare(SEPTEMBER, "gpu")
        with pytest.raises(NotFound):
            await office.chargeback.unshare(SEPTEMBER, "gpu")

    in_office(tmp_path, scenario)


def test_calls_of_an_unpriced_model_are_rated_when_its_price_is_known(make: Any, tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        acme = office.context(TENANTS[0])
        for number, day in enumerate((0, 29.99, 30)):
            moment = SEPTEMBER.begin + day * 86_400
            unpriced = {"model_id": "gpt-4o", "price_version": UNPRICED, "cost_nanousd": 0}
            office.recorder.record(make(number, timestamp=moment, started_at=moment, **unpriced))
        rerating = Rerating(office.recorder, office.books, PriceBook(office.clock), office.clock)
        done = await rerating.rerate(acme, "2026-09-01", "2026-09-30")
        each = 100 * 2_500 + 20 * 10_000
        assert (done.calls, done.corrected, done.delta_nanousd) == (2, 2, 2 * each)
        invoice = await office.chargeback.invoice(acme, SEPTEMBER)
        assert (invoice.total_nanousd, invoice.used.unpriced_calls) == (2 * each, 0)
        assert (await rerating.rerate(acme, "2026-09-01", "2026-09-30")).corrected == 0
        for since, until, field in (("x", "2026-09-30", "since"), ("2026-09-01", "", "until")):
            with pytest.raises(InvalidRequest) as refused:
                await rerating.rerate(acme, since, until)
            assert refused.value.field == field

    in_office(tmp_path, scenario)
