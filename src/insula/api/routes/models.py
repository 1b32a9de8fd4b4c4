"""Endpoints, models, and which tenant may use which."""

from __future__ import annotations

import asyncio
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path
from pydantic import Field, WithJsonSchema

from insula.api.caller import Caller, needs
from insula.api.fields import (
    Body,
    CursorQuery,
    Gone,
    IdempotencyHeader,
    LabelField,
    LimitQuery,
    ModelId,
    NamePath,
    Page,
    TenantPath,
    View,
)
from insula.api.paging import paged
from insula.models import Endpoint, Entitlement, Model
from insula.models.capacity import figures

router = APIRouter(tags=["models"])
EndpointReader = Annotated[Caller, Depends(needs("endpoints:read"))]
EndpointWriter = Annotated[Caller, Depends(needs("endpoints:write"))]
ModelReader = Annotated[Caller, Depends(needs("models:read"))]
GrantReader = Annotated[Caller, Depends(needs("entitlements:read"))]
GrantWriter = Annotated[Caller, Depends(needs("entitlements:write"))]
ModelPath = Annotated[str, Path(min_length=1, max_length=128, description="The model's id.")]
TokenBound = Annotated[int | None, Field(ge=1, le=100_000_000)]


EndpointKind = Annotated[str, Field(max_length=20), WithJsonSchema({"type": "string", "enum": ["openai"]})]
OutputField = Annotated[
    str,
    Field(max_length=40),
    WithJsonSchema({"type": "string", "enum": ["max_tokens", "max_completion_tokens"]}),
]
BaseUrl = Annotated[
    str,
    Field(max_length=2000),
    WithJsonSchema({"type": "string", "format": "uri", "description": "http(s)://host[:port]/v1"}),
]


class ModelSpec(Body):
    """A model and the bounds that its server states."""

    id: ModelId
    context_tokens: TokenBound = None
    max_output: TokenBound = None


class EndpointCreate(Body):
    """A server that speaks the OpenAI wire format."""

    name: LabelField
    kind: EndpointKind = "openai"
    base_url: BaseUrl
    models: Annotated[list[ModelId | ModelSpec], Field(min_length=1, max_length=1000)]
    key: (
        Annotated[str, Field(max_length=4096, description="Its API key; sealed on arrival, never returned.")]
        | None
    ) = None
    output_field: OutputField = "max_tokens"


class EndpointChange(Body):
    """What the endpoint bears; what is left out stays, null lifts it."""

    slots: int | None = Field(None, description="Calls at once.")
    prefill_tps: int | None = Field(None, description="Tokens of input it reads in a second.")
    decode_tps: int | None = Field(None, description="Tokens of output it writes in a second.")
    kv_tokens: int | None = Field(None, description="Tokens that its cache holds.")


class CapacityView(View):
    """What an endpoint bears; null: not said, not scarce."""

    slots: int | None
    prefill_tps: int | None
    decode_tps: int | None
    kv_tokens: int | None


class EndpointView(View):
    """An endpoint; never its key."""

    name: str
    kind: str
    base_url: str
    models: list[str]
    has_key: bool
    capacity: CapacityView

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """Return the view of ``endpoint``."""
        return cls(
            name=endpoint.name,
            kind=endpoint.kind.value,
            base_url=endpoint.base_url,
            models=[model.id for model in endpoint.models],
            has_key=endpoint.secret is not None,
            capacity=CapacityView(**figures(endpoint.capacity)),
        )


class ModelView(View):
    """A model that some endpoint serves."""

    id: str
    endpoint: str | None = Field(description="Only operators see who serves it.")
    context_tokens: int | None
    max_output: int | None


class GrantChange(Body):
    """Bounds of a grant; null leaves the model's own."""

    max_context: TokenBound = None
    max_output: TokenBound = None


class GrantView(View):
    """A tenant's right to one model."""

    tenant: str
    model: str
    max_context: int | None
    max_output: int | None

    @classmethod
    def of(cls, entitlement: Entitlement) -> Self:
        """Return the view of ``entitlement``."""
        return cls.model_validate(entitlement, from_attributes=True)


