"""Fairness as a figure: who was entitled to what where tenants queue, and what they received."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import View
from insula.governance.fairness import Lent, QueueFairness, TenantFairness, WaitingTimes

router = APIRouter(tags=["fairness"])
Reader = Annotated[Caller, Depends(needs("usage:read"))]
Share = Annotated[float | None, Field(description="Of all service while it waited; null: it never waited.")]


class TenantFairnessView(View):
    """One tenant at one queue."""

    tenant: str
    weight: float
    waiting: int
    in_flight: int
    dispatches: int
    service: int = Field(description="Dominant nanoseconds received.")
    debt: int = Field(description="Normalised service, in dominant nanoseconds, that it is behind by now.")
    entitled_share: Share
    received_share: Share
    backlogged_s: float = Field(description="How long it had something waiting.")
    gap: float = Field(description="Its largest normalised gap, as a fraction of the bound.")

    @classmethod
    def of(cls, tenant: TenantFairness) -> Self:
        """Return the view of ``tenant``."""
        return cls(
            tenant=tenant.tenant,
            weight=tenant.weight,
            waiting=tenant.waiting,
            in_flight=tenant.in_flight,
            dispatches=tenant.dispatches,
            service=tenant.service,
            debt=tenant.debt,
            entitled_share=tenant.entitled_share,
            received_share=tenant.received_share,
            backlogged_s=tenant.backlogged_us / 1_000_000,
            gap=tenant.gap,
        )


class WaitingView(View):
    """How long what was served had waited, in seconds."""

    tier: str
    lane: str
    count: int
    p50_s: float
    p95_s: float
    p99_s: float
    largest_s: float

    @classmethod
    def of(cls, times: WaitingTimes) -> Self:
        """Return the view of ``times``."""
        return cls(
            tier=times.label,
            lane=times.lane,
            count=times.count,
            p50_s=times.p50_us / 1_000_000,
            p95_s=times.p95_us / 1_000_000,
            p99_s=times.p99_us / 1_000_000,
            largest_s=times.largest_us / 1_000_000,
        )


class QueueView(View):
    """One queue: an endpoint's calls, or the runs at the sandbox slots."""

    name: str
    kind: str = Field(description="endpoint or sandboxes.")
    waiting: int
    in_flight: int
    dispatches: int
    bound: int = Field(description="2 (1 + sigma) (U + E), in dominant nanoseconds at weight 1.")
    gap: float = Field(description="The largest normalised gap of two tenants, as a fraction of the bound.")
    jain: float = Field(description="Jain's index of received over entitled; 1 is perfect.")
    tenants: list[TenantFairnessView]
    waiting_times: list[WaitingView]

    @classmethod
    def of(cls, queue: QueueFairness) -> Self:
        """Return the view of ``queue``."""
        report = queue.report
        return cls(
            name=queue.name,
            kind=queue.kind,
            waiting=report.waiting,
            in_flight=report.in_flight,
            dispatches=report.dispatches,
            bound=report.bound,
            gap=report.gap,
            jain=report.jain,
            tenants=[TenantFairnessView.of(tenant) for tenant in report.tenants],
            waiting_times=[WaitingView.of(times) for times in report.waiting_times],
        )


class FairnessView(View):
    """Every queue, and what tenants lent and owe, in quota tokens."""

    queues: list[QueueView]
    donated_tokens: int
    reclaimed_tokens: int
    debt_tokens: int
    held_tokens: int = Field(description="Reserved by calls under way.")
    fail_open_seconds: float = Field(description="For how long rates were kept without their store.")

    @classmethod
    def of(cls, queues: list[QueueFairness], lent: Lent) -> Self:
        """Return the view of all queues."""
        return cls(
            queues=[QueueView.of(queue) for queue in queues],
            donated_tokens=lent.donated_tokens,
            reclaimed_tokens=lent.reclaimed_tokens,
            debt_tokens=lent.debt_tokens,
            held_tokens=lent.held_tokens,
            fail_open_seconds=lent.fail_open_seconds,
        )


@router.get("/fairness")
async def show(who: Reader) -> FairnessView:
    """Show shares, gaps and waiting times of every queue. The queues belong to the event loop."""
    who.must_be_operator()
    fairness = who.platform.governing.fairness
    return FairnessView.of(fairness.queues(), fairness.lent())
