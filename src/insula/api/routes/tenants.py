"""Tenants and tiers."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import (
    Body,
    CursorQuery,
    IdempotencyHeader,
    LimitQuery,
    Page,
    Stamp,
    TenantField,
    TenantPath,
    TierQuery,
    TierWord,
    View,
)
from insula.governance.fairness import parse_weight
from insula.kernel.clock import rfc3339
from insula.kernel.ids import TenantId
from insula.tenancy import IsolationProfile, Tenant, parse_tier, plan, resolve
from insula.wiring import Platform
from insula.wiring.tenants import DeletionReceipt

router = APIRouter(tags=["tenants"])
Reader = Annotated[Caller, Depends(needs("tenants:read"))]
Writer = Annotated[Caller, Depends(needs("tenants:write"))]

OverrideValue = Annotated[str, Field(max_length=80)] | int | float
Overrides = Annotated[
    dict[str, OverrideValue], Field(max_length=32, description="Cells of the tier to raise, by name.")
]
OverrideChanges = Annotated[
    dict[str, OverrideValue | None], Field(max_length=32, description="Overrides to set; `null` drops one.")
]
WeightGiven = Annotated[
    Annotated[str, Field(max_length=40)] | int | float,
    Field(description="Its share where tenants queue: a whole number or a fraction, as 2, 1.5 or 1/2."),
]


class TenantCreate(Body):
    """A new tenant."""

    id: TenantField
    tier: TierWord = "free"
    overrides: Overrides = Field(default_factory=dict)


class TenantChange(Body):
    """What to change; what is left out stays."""

    tier: TierWord | None = None
    overrides: OverrideChanges | None = None
    weight: WeightGiven | None = None


class SandboxView(View):
    """The bounds of one sandbox."""

    memory_mib: int
    pids: int
    cpu_fraction: float
    workspace_mib: int
    workspace_inodes: int
    output_bytes: int
    wall_s: float


class ProfileView(View):
    """What the tier means for this tenant under the platform's trust."""

    compute: str = Field(description="The weakest sandbox its runs may use.")
    pool: str
    state: str
    vectors: str
    inference: str
    lanes: list[str]
    exceptions: list[str] = Field(description="Named exceptions from the floor; only under trust=internal.")
    sandbox: SandboxView

    @classmethod
    def of(cls, profile: IsolationProfile) -> Self:
        """Return the view of ``profile``."""
        return cls(
            compute=str(profile.compute_floor),
            pool=profile.pool,
            state=profile.state,
            vectors=profile.vectors,
            inference=profile.inference,
            lanes=list(profile.lanes),
            exceptions=list(profile.exceptions),
            sandbox=SandboxView.model_validate(profile.sandbox, from_attributes=True),
        )


class TenantView(View):
    """A tenant."""

    id: str
    tier: str
    state: Literal["active", "suspended", "deleted"]
    overrides: dict[str, str | int | float]
    created_at: Stamp
    weight: int | float = Field(description="Its share where tenants queue: as set, or its tier's.")
    profile: ProfileView

    @classmethod
    def of(cls, tenant: Tenant, platform: Platform) -> Self:
        """Return the view of ``tenant``."""
        return cls(
            id=tenant.id,
            tier=tenant.tier.value,
            state=tenant.state.value,
            overrides=dict(tenant.overrides),
            created_at=rfc3339(tenant.created_at),
            weight=_number(platform.governing.weight(tenant.id)),
            profile=ProfileView.of(resolve(tenant.tier, platform.settings.trust, tenant.overrides)),
        )


class MoveView(View):
    """One aspect that a change of tier would move."""

    aspect: str
    before: str
    after: str
    effect: str


class PlanView(View):
    """What a change of tier would move; nothing has changed."""

    tenant: str
    tier: str
    to: str
    moves: list[MoveView]


class Receipt(View):
    """Proof that a tenant's key is destroyed: what was sealed with it can't be read again."""

    tenant: str
    deleted_at: Stamp
    key_fingerprint: str = Field(description="Which key was destroyed.")
    key_destroyed: bool = Field(description="Its bytes were looked for afterwards and not found.")
    runs_cancelled: int
    credentials_revoked: int
    files_removed: bool

    @classmethod
    def of(cls, receipt: DeletionReceipt) -> Self:
        """Return the view of ``receipt``."""
        return cls.model_validate({**asdict(receipt), "deleted_at": rfc3339(receipt.deleted_at)})