@router.post("/endpoints", status_code=201)
def add_endpoint(body: EndpointCreate, who: EndpointWriter, _key: IdempotencyHeader = None) -> EndpointView:
    """Add an endpoint. One model id is served by exactly one endpoint."""
    models = [m if isinstance(m, str) else Model(m.id, m.context_tokens, m.max_output) for m in body.models]
    made = who.platform.catalog.add_endpoint(
        body.name, body.kind, body.base_url, models, body.key, output_field=body.output_field
    )
    who.audit(
        "platform", "endpoint.added", made.name, base_url=made.base_url, models=[m.id for m in made.models]
    )
    return EndpointView.of(made)


@router.get("/endpoints")
def list_endpoints(
    who: EndpointReader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[EndpointView]:
    """List the endpoints by name."""
    items, following = paged(who.platform.catalog.endpoints(), lambda item: item.name, cursor, limit)
    return Page(items=[EndpointView.of(item) for item in items], next=following)


@router.patch("/endpoints/{name}")
async def change_endpoint(name: NamePath, body: EndpointChange, who: EndpointWriter) -> EndpointView:
    """Say what an endpoint bears: calls beyond that queue, in fair order."""
    changes = body.model_dump(include=body.model_fields_set)
    changed = await asyncio.to_thread(who.platform.catalog.set_capacity, name, changes)
    who.platform.turnstiles.at(changed)  # more slots let in who waits
    await asyncio.to_thread(who.audit, "platform", "endpoint.changed", name, **changes)
    return EndpointView.of(changed)


@router.delete("/endpoints/{name}")
def remove_endpoint(name: NamePath, who: EndpointWriter) -> Gone:
    """Remove an endpoint and its key."""
    who.platform.catalog.remove(name)
    who.audit("platform", "endpoint.removed", name)
    return Gone(removed=name)


@router.get("/models")
def list_models(who: ModelReader, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Page[ModelView]:
    """List the models: all for an operator, those it may use for a tenant."""
    tenant = who.principal.tenant
    served = who.platform.catalog.models()
    if tenant is not None:
        granted = {grant.model for grant in who.platform.entitlements.list(tenant)}
        served = [item for item in served if item.model.id in granted]
    items, following = paged(served, lambda item: item.model.id, cursor, limit)
    shown = [
        ModelView(
            id=item.model.id,
            endpoint=item.endpoint.name if tenant is None else None,
            context_tokens=item.model.context_tokens,
            max_output=item.model.max_output,
        )
        for item in items
    ]
    return Page(items=shown, next=following)


@router.get("/tenants/{tenant}/entitlements")
def list_grants(
    tenant: TenantPath, who: GrantReader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[GrantView]:
    """List the models that a tenant may use."""
    grants = who.platform.entitlements.list(who.must_see(tenant))
    items, following = paged(grants, lambda grant: grant.model, cursor, limit)
    return Page(items=[GrantView.of(item) for item in items], next=following)


@router.put("/tenants/{tenant}/entitlements/{model:path}")
def grant(tenant: TenantPath, model: ModelPath, body: GrantChange, who: GrantWriter) -> GrantView:
    """Let a tenant use a model, or change the bounds of that."""
    made = who.platform.entitlements.entitle(who.must_see(tenant), model, body.max_context, body.max_output)
    who.audit(tenant, "model.entitled", model, max_context=body.max_context, max_output=body.max_output)
    return GrantView.of(made)


@router.delete("/tenants/{tenant}/entitlements/{model:path}")
def revoke(tenant: TenantPath, model: ModelPath, who: GrantWriter) -> Gone:
    """Take a model from a tenant; calls that are not on their way yet are refused."""
    who.platform.entitlements.revoke(who.must_see(tenant), model)
    who.audit(tenant, "model.revoked", model)
    return Gone(removed=model)
