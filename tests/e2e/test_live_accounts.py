"""Budgets and ledgers, which decide about calls, hold the figures that the usage records hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

from insula.governance import Amounts, Limits, Need, Scope
from insula.settings import Settings
from insula.tenancy import Tier
from insula.usage import UsageEvent
from insula.wiring import Platform
from insula.wiring.live_accounts import contradictions

ACME = "acme"


def event(platform: Platform, name: str, quota: int, nanousd: int) -> UsageEvent:
    now = platform.clock.now()
    return UsageEvent(
        event_id=f"req_{name}", tenant_id=ACME, request_id=f"req_{name}", provider="openai", model_id="m1",
        timestamp=now, started_at=now, input_tokens=quota, output_tokens=0, quota_tokens=quota,
        ledger_tokens=quota, cost_nanousd=nanousd, price_version="p",
    )  # fmt: skip


async def call(platform: Platform, name: str, quota: int, nanousd: int, booked: int | None = None) -> None:
    """One call as the gateway accounts for it; ``booked`` is what the records hear, if not the truth."""
    rid = f"req_{name}"
    platform.governing.limits.reserve(Scope(ACME), rid, Need.tokens(quota))
    platform.governing.limits.settle(rid, Amounts(0, quota, quota, 0, nanousd))
    await platform.recorder.record(event(platform, name, quota if booked is None else booked, nanousd))


def test_figures_agree_and_a_difference_of_one_is_found(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(Settings(home=tmp_path / "home", cache=tmp_path / "cache").resolved())
        platform.registry.create(ACME, Tier.PRO)  # type: ignore[arg-type]
        await platform.recorder.start()
        governing = platform.governing
        await call(platform, "before", 7, 70)
        await governing.change(ACME, Limits(tokens_per_month=10**6, nanousd_per_month=10**9))
        await call(platform, "after", 11, 110)
        assert await contradictions(governing) == []
        assert governing.limits.used(ACME, "month") == (18, 180, 2)
        standing = governing.ledgers.standing(ACME)
        assert standing is not None and standing.settled == 18
        await call(platform, "wrong", 5, 50, booked=4)
        (found,) = await contradictions(governing)
        assert (found.account, found.tenant, found.field) == ("limits", ACME, "quota_tokens")
        assert (found.expected, found.found) == (22, 23)
        governing.ledgers.align(ACME, 22)
        assert {one.account for one in await contradictions(governing, ACME)} == {"limits", "ledger"}
        await platform.recorder.stop()
        await governing.stop()
        platform.ground.close()

    asyncio.run(run())
