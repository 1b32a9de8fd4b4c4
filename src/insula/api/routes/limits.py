"""Limits of the platform, of a tenant, of an application, of one agent. They hold from the next call on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import AgentPath, AppPath, Body, Stamp, TenantPath, View
from insula.governance import PLATFORM, Limits
from insula.kernel.clock import rfc3339
from insula.kernel.errors import InvalidRequest

router = APIRouter(tags=["limits"])
Reader = Annotated[Caller, Depends(needs("limits:read"))]
Writer = Annotated[Caller, Depends(needs("limits:write"))]
Figure = Annotated[int | None, Field(description="null: no limit.")]
Rate = Annotated[int | None, Field(description="Per minute; null: no limit.")]
Burst = Annotated[int | None, Field(description="At once after a pause; null: a minute's worth.")]
Tokens = Annotated[int | None, Field(description="Quota tokens by the UTC calendar; null: no budget.")]
Money = Annotated[str | None, Field(description="Dollars, as an exact decimal; null: no budget.")]
MoneyGiven = Annotated[
    Annotated[str, Field(max_length=40)] | int | float | None,
    Field(description="Dollars, at most nine places; null: no budget."),
]


class LimitsChange(Body):
    """Limits to set; what is left out stays, null lifts a limit."""

    rpm: Rate = None
    tpm: Rate = None
    input_tpm: Rate = None
    output_tpm: Rate = None
    in_flight: Figure = None
    rpm_burst: Burst = None
    tpm_burst: Burst = None
    input_tpm_burst: Burst = None
    output_tpm_burst: Burst = None
    tokens_per_day: Tokens = None
    tokens_per_month: Tokens = None
    usd_per_day: MoneyGiven = None
    usd_per_month: MoneyGiven = None
    overdraft_tokens: Figure = Field(None, description="How far below a token budget calls may go.")
    strict: bool | None = Field(None, description="Reserve all of max_tokens.")
    debt_percent: Figure = Field(None, description="Debt borne, in percent of the burst.")
    queue_wait_s: Figure = Field(
        None, description="How long a call may wait at most for a quota, if its caller lets it."
    )
    effective_from: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="When they begin to hold (RFC 3339, or a day); left out: now."
    )


class LimitsView(View):
    """Limits of one level; null means unlimited, or unsaid."""

    scope: str
    rpm: int | None
    tpm: int | None
    input_tpm: int | None
    output_tpm: int | None
    in_flight: int | None
    rpm_burst: int | None
    tpm_burst: int | None
    input_tpm_burst: int | None
    output_tpm_burst: int | None
    tokens_per_day: int | None
    tokens_per_month: int | None
    usd_per_day: Money
    usd_per_month: Money
    overdraft_tokens: int | None
    strict: bool | None
    debt_percent: int | None
    queue_wait_s: int | None
    effective_from: Stamp | None = Field(description="Since when they hold, if they were set.")

    @classmethod
    def of(cls, scope: str, limits: Limits, effective_from: float | None) -> Self:
        """Return the view of ``limits``."""
        since = None if not effective_from else rfc3339(effective_from)
        return cls(scope=scope, effective_from=since, **limits.shown())  # type: ignore[arg-type]


class LimitsHistory(View):
    """What was ever set for a level, oldest first; the last ones may be to come."""

    scope: str
    items: list[LimitsView]


@router.get("/platform/limits")
async def get_platform(who: Reader) -> LimitsView:
    """Return the limits that all tenants share."""
    who.must_be_operator()
    return _show(who, PLATFORM)


@router.patch("/platform/limits")
async def set_platform(body: LimitsChange, who: Writer) -> LimitsView:
    """Change the limits that all tenants share."""
    return await _change(who, PLATFORM, body, "platform")


@router.get("/platform/limits/history")
async def get_platform_history(who: Reader) -> LimitsHistory:
    """Return every limit that was set for the platform, and from when on it holds."""
    who.must_be_operator()
    return _history(who, PLATFORM)


@router.get("/tenants/{tenant}/limits")
async def get_tenant(tenant: TenantPath, who: Reader) -> LimitsView:
    """Return a tenant's limits: those of its tier, unless set."""
    return _show(who, who.must_see(tenant))


