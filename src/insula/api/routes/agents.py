"""Agents: deployed bundles."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import (
    AgentPath,
    CursorQuery,
    IdempotencyHeader,
    LimitQuery,
    Page,
    Stamp,
    TenantPath,
    View,
)
from insula.api.paging import paged
from insula.bundles import Bundle, inspect
from insula.identity import Storage
from insula.kernel.clock import rfc3339
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import TenantId
from insula.tenancy import Agent

router = APIRouter(tags=["agents"])
Reader = Annotated[Caller, Depends(needs("agents:read"))]
Writer = Annotated[Caller, Depends(needs("agents:write"))]

_ARCHIVE = {
    "requestBody": {
        "required": True,
        "description": "The agent's directory as a gzipped tar, agent.toml at its root.",
        "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class AgentView(View):
    """A deployed agent."""

    tenant: str
    name: str
    bundle: str = Field(description="Digest of its files.")
    runtime: str
    models: list[str]
    limits: dict[str, Any] = Field(description="Bounds from agent.toml, below the tier's.")
    deployed_at: Stamp
    manifest: dict[str, Any]

    @classmethod
    def of(cls, agent: Agent) -> Self:
        """Return the view of ``agent``."""
        return cls(
            tenant=agent.tenant,
            name=agent.name,
            bundle=agent.bundle,
            runtime=agent.runtime,
            models=list(agent.models),
            limits=dict(agent.limits),
            deployed_at=rfc3339(agent.deployed_at),
            manifest=dict(agent.manifest),
        )


@router.post("/tenants/{tenant}/agents", status_code=201, openapi_extra=_ARCHIVE)
async def deploy(
    tenant: TenantPath, request: Request, who: Writer, _key: IdempotencyHeader = None
) -> AgentView:
    """Deploy an agent from a gzipped tar of its directory. The same content again changes nothing."""
    who.must_see(tenant)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/gzip", "application/x-gzip", "application/octet-stream"}:
        raise InvalidRequest(
            "the bundle is not sent as application/gzip",
            hint="insula agent deploy packs and sends it",
            field="content-type",
        )
    archive = await request.body()
    agent = await asyncio.to_thread(_deploy, who, tenant, archive)
    return AgentView.of(agent)


def _deploy(who: Caller, tenant: TenantId, archive: bytes) -> Agent:
    platform = who.platform
    bundle = inspect(archive)
    platform.runtimes.get(bundle.manifest.runtime)
    space = platform.spaces.open(who.context(tenant, Storage))
    platform.bundles.put(space, bundle)
    agent: Agent = platform.registry.put_agent(_agent(tenant, bundle, platform.clock.now()))
    who.audit(tenant, "agent.deployed", agent.name, bundle=agent.bundle, runtime=agent.runtime)
    return agent


def _agent(tenant: TenantId, bundle: Bundle, now: float) -> Agent:
    manifest = bundle.manifest
    return Agent(
        tenant=tenant,
        name=manifest.name,
        bundle=bundle.digest,
        runtime=manifest.runtime,
        models=manifest.models,
        limits=dict(manifest.limits),
        deployed_at=now,
        manifest=manifest.as_dict(),
    )


@router.get("/tenants/{tenant}/agents")
def list_(
    tenant: TenantPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[AgentView]:
    """List a tenant's agents by name."""
    agents = who.platform.registry.list_agents(who.must_see(tenant))
    items, following = paged(agents, lambda agent: agent.name, cursor, limit)
    return Page(items=[AgentView.of(agent) for agent in items], next=following)


@router.get("/tenants/{tenant}/agents/{agent}")
def get(tenant: TenantPath, agent: AgentPath, who: Reader) -> AgentView:
    """Return a deployed agent."""
    return AgentView.of(who.platform.registry.get_agent(who.must_see(tenant), agent))
