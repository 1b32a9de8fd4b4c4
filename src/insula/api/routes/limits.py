"""Limits of the platform, of a tenant, of one agent. They hold from the next call on."""

from __future__ import annotations

import asyncio
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import AgentPath, Body, TenantPath, View
from insula.governance import PLATFORM, Limits

router = APIRouter(tags=["limits"])
Reader = Annotated[Caller, Depends(needs("limits:read"))]
Writer = Annotated[Caller, Depends(needs("limits:write"))]
Figure = Annotated[int | None, Field(description="null: no limit.")]


class LimitsChange(Body):
    """Limits to set; what is left out stays, null lifts a limit."""

    rpm: Figure = None
    tpm: Figure = None
    in_flight: Figure = None
    rpm_burst: Figure = None
    tpm_burst: Figure = None


class LimitsView(View):
    """Limits of one level; null means unlimited."""

    scope: str
    rpm: int | None
    tpm: int | None
    in_flight: int | None
    rpm_burst: int | None
    tpm_burst: int | None

    @classmethod
    def of(cls, scope: str, limits: Limits) -> Self:
        """Return the view of ``limits``."""
        return cls(scope=scope, **limits.as_dict())


@router.get("/platform/limits")
async def get_platform(who: Reader) -> LimitsView:
    """Return the limits that all tenants share."""
    who.must_be_operator()
    return _show(who, PLATFORM)


@router.patch("/platform/limits")
async def set_platform(body: LimitsChange, who: Writer) -> LimitsView:
    """Change the limits that all tenants share."""
    return await _change(who, PLATFORM, body, "platform")


@router.get("/tenants/{tenant}/limits")
async def get_tenant(tenant: TenantPath, who: Reader) -> LimitsView:
    """Return a tenant's limits: those of its tier, unless set."""
    return _show(who, who.must_see(tenant))


@router.patch("/tenants/{tenant}/limits")
async def set_tenant(tenant: TenantPath, body: LimitsChange, who: Writer) -> LimitsView:
    """Change a tenant's limits."""
    return await _change(who, who.must_see(tenant), body, tenant)


@router.get("/tenants/{tenant}/agents/{agent}/limits")
async def get_agent(tenant: TenantPath, agent: AgentPath, who: Reader) -> LimitsView:
    """Return the limits of one agent, within its tenant's."""
    who.platform.registry.get_agent(who.must_see(tenant), agent)
    return _show(who, f"{tenant}/{agent}")


@router.patch("/tenants/{tenant}/agents/{agent}/limits")
async def set_agent(tenant: TenantPath, agent: AgentPath, body: LimitsChange, who: Writer) -> LimitsView:
    """Change the limits of one agent, within its tenant's."""
    who.platform.registry.get_agent(who.must_see(tenant), agent)
    return await _change(who, f"{tenant}/{agent}", body, tenant)


def _show(who: Caller, level: str) -> LimitsView:
    return LimitsView.of("platform" if level == PLATFORM else level, who.platform.governor.limits(level))


async def _change(who: Caller, level: str, body: LimitsChange, stream: str) -> LimitsView:
    """Write the change down, then let it hold. The governor belongs to the event loop."""
    changes = body.model_dump(include=body.model_fields_set)
    async with who.changing:
        changed = who.platform.governor.limits(level).changed(changes)
        await asyncio.to_thread(who.platform.limits.put, level, changed)
        who.platform.governor.set_limits(level, changed)
    await asyncio.to_thread(who.audit, stream, "limits.set", level, **changes)
    return _show(who, level)
