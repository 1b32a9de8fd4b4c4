"""Reports: only one's own, complete up to the last call, and clear about bad questions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from insula.identity import Authority, Gateway, SigningKeys, Usage, VerifiedContext
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.errors import Denied, InvalidRequest, IsolationBreach
from insula.kernel.ids import RunId, TenantId
from insula.storage import ControlDatabase
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.usage import Outbox, Recorder, UsageReports, UsageRow
from insula.usage.adapters.sql import SqlBooks

ACME, BLUE = TenantId("acme"), TenantId("blue")


class OpenSealer:
    """Keys of this test may lie open."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        return sealed


class Office:
    """A recorder, its reports, and an authority that vouches for two tenants."""

    def __init__(self, home: Path) -> None:
        self.clock = ManualClock()
        control = ControlDatabase(home / "control.db")
        registry = SqlRegistry(control, Trust.INTERNAL, self.clock)
        for tenant in (ACME, BLUE):
            registry.create(tenant, Tier.PRO)
        store = SqlKeyStore(control)
        keys = SigningKeys(store, OpenSealer(), self.clock)
        self.authority = Authority(keys, registry, self.clock, store, lambda _refusal: None)
        books = SqlBooks(control)
        self.recorder = Recorder(Outbox(home / "usage"), books, linger_s=30)
        self.reports = UsageReports(self.recorder, books, self.clock)

    def context(self, tenant: TenantId, audience: Any = Usage) -> VerifiedContext[Any]:
        token = self.authority.mint(tenant, "operator/op1", audience)
        context: VerifiedContext[Any] = self.authority.verifier(audience).verify(token)
        return context


def in_office(home: Path, scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def hours() -> None:
        office = Office(home)
        await office.recorder.start()
        await scenario(office)
        await office.recorder.stop()

    asyncio.run(asyncio.wait_for(hours(), 30))


def test_a_report_is_complete_and_only_ones_own(tmp_path: Path, make: Any) -> None:
    async def scenario(office: Office) -> None:
        for number in range(5):
            office.recorder.record(make(number, tenant_id="acme" if number % 2 else "blue"))
        mine = await office.reports.report(office.context(ACME))
        theirs = await office.reports.report(office.context(BLUE))
        assert (mine.total.calls, theirs.total.calls) == (2, 3)
        assert mine.total.cost_nanousd + theirs.total.cost_nanousd == 5 * 1_234
        assert [row.day for row in mine.rows] == ["2026-09-21"]

    in_office(tmp_path, scenario)


def test_a_run_total_includes_the_call_that_just_ended(tmp_path: Path, make: Any) -> None:
    async def scenario(office: Office) -> None:
        run = RunId("run_1")
        for number in range(3):
            await office.recorder.record(make(number))
            total = await office.reports.run_total(office.context(ACME), run)
            assert total.calls == number + 1
        assert await office.reports.run_total(office.context(BLUE), run) == UsageRow()

    in_office(tmp_path, scenario)


def test_only_a_fresh_context_for_usage_is_answered(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        with pytest.raises(Denied):
            await office.reports.report(office.context(ACME, Gateway))
        with pytest.raises(IsolationBreach):
            await office.reports.report("acme")  # type: ignore[arg-type]
        context = office.context(ACME)
        office.clock.advance(301)
        with pytest.raises(Denied):
            await office.reports.run_total(context, RunId("run_1"))

    in_office(tmp_path, scenario)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        ("yesterday", None, "since"),
        ("2026-02-30", None, "since"),
        (None, "20261123", "until"),
        (None, "2026-11-23T00:00:00", "until"),
        ("2026-11-24", "2026-11-23", "since"),
        (5, None, "since"),
    ],
)
def test_a_day_that_is_none_is_refused_by_field(tmp_path: Path, since: Any, until: Any, field: str) -> None:
    async def scenario(office: Office) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await office.reports.report(office.context(ACME), since, until)
        assert refused.value.field == field and refused.value.hint

    in_office(tmp_path, scenario)
