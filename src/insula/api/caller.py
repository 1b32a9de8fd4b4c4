"""Who is calling, and what that lets them reach: bearer token -> principal -> scope -> tenant -> context.

A tenant's token sees its own tenant; every other one looks as if it did not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from insula.identity import SCOPES, Audience, Principal, VerifiedContext, Verifier
from insula.kernel.errors import Denied, NotFound, Unauthenticated
from insula.kernel.ids import TenantId
from insula.wiring import Platform

A = TypeVar("A", bound=Audience)

_bearer = HTTPBearer(auto_error=False, description="An operator's or a tenant's token.", scheme_name="token")
Presented = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
_HOW = "send `Authorization: Bearer TOKEN`; insula token create makes one"
_CONTEXT_TTL_S = 60


class Contexts:
    """Mints and verifies contexts for callers whose credential was resolved."""

    def __init__(self, platform: Platform) -> None:
        self._authority = platform.authority
        self._verifiers: dict[type[Audience], Verifier[Any]] = {}

    def make(self, tenant: TenantId, path: str, audience: type[A]) -> VerifiedContext[A]:
        """Return a context of ``tenant`` for ``audience``; raises ``Denied`` while it is suspended."""
        verifier = self._verifiers.get(audience)
        if verifier is None:
            verifier = self._verifiers[audience] = self._authority.verifier(audience)
        token = self._authority.mint(tenant, path, audience, ttl_s=_CONTEXT_TTL_S)
        context: VerifiedContext[A] = verifier.verify(token)
        return context


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller, before or after a tenant was chosen."""

    platform: Platform
    principal: Principal
    contexts: Contexts
    changing: asyncio.Lock = field(repr=False)
    """Held while something is read, changed and written back."""

    @property
    def name(self) -> str:
        """What the audit and the log call this caller."""
        return self.principal.path

    def must_see(self, tenant: TenantId) -> TenantId:
        """Return ``tenant`` if it exists for this caller. Raises ``NotFound``."""
        if self.principal.tenant not in {None, tenant}:
            raise stranger(tenant)
        try:
            self.platform.registry.get(tenant)
        except NotFound:
            raise stranger(tenant) from None
        return tenant

    def must_be_operator(self) -> None:
        """Raises ``Denied`` for a tenant's token."""
        if self.principal.tenant is not None:
            raise Denied("this belongs to the operator", hint="use an operator's token", rule="operator")

    def context(self, tenant: TenantId, audience: type[A]) -> VerifiedContext[A]:
        """Return the proof of acting for ``tenant``, for one audience. Raises ``NotFound``, ``Denied``."""
        return self.contexts.make(self.must_see(tenant), self.principal.path, audience)

    def audit(self, stream: str, action: str, target: str = "", **details: Any) -> None:
        """Record what this caller did."""
        self.platform.audit.append(stream, action, outcome="ok", actor=self.name, target=target, **details)


def stranger(tenant: str) -> NotFound:
    """Return the error for a tenant that is not there, or not this caller's."""
    return NotFound(f"there is no tenant {tenant!r}", hint="insula tenant list shows them", field="tenant")


def needs(scope: str) -> Callable[..., Awaitable[Caller]]:
    """Return the dependency that admits callers who carry ``scope``.

    It runs on the event loop: looking a credential up is a hash and a dictionary.
    """
    assert scope in SCOPES, f"{scope} is not in the table of scopes"

    async def admit(request: Request, presented: Presented) -> Caller:
        platform: Platform = request.app.state.platform
        if presented is None or not presented.credentials:
            raise Unauthenticated("no bearer token", hint=_HOW)
        principal = platform.credentials.resolve(presented.credentials)
        request.scope["state"]["who"] = principal.path
        if principal.kind == "key":
            raise Denied("a virtual key calls models, not the control plane", hint=_HOW, rule="kind:key")
        principal.require(scope)
        return Caller(platform, principal, request.app.state.contexts, request.app.state.changing)

    return admit
