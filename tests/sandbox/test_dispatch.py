"""Which rung a run gets: never below the floor, exactly the named one, a refusal that says how to fix it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import IsolationUnavailable
from insula.sandbox.dispatch import LATER, NOT_BUILT, candidates, choose
from insula.sandbox.recipe import Missing
from insula.tenancy import IsolationProfile, Rung, Tier, Trust, resolve

HAVE: tuple[Missing, ...] = ()
LACK = (Missing("bubblewrap is not installed", "apt-get install bubblewrap"),)

lacks = st.fixed_dictionaries({rung: st.sampled_from([HAVE, LACK, (LATER,)]) for rung in Rung})
tiers = st.sampled_from(Tier)
trusts = st.sampled_from(Trust)


@st.composite
def profiles(draw: st.DrawFn) -> IsolationProfile:
    profile = resolve(draw(tiers), draw(trusts))
    floor = draw(st.sampled_from([rung for rung in Rung if rung is not Rung.NONE]))
    return replace(profile, compute_floor=floor)


@given(lacks, profiles())
def test_never_below_the_floor_and_never_on_what_is_missing(
    found: dict[Rung, tuple[Missing, ...]], profile: IsolationProfile
) -> None:
    able = [rung for rung in candidates(profile) if not found[rung]]
    try:
        chosen = choose(found, profile)
    except IsolationUnavailable as refusal:
        assert not able
        assert refusal.hint
        assert str(profile.compute_floor) in str(refusal)
    else:
        assert chosen >= profile.compute_floor
        assert chosen is max(able)
        assert chosen is not Rung.NONE


@given(lacks, profiles(), st.sampled_from(Rung))
def test_a_named_rung_is_that_one_or_none_at_all(
    found: dict[Rung, tuple[Missing, ...]], profile: IsolationProfile, named: Rung
) -> None:
    named_profile = replace(profile, compute_named=named)
    if found[named]:
        with pytest.raises(IsolationUnavailable):
            choose(found, named_profile)
    else:
        assert choose(found, named_profile) is named


@given(lacks, profiles())
def test_more_from_the_host_never_weakens(
    found: dict[Rung, tuple[Missing, ...]], profile: IsolationProfile
) -> None:
    try:
        before = choose(found, profile)
    except IsolationUnavailable:
        return
    for rung in Rung:
        assert choose({**found, rung: HAVE}, profile) >= before


@pytest.mark.parametrize("tier", Tier)
def test_strangers_are_refused_where_the_strong_rungs_are_missing(tier: Tier) -> None:
    """Everything the host could give today is below the floor of any tier among strangers."""
    host = {rung: (LATER,) if rung in NOT_BUILT else HAVE for rung in Rung}
    with pytest.raises(IsolationUnavailable) as refusal:
        choose(host, resolve(tier, Trust.SAAS))
    assert "not built yet" in str(refusal.value)


def test_the_refusal_says_what_to_install() -> None:
    host = {rung: LACK if rung is Rung.BUBBLEWRAP else (LATER,) for rung in Rung}
    with pytest.raises(IsolationUnavailable) as refusal:
        choose(host, resolve(Tier.FREE, Trust.INTERNAL))
    assert refusal.value.hint == "apt-get install bubblewrap"


def test_no_wall_only_by_name_and_among_colleagues() -> None:
    host = dict.fromkeys(Rung, HAVE)
    by_name = resolve(Tier.FREE, Trust.INTERNAL, {"compute": "none"})
    assert choose(host, by_name) is Rung.NONE
    assert Rung.NONE not in candidates(resolve(Tier.FREE, Trust.INTERNAL))
