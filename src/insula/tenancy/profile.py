"""From tier, trust and overrides to one frozen profile that everything else reads.

Overrides raise a cell freely and never take it below its floor, which is the tier's own cell under the
platform's trust. One exception exists, by name: where tenants are teams of one organisation (``internal``)
and the tier's floor is bubblewrap, ``compute`` may be set to ``namespace`` or ``none``. The profile says so
in ``exceptions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from insula.kernel.errors import InvalidRequest
from insula.tenancy.bounds import LimitPreset, SandboxBounds
from insula.tenancy.ladder import LADDERS, Ladder
from insula.tenancy.presets import preset
from insula.tenancy.rung import Rung
from insula.tenancy.table import TIERS
from insula.tenancy.tier import Tier, Trust

Overrides = Mapping[str, str | int | float]

BY_NAME_ONLY = frozenset({"namespace", "none"})
_BOUNDS = tuple(field.name for field in fields(SandboxBounds))
_MOST: dict[str, int] = {
    "memory_mib": 1_048_576,
    "pids": 1_000_000,
    "cpu_fraction": 1_024,
    "workspace_mib": 1_048_576,
    "workspace_inodes": 100_000_000,
    "output_bytes": 2**32,
    "wall_s": 30 * 86_400,
}


@dataclass(frozen=True, slots=True)
class IsolationProfile:
    """What a tenant gets. ``compute_floor`` is the weakest rung its runs may ever use.

    ``compute_named`` is set only for a named exception: then exactly that rung is meant, not "at least".
    """

    tier: Tier
    trust: Trust
    compute_floor: Rung
    pool: str
    state: str
    vectors: str
    inference: str
    limits: LimitPreset
    lanes: tuple[str, ...]
    sandbox: SandboxBounds
    lanes_weighted: bool = False
    compute_named: Rung | None = None
    exceptions: tuple[str, ...] = ()


def resolve(tier: Tier, trust: Trust, overrides: Overrides | None = None) -> IsolationProfile:
    """Return the profile of ``tier`` under ``trust`` with ``overrides`` applied.

    Raises ``InvalidRequest`` naming the field, and the floor when an override goes below it.
    """
    wanted = dict(overrides or {})
    row = TIERS[tier]
    words = {aspect: _word(LADDERS[aspect], tier, trust, wanted.pop(aspect, None)) for aspect in LADDERS}
    sandbox = _sandbox(row.sandbox, wanted)
    if wanted:
        _unknown(next(iter(wanted)))
    floor, given = row.compute[trust], Rung.named(words["compute"])
    below = given < floor
    lanes = words["lanes"].split(",")
    return IsolationProfile(
        tier=tier,
        trust=trust,
        compute_floor=given,
        pool=words["pool"],
        state=words["state"],
        vectors=words["vectors"],
        inference=words["inference"],
        limits=preset(tier),
        lanes=tuple(lane for lane in lanes if lane != "weighted"),
        sandbox=sandbox,
        lanes_weighted="weighted" in lanes,
        compute_named=given if below else None,
        exceptions=(f"compute={given} is below the floor {floor} of {tier}",) if below else (),
    )


def floor_of(aspect: str, tier: Tier, trust: Trust) -> str:
    """Return the weakest word that ``tier`` allows for ``aspect``, a name in ``LADDERS``."""
    row = TIERS[tier]
    return str(row.compute[trust] if aspect == "compute" else getattr(row, aspect))


def _word(ladder: Ladder, tier: Tier, trust: Trust, wanted: Any) -> str:
    floor = floor_of(ladder.aspect, tier, trust)
    if wanted is None:
        return floor
    if not isinstance(wanted, str) or wanted not in ladder.words:
        raise InvalidRequest(
            f"{ladder.aspect} cannot be {str(wanted)[:40]!r}",
            hint=f"use one of {', '.join(ladder.words)}",
            field=ladder.aspect,
        )
    if ladder.height(wanted) < ladder.height(floor) and not _by_name(ladder, floor, trust, wanted):
        raise InvalidRequest(
            f"{ladder.aspect}={wanted} is below the floor of this tier, {floor}",
            hint=f"under trust={trust} use {' or '.join(ladder.words[ladder.height(floor) :])}",
            field=ladder.aspect,
            floor=floor,
        )
    return wanted


def _by_name(ladder: Ladder, floor: str, trust: Trust, wanted: str) -> bool:
    internal = trust is Trust.INTERNAL and ladder.aspect == "compute"
    return internal and floor == str(Rung.BUBBLEWRAP) and wanted in BY_NAME_ONLY


def _sandbox(preset: SandboxBounds, wanted: dict[str, Any]) -> SandboxBounds:
    given: dict[str, Any] = {name: _bound(name, wanted.pop(name)) for name in _BOUNDS if name in wanted}
    return replace(preset, **given) if given else preset


def _bound(name: str, value: Any) -> int | float:
    kinds = (int, float) if name == "cpu_fraction" else (int,)
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not number or not 0 < value <= _MOST[name]:
        raise InvalidRequest(
            f"{name} cannot be {str(value)[:40]!r}",
            hint=f"use a number above 0 and up to {_MOST[name]}",
            field=name,
        )
    return float(value) if name == "cpu_fraction" else int(value)


def _unknown(name: str) -> None:
    known = ", ".join((*LADDERS, *_BOUNDS))
    raise InvalidRequest(
        f"there is nothing called {name[:40]!r} to override", hint=f"use one of {known}", field=name[:40]
    )