@router.post("/tenants", status_code=201)
def create(body: TenantCreate, who: Writer, _key: IdempotencyHeader = None) -> TenantView:
    """Create a tenant. Its id can't be used again, not even after it is deleted."""
    tenant = who.platform.tenants.create(TenantId(body.id), parse_tier(body.tier), body.overrides)
    who.audit(
        tenant.id, "tenant.created", tenant.id, tier=tenant.tier.value, overrides=dict(tenant.overrides)
    )
    return TenantView.of(tenant, who.platform)


@router.get("/tenants")
def list_(who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Page[TenantView]:
    """List the tenants that the caller may see."""
    own = who.principal.tenant
    if own is not None:
        return Page(items=[TenantView.of(who.platform.registry.get(own), who.platform)])
    page = who.platform.registry.list(cursor, limit)
    return Page(items=[TenantView.of(item, who.platform) for item in page.items], next=page.next)


@router.get("/tenants/{tenant}")
def get(tenant: TenantPath, who: Reader) -> TenantView:
    """Return a tenant and what its tier means."""
    return TenantView.of(who.platform.registry.get(who.must_see(tenant)), who.platform)


@router.patch("/tenants/{tenant}")
def change(tenant: TenantPath, body: TenantChange, who: Writer) -> TenantView:
    """Change tier, overrides or weight. Runs that start from now on are isolated accordingly."""
    before = who.platform.registry.get(who.must_see(tenant))
    weight = None if body.weight is None else parse_weight(body.weight)
    changed = _move(tenant, before, body, who)
    if weight is not None:
        _weigh(tenant, weight, who)
    return TenantView.of(changed, who.platform)


def _move(tenant: TenantId, before: Tenant, body: TenantChange, who: Caller) -> Tenant:
    if body.tier is None and body.overrides is None and body.weight is not None:
        return before
    tier = before.tier if body.tier is None else parse_tier(body.tier)
    merged = {**before.overrides, **(body.overrides or {})}
    overrides = {name: value for name, value in merged.items() if value is not None}
    changed = who.platform.registry.set_tier(tenant, tier, overrides)
    who.audit(
        tenant, "tenant.changed", tenant, tier=tier.value, before=before.tier.value, overrides=overrides
    )
    return changed


@router.get("/tenants/{tenant}/tier-plan")
def plan_tier(tenant: TenantPath, tier: TierQuery, who: Reader) -> PlanView:
    """Show what a change of tier would move. Changes nothing."""
    now = who.platform.registry.get(who.must_see(tenant))
    trust = who.platform.settings.trust
    to = parse_tier(tier)
    moves = plan(resolve(now.tier, trust, now.overrides), resolve(to, trust, now.overrides))
    shown = [MoveView.model_validate(move, from_attributes=True) for move in moves]
    return PlanView(tenant=tenant, tier=now.tier.value, to=to.value, moves=shown)


@router.post("/tenants/{tenant}/suspend")
async def suspend(tenant: TenantPath, who: Writer, _key: IdempotencyHeader = None) -> TenantView:
    """Stop a tenant at once: tokens, keys and doors are refused, its runs are cancelled."""
    changed = await who.platform.tenants.suspend(who.must_see(tenant))
    await asyncio.to_thread(who.audit, tenant, "tenant.suspended", tenant)
    return TenantView.of(changed, who.platform)


@router.post("/tenants/{tenant}/resume")
def resume(tenant: TenantPath, who: Writer, _key: IdempotencyHeader = None) -> TenantView:
    """Let a suspended tenant work again. Tokens from before the suspension stay refused."""
    changed = who.platform.registry.resume(who.must_see(tenant))
    who.audit(tenant, "tenant.resumed", tenant)
    return TenantView.of(changed, who.platform)


@router.delete("/tenants/{tenant}")
async def delete(tenant: TenantPath, who: Writer) -> Receipt:
    """Delete a tenant: end its runs, destroy its key, remove its files. Returns the receipt."""
    receipt = await who.platform.tenants.delete(who.must_see(tenant))
    fingerprint = receipt.key_fingerprint
    await asyncio.to_thread(who.audit, tenant, "tenant.deleted", tenant, key_fingerprint=fingerprint)
    return Receipt.of(receipt)


def _weigh(tenant: TenantId, weight: Fraction, who: Caller) -> None:
    before = who.platform.governing.weight(tenant)
    who.platform.governing.change_weight(tenant, weight)
    who.audit(tenant, "tenant.weighed", tenant, weight=str(weight), before=str(before))


def _number(weight: int | Fraction) -> int | float:
    return int(weight) if weight == int(weight) else float(weight)
