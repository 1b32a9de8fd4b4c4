"""A tenant and its agents, as the registry knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from insula.kernel.ids import AgentName, TenantId
from insula.tenancy.profile import Overrides
from insula.tenancy.tier import Tier


class TenantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Tenant:
    """``epoch`` grows with every suspension, resumption and deletion: a token from before it is refused."""

    id: TenantId
    tier: Tier
    state: TenantState
    epoch: int
    created_at: float
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """One deployed agent. ``bundle`` is the digest of its files; ``limits`` narrow the tier's bounds."""

    tenant: TenantId
    name: AgentName
    bundle: str
    runtime: str
    models: tuple[str, ...]
    limits: Mapping[str, Any]
    deployed_at: float
    manifest: Mapping[str, Any]
