"""Policies of the platform, of a tenant, of one application. They hold from the next call on."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import Field, WithJsonSchema

from insula.api.caller import Caller, needs
from insula.api.fields import (
    AppPath,
    Body,
    CursorQuery,
    Gone,
    LabelPath,
    LimitQuery,
    Page,
    Stamp,
    TenantPath,
    View,
)
from insula.api.paging import paged
from insula.governance.policy import Held, Mode, WouldBe, parse_mode, parse_name
from insula.governance.scope import PLATFORM
from insula.kernel.clock import rfc3339
from insula.kernel.ids import AppName, TenantId

router = APIRouter(tags=["policies"])
Reader = Annotated[Caller, Depends(needs("limits:read"))]
Writer = Annotated[Caller, Depends(needs("limits:write"))]
_MODES = {"type": "string", "enum": [mode.value for mode in Mode]}


class PolicyPut(Body):
    """An expression in CEL, and whether it is obeyed or only recorded."""

    expression: Annotated[str, Field(max_length=8192, description="CEL; see the page on policies.")]
    mode: Annotated[str, Field(max_length=20), WithJsonSchema(_MODES)] = "enforce"


class PolicyView(View):
    """A policy, and what it said since the platform started or the policy was changed."""

    scope: str
    name: str
    expression: str
    mode: str
    version: int
    created_at: Stamp
    cost: int | None = Field(description="The most that asking it can cost, in steps; null if broken.")
    broken: str = Field(description="Why it no longer compiles; such a policy denies.")
    decisions: dict[str, int]

    @classmethod
    def of(cls, held: Held) -> Self:
        """Return the view of a policy."""
        policy = held.policy
        return cls(
            scope=_shown(policy.scope),
            name=policy.name,
            expression=policy.expression,
            mode=policy.mode.value,
            version=policy.version,
            created_at=rfc3339(policy.created_at),
            cost=None if held.compiled is None else held.compiled.cost,
            broken=held.broken,
            decisions={str(kind): count for kind, count in held.tally.counts.items()},
        )


class WouldBeView(View):
    """What a policy in shadow would have done to one call."""

    at: Stamp
    request_id: str
    tenant: str
    decision: str
    reason: str
    limit: int | None
    lane: str | None

    @classmethod
    def of(cls, one: WouldBe) -> Self:
        """Return the view of a decision."""
        said = one.decision
        return cls(
            at=rfc3339(one.at),
            request_id=one.request_id,
            tenant=one.tenant,
            decision=said.kind,
            reason=said.reason,
            limit=said.limit,
            lane=said.lane,
        )


@router.get("/platform/policies")
def list_platform(who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Page[PolicyView]:
    """List the policies that hold for every call."""
    who.must_be_operator()
    return _list(who, PLATFORM, cursor, limit)


@router.get("/platform/policies/{name}")
def get_platform(name: LabelPath, who: Reader) -> PolicyView:
    """Return one of the policies that hold for every call."""
    who.must_be_operator()
    return _get(who, PLATFORM, name)


@router.get("/platform/policies/{name}/decisions")
def decisions_platform(name: LabelPath, who: Reader) -> Page[WouldBeView]:
    """List what a policy in shadow would have done, newest first."""
    who.must_be_operator()
    return _decisions(who, PLATFORM, name)


@router.put("/platform/policies/{name}")
async def put_platform(name: LabelPath, body: PolicyPut, who: Writer) -> PolicyView:
    """Check a policy for every call, and let it hold."""
    return await _put(who, PLATFORM, name, body, "platform")


@router.delete("/platform/policies/{name}")
async def delete_platform(name: LabelPath, who: Writer) -> Gone:
    """Remove a policy that held for every call."""
    return await _delete(who, PLATFORM, name, "platform")


@router.get("/tenants/{tenant}/policies")
def list_tenant(
    tenant: TenantPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[PolicyView]:
    """List the policies for a tenant's calls."""
    return _list(who, who.must_see(tenant), cursor, limit)


@router.get("/tenants/{tenant}/policies/{name}")
def get_tenant(tenant: TenantPath, name: LabelPath, who: Reader) -> PolicyView:
    """Return one of the policies for a tenant's calls."""
    return _get(who, who.must_see(tenant), name)


