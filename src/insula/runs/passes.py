"""The signed contexts that carry a run from room to room.

A run's contexts are made from its durable record (tenant, agent, run) through the authority, each for one
audience. So a restart needs nothing but the record, and a suspended tenant gets no further context.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from insula.identity import (
    Audience,
    Authority,
    Gateway,
    RenewingToken,
    Runs,
    Sandboxes,
    Storage,
    Usage,
    VerifiedContext,
    Verifier,
)
from insula.kernel.clock import Clock
from insula.kernel.ids import AgentName, RunId, TenantId

A = TypeVar("A", bound=Audience)

_RENEW_S = 60.0


class Passes:
    """Makes contexts. One per platform: a verifier remembers what it verified."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._verifiers: dict[type[Audience], Verifier[Any]] = {
            audience: authority.verifier(audience) for audience in (Storage, Sandboxes, Usage)
        }

    def for_run(self, tenant: TenantId, agent: AgentName, run: RunId) -> RunPass:
        """Return the contexts of one run."""
        return RunPass(self, self._authority, self._clock, tenant, agent, run)

    def storage(self, ctx: VerifiedContext[Runs]) -> VerifiedContext[Storage]:
        """Return the caller's context for the storage layer: same tenant and subject, other audience."""
        return self.verified(Storage, self._authority.exchange(ctx, Storage))

    def verified(self, audience: type[A], token: str) -> VerifiedContext[A]:
        """Return the context that ``token`` proves."""
        return cast("VerifiedContext[A]", self._verifiers[audience].verify(token))


class RunPass:
    """Contexts in the name of one run. Raises ``AccessError`` kinds when the tenant may not act."""

    def __init__(
        self,
        passes: Passes,
        authority: Authority,
        clock: Clock,
        tenant: TenantId,
        agent: AgentName,
        run: RunId,
    ) -> None:
        self._passes = passes
        self._authority = authority
        self._clock = clock
        self._what = (tenant, f"agent/{agent}/run/{run}")
        self._run = run
        self._held: dict[type[Audience], VerifiedContext[Any]] = {}

    def context(self, audience: type[A]) -> VerifiedContext[A]:
        """Return a context for ``audience`` that is good for a minute at least."""
        held = self._held.get(audience)
        if held is None or held.expires_at - self._clock.now() < _RENEW_S:
            token = self._authority.mint(*self._what, audience, run=self._run)
            held = self._passes.verified(audience, token)
            self._held[audience] = held
        return cast("VerifiedContext[A]", held)

    def door_credential(self) -> RenewingToken:
        """Return what the run's door shows to the gateway; it renews itself."""
        return RenewingToken(self._authority, self._clock, *self._what, Gateway, run=self._run)
