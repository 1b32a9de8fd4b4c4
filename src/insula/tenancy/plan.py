"""What a change of tier or override would move: a pure comparison of two profiles."""

from __future__ import annotations

from dataclasses import dataclass, fields

from insula.tenancy.ladder import LADDERS
from insula.tenancy.profile import IsolationProfile


@dataclass(frozen=True, slots=True)
class Move:
    """One aspect that would change, from ``before`` to ``after``, and what that does to the tenant."""

    aspect: str
    before: str
    after: str
    effect: str


def plan(before: IsolationProfile, after: IsolationProfile) -> tuple[Move, ...]:
    """Return what differs, in the order of the table; nothing when the profiles mean the same."""
    return (*_ladder_moves(before, after), *_number_moves(before, after))


def _ladder_moves(before: IsolationProfile, after: IsolationProfile) -> list[Move]:
    old, new = _words(before), _words(after)
    return [
        Move(aspect, old[aspect], new[aspect], ladder.moves)
        for aspect, ladder in LADDERS.items()
        if old[aspect] != new[aspect]
    ]


def _words(profile: IsolationProfile) -> dict[str, str]:
    weighted = ("weighted",) if profile.lanes_weighted else ()
    return {
        "compute": str(profile.compute_floor),
        "pool": profile.pool,
        "state": profile.state,
        "vectors": profile.vectors,
        "inference": profile.inference,
        "lanes": ",".join((*profile.lanes, *weighted)),
    }


def _number_moves(before: IsolationProfile, after: IsolationProfile) -> list[Move]:
    effects = {
        "limits": "holds from the next request on, unless a limit was set by hand",
        "sandbox": "holds for runs that start from now on",
    }
    return [
        Move(f"{group}.{field.name}", _shown(old), _shown(new), effect)
        for group, effect in effects.items()
        for field in fields(getattr(before, group))
        if (old := getattr(getattr(before, group), field.name))
        != (new := getattr(getattr(after, group), field.name))
    ]


def _shown(value: object) -> str:
    return "unlimited" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
