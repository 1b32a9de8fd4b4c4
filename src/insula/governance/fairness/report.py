"""What an operator is shown of a queue's fairness."""

from __future__ import annotations

from dataclasses import dataclass

from insula.governance.fairness.account import Account
from insula.governance.fairness.histogram import Histogram
from insula.governance.fairness.meter import Meter
from insula.governance.fairness.race import Race
from insula.governance.fairness.tenant import Tenant


@dataclass(frozen=True, slots=True)
class TenantFairness:
    """One tenant. Shares are parts of 1, over the time it had something waiting; ``None``: it never waited.

    ``service`` in units of cost. ``gap`` is the largest distance between its counter and another's while
    both waited, as a fraction of its bound.
    """

    tenant: str
    weight: float
    waiting: int
    in_flight: int
    dispatches: int
    service: int
    entitled_share: float | None
    received_share: float | None
    backlogged_us: int
    gap: float
    debt: int


@dataclass(frozen=True, slots=True)
class WaitingTimes:
    """How long what was served had waited, in microseconds, for one label and lane."""

    label: str
    lane: str
    count: int
    p50_us: int
    p95_us: int
    p99_us: int
    largest_us: int


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """A queue's figures since it was made.

    ``bound`` is 2 (1 + sigma) (U + E): the most by which the normalised service of two tenants that both
    wait may come to differ, in units of cost at weight 1. E counts costs above and below their estimates.
    ``gap`` is twice the largest distance of two counters, which no difference exceeds, as a fraction of the
    bound: at most 1.

    ``jain`` is Jain's index of what tenants received over what they were entitled to; 1 is perfect.
    """

    tenants: tuple[TenantFairness, ...]
    waiting_times: tuple[WaitingTimes, ...]
    waiting: int
    in_flight: int
    dispatches: int
    bound: int
    gap: float
    jain: float


def report(meter: Meter, race: Race[Tenant], skip_budget: int, units: int) -> FairnessReport:
    """Read all figures, in time that grows with the tenants kept. ``units``: of a counter, in one of cost."""
    bound = (1 + skip_budget) * (meter.largest + meter.over + meter.under)
    tenants = tuple(
        _tenant(name, account, race, bound, units) for name, account in sorted(meter.accounts(race).items())
    )
    return FairnessReport(
        tenants=tenants,
        waiting_times=tuple(_times(*key, histogram) for key, histogram in sorted(meter.waiting.items())),
        waiting=sum(tenant.waiting for tenant in tenants),
        in_flight=sum(tenant.in_flight for tenant in tenants),
        dispatches=meter.dispatches,
        bound=2 * bound // units,
        gap=_fraction(meter.gap, bound),
        jain=jain(
            [
                t.received_share / t.entitled_share
                for t in tenants
                if t.entitled_share and t.received_share is not None
            ]
        ),
    )


def jain(values: list[float]) -> float:
    """Return Jain's fairness index: 1 when all are equal, 1/n when one has everything. 1 for none."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _tenant(name: str, account: Account, race: Race[Tenant], bound: int, units: int) -> TenantFairness:
    tenant = race.find(name)
    behind = 0 if tenant is None else race.time - tenant.counter
    return TenantFairness(
        tenant=name,
        weight=account.weight,
        waiting=0 if tenant is None else tenant.queued,
        in_flight=0 if tenant is None else tenant.in_flight,
        dispatches=account.dispatches,
        service=account.service,
        entitled_share=account.entitled / account.offered if account.offered else None,
        received_share=account.received / account.offered if account.offered else None,
        backlogged_us=account.backlogged_us,
        gap=_fraction(account.gap, bound),
        debt=max(0, behind) // units,
    )


def _times(label: str, lane: str, waited: Histogram) -> WaitingTimes:
    p50, p95, p99 = (waited.percentile(percent) for percent in (50, 95, 99))
    return WaitingTimes(label, lane, waited.count, p50, p95, p99, waited.largest)


def _fraction(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