@router.patch("/tenants/{tenant}/limits")
async def set_tenant(tenant: TenantPath, body: LimitsChange, who: Writer) -> LimitsView:
    """Change a tenant's limits."""
    return await _change(who, who.must_see(tenant), body, tenant)


@router.get("/tenants/{tenant}/limits/history")
async def get_tenant_history(tenant: TenantPath, who: Reader) -> LimitsHistory:
    """Return every limit that was set for a tenant, and from when on it holds."""
    return _history(who, who.must_see(tenant))


@router.get("/tenants/{tenant}/apps/{app}/limits")
async def get_app(tenant: TenantPath, app: AppPath, who: Reader) -> LimitsView:
    """Return the limits of one application, within its tenant's."""
    return _show(who, f"{who.must_see(tenant)}/{app}")


@router.patch("/tenants/{tenant}/apps/{app}/limits")
async def set_app(tenant: TenantPath, app: AppPath, body: LimitsChange, who: Writer) -> LimitsView:
    """Change the limits of one application, within its tenant's. An agent without one is its own."""
    return await _change(who, f"{who.must_see(tenant)}/{app}", body, tenant)


@router.get("/tenants/{tenant}/apps/{app}/agents/{agent}/limits")
async def get_agent(tenant: TenantPath, app: AppPath, agent: AgentPath, who: Reader) -> LimitsView:
    """Return the limits of one agent, within its application's."""
    return _show(who, f"{who.must_see(tenant)}/{app}/{agent}")


@router.patch("/tenants/{tenant}/apps/{app}/agents/{agent}/limits")
async def set_agent(
    tenant: TenantPath, app: AppPath, agent: AgentPath, body: LimitsChange, who: Writer
) -> LimitsView:
    """Change the limits of one agent, within its application's."""
    return await _change(who, f"{who.must_see(tenant)}/{app}/{agent}", body, tenant)


def _show(who: Caller, level: str) -> LimitsView:
    governing = who.platform.governing
    now = who.platform.clock.now()
    since = [row.effective_from for row in governing.set_limits.history(level) if row.effective_from <= now]
    return LimitsView.of(_scope(level), governing.limits_for(level), since[-1] if since else None)


def _history(who: Caller, level: str) -> LimitsHistory:
    rows = who.platform.governing.set_limits.history(level)
    views = [LimitsView.of(_scope(level), row.limits, row.effective_from) for row in rows]
    return LimitsHistory(scope=_scope(level), items=views)


def _scope(level: str) -> str:
    return "platform" if level == PLATFORM else level


async def _change(who: Caller, level: str, body: LimitsChange, stream: str) -> LimitsView:
    """Write the change down, then let it hold. The governor belongs to the event loop."""
    changes: dict[str, Any] = body.model_dump(include=body.model_fields_set)
    begins = _moment(changes.pop("effective_from", None))
    governing = who.platform.governing
    async with who.changing:
        at = begins or who.platform.clock.now()
        before = governing.set_limits.get(level, at) or governing.limits_for(level)
        await governing.change(level, before.changed(changes), begins)
    audited = changes if begins is None else {**changes, "effective_from": rfc3339(begins)}
    await asyncio.to_thread(who.audit, stream, "limits.set", _scope(level), **audited)
    return _show(who, level)


def _moment(text: str | None) -> float | None:
    """Return a moment in seconds since the epoch; a day begins at midnight UTC. Raises ``InvalidRequest``."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"effective_from is {text[:40]!r}, not a moment",
            hint="write 2026-12-01 or 2026-12-01T09:00:00Z",
            field="effective_from",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
