"""What a host can isolate with, judged for a trust: which tiers run here, what the others lack. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from insula.sandbox import Missing
from insula.tenancy import Rung, Tier, Trust, resolve

LATER = frozenset({Rung.GVISOR, Rung.MICROVM})
"""Rungs that this version does not build yet, whatever the host gives."""


class _View(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Lack(_View):
    """Something that is missing, and the fix."""

    what: str
    fix: str


class Backend(_View):
    """One way to isolate."""

    name: str
    status: Literal["passed", "missing", "later"]
    missing: list[Lack]


class TierReport(_View):
    """Whether agents of a tier could run here."""

    tier: str
    floor: str
    ok: bool
    backend: str | None = Field(description="What they would run in.")
    detail: str
    fix: str


class HostReport(_View):
    """``ok`` when agents of some tier can run here."""

    ok: bool
    trust: str
    backends: list[Backend]
    tiers: list[TierReport]


def judge(lacks: Mapping[Rung, Sequence[Missing]], trust: Trust) -> HostReport:
    """Return the report for what each rung lacks on this host (nothing: it works)."""
    backends = [_backend(rung, lacks) for rung in sorted(Rung, reverse=True)]
    tiers = [_tier(tier, trust, backends) for tier in Tier]
    return HostReport(ok=any(tier.ok for tier in tiers), trust=trust.value, backends=backends, tiers=tiers)


def _backend(rung: Rung, lacks: Mapping[Rung, Sequence[Missing]]) -> Backend:
    if rung in LATER:
        lack = Lack(what="not built yet", fix="a later version brings it")
        return Backend(name=str(rung), status="later", missing=[lack])
    missing = [Lack(what=one.what, fix=one.fix) for one in lacks[rung]]
    return Backend(name=str(rung), status="missing" if missing else "passed", missing=missing)


def _tier(tier: Tier, trust: Trust, backends: Sequence[Backend]) -> TierReport:
    floor = resolve(tier, trust).compute_floor
    fit = [one for one in backends if Rung.named(one.name) >= floor]
    works = next((one for one in fit if one.status == "passed"), None)
    if works is not None:
        return TierReport(
            tier=tier.value,
            floor=str(floor),
            ok=True,
            backend=works.name,
            detail=f"runs in {works.name}",
            fix="",
        )
    lacks = [f"{one.name}: {one.missing[0].what}" for one in fit]
    return TierReport(
        tier=tier.value,
        floor=str(floor),
        ok=False,
        backend=None,
        detail=f"needs {floor} or stronger ({'; '.join(lacks)})",
        fix=_fix(tier, trust, fit),
    )


def _fix(tier: Tier, trust: Trust, fit: Sequence[Backend]) -> str:
    """Prefer what can be installed; else name the trust under which the tier could run."""
    for one in reversed(fit):
        if one.status == "missing":
            return one.missing[0].fix
    if trust is Trust.SAAS and resolve(tier, Trust.INTERNAL).compute_floor not in LATER:
        return "if your tenants are teams of one organisation: insula up --trust internal"
    return "use a lower tier until a later version brings it"