@router.get("/tenants/{tenant}/policies/{name}/decisions")
def decisions_tenant(tenant: TenantPath, name: LabelPath, who: Reader) -> Page[WouldBeView]:
    """List what a tenant's policy in shadow would have done, newest first."""
    return _decisions(who, who.must_see(tenant), name)


@router.put("/tenants/{tenant}/policies/{name}")
async def put_tenant(tenant: TenantPath, name: LabelPath, body: PolicyPut, who: Writer) -> PolicyView:
    """Check a policy for a tenant's calls, and let it hold."""
    return await _put(who, who.must_see(tenant), name, body, tenant)


@router.delete("/tenants/{tenant}/policies/{name}")
async def delete_tenant(tenant: TenantPath, name: LabelPath, who: Writer) -> Gone:
    """Remove a policy for a tenant's calls."""
    return await _delete(who, who.must_see(tenant), name, tenant)


@router.get("/tenants/{tenant}/apps/{app}/policies")
def list_app(
    tenant: TenantPath, app: AppPath, who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[PolicyView]:
    """List the policies for the calls of one application."""
    return _list(who, _app(who, tenant, app), cursor, limit)


@router.get("/tenants/{tenant}/apps/{app}/policies/{name}")
def get_app(tenant: TenantPath, app: AppPath, name: LabelPath, who: Reader) -> PolicyView:
    """Return one of the policies for the calls of one application."""
    return _get(who, _app(who, tenant, app), name)


@router.get("/tenants/{tenant}/apps/{app}/policies/{name}/decisions")
def decisions_app(tenant: TenantPath, app: AppPath, name: LabelPath, who: Reader) -> Page[WouldBeView]:
    """List what an application's policy in shadow would have done, newest first."""
    return _decisions(who, _app(who, tenant, app), name)


@router.put("/tenants/{tenant}/apps/{app}/policies/{name}")
async def put_app(
    tenant: TenantPath, app: AppPath, name: LabelPath, body: PolicyPut, who: Writer
) -> PolicyView:
    """Check a policy for the calls of one application, and let it hold."""
    return await _put(who, _app(who, tenant, app), name, body, tenant)


@router.delete("/tenants/{tenant}/apps/{app}/policies/{name}")
async def delete_app(tenant: TenantPath, app: AppPath, name: LabelPath, who: Writer) -> Gone:
    """Remove a policy for the calls of one application."""
    return await _delete(who, _app(who, tenant, app), name, tenant)


def _app(who: Caller, tenant: TenantId, app: AppName) -> str:
    return f"{who.must_see(tenant)}/{app}"


def _shown(scope: str) -> str:
    return "platform" if scope == PLATFORM else scope


def _list(who: Caller, scope: str, cursor: str | None, limit: int) -> Page[PolicyView]:
    held = who.platform.policies.held.at(scope)
    items, following = paged(held, lambda one: one.policy.name, cursor, limit)
    return Page(items=[PolicyView.of(one) for one in items], next=following)


def _get(who: Caller, scope: str, name: str) -> PolicyView:
    return PolicyView.of(who.platform.policies.get(scope, name))


def _decisions(who: Caller, scope: str, name: str) -> Page[WouldBeView]:
    newest = who.platform.policies.get(scope, name).tally.newest()
    return Page(items=[WouldBeView.of(one) for one in newest])


async def _put(who: Caller, scope: str, name: str, body: PolicyPut, stream: str) -> PolicyView:
    """Compile and write in a thread; the audit keeps the expression's digest, the database its text."""
    named, mode = parse_name(name), parse_mode(body.mode)
    policies = who.platform.policies
    async with who.changing:
        made = await asyncio.to_thread(policies.put, scope, named, body.expression, mode)
        await who.platform.governing.follow_policies()
    digest = hashlib.sha256(body.expression.encode()).hexdigest()
    facts = {"policy": named, "mode": mode.value, "version": made.version, "sha256": digest}
    await asyncio.to_thread(who.audit, stream, "policy.set", _shown(scope), **facts)
    return _get(who, scope, named)


async def _delete(who: Caller, scope: str, name: str, stream: str) -> Gone:
    async with who.changing:
        await asyncio.to_thread(who.platform.policies.delete, scope, name)
    await asyncio.to_thread(who.audit, stream, "policy.removed", _shown(scope), policy=name)
    return Gone(removed=name)
