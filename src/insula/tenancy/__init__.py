"""Tenants, tiers, and the one profile that a tier means."""

from insula.tenancy.bounds import LimitPreset, SandboxBounds
from insula.tenancy.ladder import LADDERS, Ladder
from insula.tenancy.plan import Move, plan
from insula.tenancy.presets import preset
from insula.tenancy.profile import IsolationProfile, Overrides, floor_of, resolve
from insula.tenancy.registry import RESERVED, Registry, Standings, TenantPage
from insula.tenancy.rung import Rung
from insula.tenancy.tenant import Agent, Tenant, TenantState
from insula.tenancy.tier import Tier, Trust, parse_tier, parse_trust

__all__ = [
    "LADDERS",
    "RESERVED",
    "Agent",
    "IsolationProfile",
    "Ladder",
    "LimitPreset",
    "Move",
    "Overrides",
    "Registry",
    "Rung",
    "SandboxBounds",
    "Standings",
    "Tenant",
    "TenantPage",
    "TenantState",
    "Tier",
    "Trust",
    "floor_of",
    "parse_tier",
    "parse_trust",
    "plan",
    "preset",
    "resolve",
]
