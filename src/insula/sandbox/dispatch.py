"""Chooses the rung that a sandbox runs on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from insula.kernel.errors import IsolationUnavailable
from insula.sandbox.recipe import Missing
from insula.tenancy import IsolationProfile, Rung

LATER = Missing("not built yet", "a later version brings it")
NOT_BUILT = (Rung.MICROVM, Rung.GVISOR)


def choose(lacks: Mapping[Rung, Sequence[Missing]], profile: IsolationProfile) -> Rung:
    """Return the strongest rung this host gives that is no weaker than the profile's floor.

    A profile that names a rung gets that one. ``lacks`` says what each rung is missing: nothing is good.
    Raises ``IsolationUnavailable`` saying what is missing and how to get it; never returns less.
    """
    fit = candidates(profile)
    for rung in fit:
        if not lacks[rung]:
            return rung
    raise _unavailable(lacks, profile, fit)


def candidates(profile: IsolationProfile) -> list[Rung]:
    """Return the rungs a profile allows, strongest first. ``none`` is there only when it is named."""
    if profile.compute_named is not None:
        return [profile.compute_named]
    walled = [rung for rung in Rung if rung is not Rung.NONE]
    return sorted((rung for rung in walled if rung >= profile.compute_floor), reverse=True)


def _unavailable(
    lacks: Mapping[Rung, Sequence[Missing]], profile: IsolationProfile, fit: Sequence[Rung]
) -> IsolationUnavailable:
    wanting = [f"{rung}: {lack.what}" for rung in fit for lack in lacks[rung]]
    fixes = [lack.fix for rung in reversed(fit) for lack in lacks[rung] if lack is not LATER]
    return IsolationUnavailable(
        f"tier {profile.tier} needs {profile.compute_floor} or stronger under trust={profile.trust}; "
        f"missing: {'; '.join(wanting)}",
        hint=fixes[0] if fixes else "insula doctor says which tiers this host can serve",
        field="tier",
        floor=str(profile.compute_floor),
    )
