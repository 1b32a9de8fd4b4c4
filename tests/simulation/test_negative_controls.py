"""Broken parts put in on purpose: a simulation that cannot find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from insula.governance import Governor, Limits
from insula.governance.fairness import FairQueue
from insula.governance.fairness.race import Race
from insula.governance.quota.need import Amounts, Need
from insula.governance.scope import Scope
from insula.kernel.errors import RateLimited
from insula.simulation import faults
from insula.simulation.engine import Setup, simulate
from insula.simulation.policies import WFQ, WFQ_DRF, fair_queue
from insula.simulation.service import Service
from insula.simulation.work import SECOND_US, Tenant


class Grant:
    def __init__(self, need: Need) -> None:
        self.hard, self.held, self.used = need.cap, need.estimate.quota, 0


class Refunding:
    """The obvious bucket for each tenant: debits the estimate, pays back what was not used."""

    def __init__(
        self, clock: Callable[[], int], limits_for: Callable[[str], Limits], _pool_of: object
    ) -> None:
        self.clock, self.limits_for = clock, limits_for
        self.levels: dict[str, tuple[int, int]] = {}
        self.live: dict[str, tuple[str, Grant]] = {}

    def level(self, tenant: str) -> int:
        limits = self.limits_for(tenant)
        assert limits.tpm is not None
        full = limits.tpm * 60_000_000
        level, stamp = self.levels.get(tenant, (full, 0))
        return min(full, level + (self.clock() - stamp) * limits.tpm)

    def reserve(self, scope: Scope, rid: str, need: Need, _ttl_s: float) -> Grant:
        level, ticks = self.level(scope.tenant), need.estimate.quota * 60_000_000
        if level < ticks:
            raise RateLimited("full", retry_after_s=1.0, level="tenant")
        self.levels[scope.tenant] = (level - ticks, self.clock())
        self.live[rid] = (scope.tenant, Grant(need))
        return self.live[rid][1]

    def sent(self, rid: str) -> None: ...

    def progress(self, rid: str, used: Amounts) -> None:
        if rid in self.live:
            self.live[rid][1].used = max(self.live[rid][1].used, used.quota)

    def settle(self, rid: str, used: Amounts) -> Amounts:
        tenant, grant = self.live.pop(rid)
        back = self.level(tenant) + (grant.held - used.quota) * 60_000_000
        self.levels[tenant] = (min((self.limits_for(tenant).tpm or 0) * 60_000_000, back), self.clock())
        return Amounts(quota=used.quota - grant.used)

    def expire(self) -> tuple[str, ...]:
        return ()

    def in_flight(self) -> int:
        return len(self.live)


SLOW = Service(slots=64, kv_tokens=10**9, output_us=400_000)


def test_a_bucket_that_refunds_is_found(load: Any, calls: Any) -> None:
    work = load(calls("acme", (n * 2 for n in range(200))), acme=Tenant(tpm=4000))
    broken = simulate(Setup(work, SLOW, 1, make_governor=Refunding), WFQ)  # type: ignore[arg-type]
    assert broken.violations.broken["P1"] > 0
    assert broken.overshoot_ticks > 0
    sound = simulate(Setup(work, SLOW, 1), WFQ)
    assert not sound.violations.broken
    assert sound.overshoot_ticks == 0


def test_a_queue_that_does_not_lift_is_found(load: Any, calls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = calls("busy", (n * 0.2 for n in range(1200)))
    returning = calls("idle", [0.0, *(120 + n * 0.01 for n in range(300))])
    work = load(steady, returning)
    service = Service(slots=2)
    assert not simulate(Setup(work, service, 1), WFQ).violations.broken
    monkeypatch.setattr(Race, "lift", lambda self, member: None)
    broken = simulate(Setup(work, service, 1), WFQ)
    assert broken.violations.broken["Q1"] == 1


def test_a_queue_that_leaves_slots_free_is_found(load: Any, calls: Any) -> None:
    class Lazy(FairQueue):
        def pick(self, *args: Any, **more: Any) -> Any:
            return None if self.waiting() < 3 else super().pick(*args, **more)

    work = load(calls("acme", range(10)))
    broken = simulate(Setup(work, Service(), 1, make_queue=lambda: Lazy()), WFQ)
    assert broken.violations.broken["Q2"] > 0


def test_a_queue_that_forgets_to_correct_is_found(load: Any, calls: Any) -> None:
    class Forgetful(FairQueue):
        def settle(self, item_id: str, cost: int) -> int:
            return super().settle(item_id, cost + 1)

    work = load(calls("acme", range(10)))
    broken = simulate(Setup(work, Service(), 1, make_queue=lambda: Forgetful()), WFQ)
    assert broken.violations.broken["C2"] == 10


def test_a_governor_that_never_expires_is_found(load: Any, calls: Any) -> None:
    class Hoarding(Governor):
        def expire(self, now_us: int | None = None) -> tuple[str, ...]:
            return ()

    def make(clock: Any, limits_for: Any, pool_of: Any) -> Governor:
        return Hoarding(clock, limits_for, pool_of=pool_of)

    work = load(calls("acme", (n * 0.5 for n in range(400)), output=400))
    crashing = faults.Faults(gateways=1, crash_us=20 * SECOND_US)
    broken = simulate(Setup(work, Service(), 1, crashing, make_governor=make), WFQ_DRF)
    assert broken.violations.broken["P9"] > 0
    assert not simulate(Setup(work, Service(), 1, crashing), WFQ_DRF).violations.broken


def test_the_queue_under_test_is_the_platforms_own() -> None:
    assert type(fair_queue()) is FairQueue
