"""The registry of tenants and agents: a contract, and the standing that identity asks on every call.

This is the operator's administration, so its functions take bare tenant ids: it holds no data that a tenant
owns. Whatever opens such data takes a verified context instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from insula.kernel.ids import AgentName, TenantId
from insula.tenancy.profile import IsolationProfile, Overrides
from insula.tenancy.tenant import Agent, Tenant, TenantState
from insula.tenancy.tier import Tier

RESERVED = frozenset({"platform"})
"""Words that name something of the platform's own where a tenant id could stand (an audit stream)."""


@dataclass(frozen=True, slots=True)
class TenantPage:
    """``next`` is the cursor of the following page, ``None`` at the end."""

    items: tuple[Tenant, ...]
    next: str | None


class Standings(Protocol):
    """May this tenant act now? Answered from memory."""

    def standing(self, tenant: str) -> tuple[TenantState, int] | None:
        """Return state and epoch, also of a deleted tenant; ``None`` for an id never used."""
        ...


class Registry(Standings, Protocol):
    """Reads come from memory and are cheap enough for a hot path; writes are durable on return.

    A function that names a tenant raises ``NotFound`` when there is none, or it was deleted.
    """

    def create(self, id: TenantId, tier: Tier, overrides: Overrides | None = None) -> Tenant:  # noqa: A002
        """Raises ``AlreadyExists`` if the id is, or ever was, in use; ``InvalidRequest`` if reserved."""
        ...

    def get(self, id: TenantId) -> Tenant: ...  # noqa: A002
    def list(self, cursor: str | None = None, limit: int = 100) -> TenantPage: ...
    def set_tier(self, id: TenantId, tier: Tier, overrides: Overrides | None = None) -> Tenant: ...  # noqa: A002
    def suspend(self, id: TenantId) -> Tenant: ...  # noqa: A002
    def resume(self, id: TenantId) -> Tenant: ...  # noqa: A002
    def delete(self, id: TenantId) -> Tenant: ...  # noqa: A002
    def deleted(self) -> Sequence[TenantId]: ...
    def profile(self, id: TenantId) -> IsolationProfile: ...  # noqa: A002
    def put_agent(self, agent: Agent) -> Agent: ...
    def get_agent(self, tenant: TenantId, name: AgentName) -> Agent: ...
    def list_agents(self, tenant: TenantId) -> Sequence[Agent]: ...
    def subscribe(self, callback: Callable[[Tenant], None]) -> None: ...
