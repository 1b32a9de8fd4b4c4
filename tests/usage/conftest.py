"""What the usage tests share: one event, real books on a real database, an office that answers for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.identity import Authority, SigningKeys, Usage, VerifiedContext
from insula.identity.adapters.sql import SqlKeyStore
from insula.kernel.clock import ManualClock
from insula.kernel.ids import TenantId
from insula.storage import ControlDatabase
from insula.tenancy import Tier, Trust
from insula.tenancy.adapters.sql import SqlRegistry
from insula.usage import Chargeback, Outbox, Recorder, UsageEvent, UsageReports
from insula.usage.adapters.costs import SqlCosts
from insula.usage.adapters.sql import SqlBooks

MakeEvent = Callable[..., UsageEvent]


def event(number: int = 1, **changes: Any) -> UsageEvent:
    """Return a sound event; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "event_id": f"evt_{number:026d}",
        "tenant_id": "acme",
        "request_id": f"req_{number}",
        "provider": "openai",
        "model_id": "m1",
        "timestamp": 1_790_000_000.5,
        "started_at": 1_790_000_000.0,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_nanousd": 1_234,
        "price_version": "p1",
        "agent_id": "researcher",
        "run_id": "run_1",
    }
    return UsageEvent(**{**fields, **changes})


@pytest.fixture(scope="session")
def make() -> MakeEvent:
    return event


@pytest.fixture
def books(tmp_path: Path) -> Iterator[SqlBooks]:
    control = ControlDatabase(tmp_path / "control.db")
    yield SqlBooks(control)
    control.close()


class OpenSealer:
    """Keys of these tests may lie open."""

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        return plaintext

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        return sealed


class Office:
    """Books, reports, chargeback, and an authority that vouches for three tenants."""

    def __init__(self, home: Path) -> None:
        self.clock = ManualClock()
        control = ControlDatabase(home / "control.db")
        registry = SqlRegistry(control, Trust.INTERNAL, self.clock)
        for tenant in ("acme", "blue", "cyan"):
            registry.create(TenantId(tenant), Tier.PRO)
        store = SqlKeyStore(control)
        keys = SigningKeys(store, OpenSealer(), self.clock)
        self.authority = Authority(keys, registry, self.clock, store, lambda _refusal: None)
        self.books = SqlBooks(control)
        self.recorder = Recorder(Outbox(home / "usage"), self.books, linger_s=30)
        self.reports = UsageReports(self.recorder, self.books, self.clock)
        self.chargeback = Chargeback(self.recorder, self.books, SqlCosts(control), self.clock)

    def context(self, tenant: str, audience: Any = Usage) -> VerifiedContext[Any]:
        token = self.authority.mint(TenantId(tenant), "operator/op1", audience)
        context: VerifiedContext[Any] = self.authority.verifier(audience).verify(token)
        return context


@pytest.fixture
def in_office(tmp_path: Path) -> Callable[[Callable[[Office], Awaitable[None]]], None]:
    """Return what runs a scenario in an office that is open."""

    def run(scenario: Callable[[Office], Awaitable[None]]) -> None:
        async def hours() -> None:
            office = Office(tmp_path)
            await office.recorder.start()
            await scenario(office)
            await office.recorder.stop()

        asyncio.run(asyncio.wait_for(hours(), 30))

    return run
