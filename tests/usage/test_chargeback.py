"""Invoices are the sum of events and shared costs, to the nano-dollar; so is the FOCUS export."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from insula.kernel.errors import AlreadyExists, InvalidRequest, NotFound
from insula.kernel.money import NANO_USD, usd
from insula.usage import UNPRICED, PriceBook, Rerating
from insula.usage.focus import COLUMNS
from insula.usage.period import Month
from insula.usage.shared_cost import Basis, SharedCost

TENANTS = ("acme", "blue", "cyan")
SEPTEMBER = Month.parse("2026-09")


def let_september_end(office: Any) -> None:
    office.clock.advance(SEPTEMBER.next.begin + 5 - office.clock.now())


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
def test_invoices_are_the_sum_of_events_and_of_what_is_shared(make: Any, in_office: Any, seed: int) -> None:
    async def scenario(office: Any) -> None:
        let_september_end(office)
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

    in_office(scenario)


def test_a_month_that_runs_is_preliminary_and_one_to_come_is_refused(make: Any, in_office: Any) -> None:
    async def scenario(office: Any) -> None:
        let_september_end(office)
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

    in_office(scenario)


def test_lines_are_by_app_agent_and_model_with_their_days(make: Any, in_office: Any) -> None:
    async def scenario(office: Any) -> None:
        let_september_end(office)
        for number, day in enumerate((3, 1, 2)):
            office.recorder.record(make(number, timestamp=SEPTEMBER.begin + day * 86_400, app_id="shop"))
        office.recorder.record(make(9, timestamp=SEPTEMBER.begin, model_id="m2"))
        told = (await office.chargeback.invoice(office.context(TENANTS[0]), SEPTEMBER)).as_dict()
        seen = [(line["app"], line["model"], line["first_day"], line["calls"]) for line in told["lines"]]
        assert seen == [(None, "m2", "2026-09-01", 1), ("shop", "m1", "2026-09-02", 3)]
        assert told["lines"][1]["last_day"] == "2026-09-04"
        assert told["total_usd"] == "0.000004936" and told["total_nanousd"] == 4 * 1_234

    in_office(scenario)


def test_a_shared_cost_is_recorded_once_and_can_be_taken_back(in_office: Any) -> None:
    async def scenario(office: Any) -> None:
        let_september_end(office)
        cost = SharedCost("gpu", SEPTEMBER, 10, Basis.COST)
        await office.chargeback.share(cost)
        with pytest.raises(AlreadyExists):
            await office.chargeback.share(cost)
        assert await office.chargeback.shared(SEPTEMBER) == [(cost, {})]  # nobody used anything
        await office.chargeback.unshare(SEPTEMBER, "gpu")
        with pytest.raises(NotFound):
            await office.chargeback.unshare(SEPTEMBER, "gpu")

    in_office(scenario)


def test_calls_of_an_unpriced_model_are_rated_when_its_price_is_known(make: Any, in_office: Any) -> None:
    async def scenario(office: Any) -> None:
        let_september_end(office)
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

    in_office(scenario)
