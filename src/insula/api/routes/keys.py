"""Virtual keys and tokens. A secret is in exactly one answer: the one to its creation."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import (
    AgentField,
    AppField,
    Body,
    CursorQuery,
    Gone,
    IdempotencyHeader,
    LimitQuery,
    Name,
    NamePath,
    Page,
    Stamp,
    TenantPath,
    View,
)
from insula.api.paging import paged
from insula.identity import Credential, Issued
from insula.kernel.clock import rfc3339
from insula.kernel.errors import NotFound
from insula.kernel.ids import TenantId, agent_name, app_name

router = APIRouter(tags=["keys and tokens"])
KeyReader = Annotated[Caller, Depends(needs("keys:read"))]
KeyWriter = Annotated[Caller, Depends(needs("keys:write"))]
TokenReader = Annotated[Caller, Depends(needs("tokens:read"))]
TokenWriter = Annotated[Caller, Depends(needs("tokens:write"))]
OperatorWriter = Annotated[Caller, Depends(needs("operators:write"))]
Lifetime = Annotated[int | None, Field(ge=60, le=10 * 366 * 86_400, description="Seconds; null: no end.")]
Scopes = Annotated[
    list[Annotated[str, Field(max_length=64)]] | None,
    Field(max_length=64, description="Rights it carries; null: all that its kind can carry."),
]


class KeyCreate(Body):
    """A new virtual key."""

    name: Name = "default"
    agent: AgentField | None = None
    app: AppField | None = None
    expires_in_s: Lifetime = None


class TokenCreate(Body):
    """A new token."""

    name: Name = "default"
    scopes: Scopes = None
    expires_in_s: Lifetime = None


class CredentialView(View):
    """A credential; never its secret."""

    id: str
    kind: str
    name: str
    tenant: str | None
    agent: str | None
    app: str | None
    scopes: list[str]
    created_at: Stamp
    expires_at: Stamp | None
    revoked_at: Stamp | None

    @classmethod
    def of(cls, credential: Credential) -> Self:
        """Return the view of ``credential``."""
        who = credential.principal
        return cls(
            id=credential.id,
            kind=who.kind,
            name=who.name,
            tenant=who.tenant,
            agent=who.agent,
            app=who.app,
            scopes=sorted(who.scopes),
            created_at=rfc3339(credential.created_at),
            expires_at=_stamp(credential.expires_at),
            revoked_at=_stamp(credential.revoked_at),
        )


class NewKey(CredentialView):
    """A new key with its secret, which is shown this once."""

    key: str

    @classmethod
    def issued(cls, issued: Issued) -> Self:
        """Return the view with the secret."""
        return cls(**CredentialView.of(issued.credential).model_dump(), key=issued.secret)


class NewToken(CredentialView):
    """A new token with its secret, which is shown this once."""

    token: str

    @classmethod
    def issued(cls, issued: Issued) -> Self:
        """Return the view with the secret."""
        return cls(**CredentialView.of(issued.credential).model_dump(), token=issued.secret)


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def _expiry(who: Caller, lifetime_s: int | None) -> float | None:
    return None if lifetime_s is None else who.platform.clock.now() + lifetime_s


@router.post("/tenants/{tenant}/keys", status_code=201)
def create_key(tenant: TenantPath, body: KeyCreate, who: KeyWriter, _key: IdempotencyHeader = None) -> NewKey:
    """Make a virtual key for the gateway.

    With `agent` it is bound to that agent, its limits and models; with `app` to that application's limits.
    """
    who.must_see(tenant)
    agent = None if body.agent is None else agent_name(body.agent)
    if agent is not None:
        who.platform.registry.get_agent(tenant, agent)
    app = None if body.app is None else app_name(body.app)
    expires_at = _expiry(who, body.expires_in_s)
    issued = who.platform.credentials.create_key(tenant, body.name, agent, expires_at, app)
    who.audit(tenant, "key.created", issued.credential.id, name=body.name)
    return NewKey.issued(issued)


@router.get("/tenants/{tenant}/keys")
def list_keys(
    tenant: TenantPath, who: KeyReader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[CredentialView]:
    """List a tenant's virtual keys that were not revoked."""
    return _page(who.platform.credentials.list(who.must_see(tenant), "key"), cursor, limit)


@router.delete("/tenants/{tenant}/keys/{id}")
def revoke_key(tenant: TenantPath, id: NamePath, who: KeyWriter) -> Gone:  # noqa: A002
    """Revoke a virtual key at once."""
    return _revoke(who, who.must_see(tenant), id, "key")


@router.post("/tenants/{tenant}/tokens", status_code=201)
def create_token(
    tenant: TenantPath, body: TokenCreate, who: TokenWriter, _key: IdempotencyHeader = None
) -> NewToken:
    """Make a token that acts for one tenant only."""
    expires = _expiry(who, body.expires_in_s)
    issued = who.platform.credentials.create_tenant_token(
        who.must_see(tenant), body.name, body.scopes, expires
    )
    who.audit(tenant, "token.created", issued.credential.id, name=body.name)
    return NewToken.issued(issued)


@router.get("/tenants/{tenant}/tokens")
def list_tokens(
    tenant: TenantPath, who: TokenReader, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[CredentialView]:
    """List a tenant's tokens that were not revoked."""
    return _page(who.platform.credentials.list(who.must_see(tenant), "tenant"), cursor, limit)


@router.delete("/tenants/{tenant}/tokens/{id}")
def revoke_token(tenant: TenantPath, id: NamePath, who: TokenWriter) -> Gone:  # noqa: A002
    """Revoke a tenant's token at once."""
    return _revoke(who, who.must_see(tenant), id, "tenant")


@router.post("/tokens", status_code=201)
def create_operator(body: TokenCreate, who: OperatorWriter, _key: IdempotencyHeader = None) -> NewToken:
    """Make an operator's token. It can carry no right that the caller lacks."""
    wanted = sorted(who.principal.scopes) if body.scopes is None else body.scopes
    for scope in wanted:
        who.principal.require(scope)
    issued = who.platform.credentials.create_operator(body.name, wanted, _expiry(who, body.expires_in_s))
    who.audit("platform", "operator.created", issued.credential.id, name=body.name, scopes=wanted)
    return NewToken.issued(issued)


@router.get("/tokens")
def list_operators(
    who: OperatorWriter, cursor: CursorQuery = None, limit: LimitQuery = 50
) -> Page[CredentialView]:
    """List the operators' tokens that were not revoked."""
    return _page(who.platform.credentials.list(kind="operator"), cursor, limit)


@router.delete("/tokens/{id}")
def revoke_operator(id: NamePath, who: OperatorWriter) -> Gone:  # noqa: A002
    """Revoke an operator's token at once."""
    return _revoke(who, None, id, "operator")


def _page(credentials: list[Credential], cursor: str | None, limit: int) -> Page[CredentialView]:
    living = [credential for credential in credentials if credential.revoked_at is None]
    items, following = paged(living, lambda credential: credential.id, cursor, limit)
    return Page(items=[CredentialView.of(item) for item in items], next=following)


def _revoke(who: Caller, tenant: TenantId | None, id: str, kind: str) -> Gone:  # noqa: A002
    found = {one.id for one in who.platform.credentials.list(tenant) if one.principal.kind == kind}
    if id not in found:
        raise NotFound(f"there is no credential {id[:60]!r}", hint="`list` shows them", field="id")
    who.platform.credentials.revoke(id, tenant)
    who.audit(tenant or "platform", f"{'key' if kind == 'key' else 'token'}.revoked", id)
    return Gone(removed=id)
