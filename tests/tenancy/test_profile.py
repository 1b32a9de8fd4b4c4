"""The table of tiers, its floors, and overrides: up freely, down only to the floor."""

from __future__ import annotations

import itertools
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest
from insula.tenancy import LADDERS, Rung, Tier, Trust, floor_of, plan, preset, resolve

EXPECTED = {
    # tier: (compute saas, compute internal, pool, state, vectors, inference, lanes)
    Tier.FREE: ("gvisor", "bubblewrap", "shared", "row", "namespace", "shared", ("interactive",)),
    Tier.PRO: ("gvisor", "bubblewrap", "own", "schema", "namespace", "shared", ("interactive", "batch")),
    Tier.ENTERPRISE: (
        "microvm",
        "gvisor",
        "own",
        "database",
        "index",
        "dedicated",
        ("interactive", "batch"),
    ),
    Tier.DEDICATED: ("microvm", "gvisor", "own-nodes", "server", "node", "own", ("interactive", "batch")),
}
tiers, trusts = st.sampled_from(Tier), st.sampled_from(Trust)
aspects = st.sampled_from(sorted(LADDERS))


@pytest.mark.parametrize("tier", Tier)
def test_each_tier_means_what_the_table_says(tier: Tier) -> None:
    saas, internal, pool, state, vectors, inference, lanes = EXPECTED[tier]
    for trust, compute in ((Trust.SAAS, saas), (Trust.INTERNAL, internal)):
        profile = resolve(tier, trust)
        assert str(profile.compute_floor) == compute
        assert (profile.pool, profile.state, profile.vectors) == (pool, state, vectors)
        assert (profile.inference, profile.lanes) == (inference, lanes)
        assert profile.exceptions == () and profile.compute_named is None


def test_free_is_strict_and_has_no_burst() -> None:
    limits = resolve(Tier.FREE, Trust.SAAS).limits
    assert limits.strict_estimates and limits.rpm_burst == 0 and limits.debt_percent == 0


def test_rates_of_a_tier_are_dated() -> None:
    before, from_then_on = date(2026, 11, 24), date(2026, 11, 25)
    assert preset(Tier.PRO, before).rpm == 600 and preset(Tier.PRO, from_then_on).rpm == 300
    assert preset(Tier.PRO, date(2020, 1, 1)).rpm == 600, "before the first row the first row holds"
    assert preset(Tier.PRO) == resolve(Tier.PRO, Trust.SAAS).limits


@given(tiers, trusts, aspects, st.data())
def test_an_override_holds_at_or_above_the_floor_and_nowhere_below(
    tier: Tier, trust: Trust, aspect: str, data: st.DataObject
) -> None:
    ladder = LADDERS[aspect]
    word = data.draw(st.sampled_from(ladder.words))
    floor = floor_of(aspect, tier, trust)
    below = ladder.height(word) < ladder.height(floor)
    named = trust is Trust.INTERNAL and floor == "bubblewrap" and word in {"none", "namespace"}
    if below and not named:
        with pytest.raises(InvalidRequest) as refused:
            resolve(tier, trust, {aspect: word})
        assert refused.value.field == aspect
        assert floor in refused.value.message and floor in refused.value.hint
    else:
        profile = resolve(tier, trust, {aspect: word})
        moved = {move.aspect for move in plan(resolve(tier, trust), profile)}
        assert moved == (set() if word == floor else {aspect})


@given(tiers, st.dictionaries(aspects, st.text(max_size=12)))
def test_under_saas_no_override_whatever_goes_below_the_tier(tier: Tier, overrides: dict[str, str]) -> None:
    try:
        profile = resolve(tier, Trust.SAAS, overrides)
    except InvalidRequest:
        return
    assert profile.compute_floor >= resolve(tier, Trust.SAAS).compute_floor
    assert profile.compute_floor >= Rung.GVISOR


@pytest.mark.parametrize("rung", ["none", "namespace"])
def test_a_named_exception_is_written_into_the_profile(rung: str) -> None:
    profile = resolve(Tier.PRO, Trust.INTERNAL, {"compute": rung})
    assert profile.compute_named is Rung.named(rung)
    assert profile.exceptions == (f"compute={rung} is below the floor bubblewrap of pro",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compute", "docker"),
        ("compute", 3),
        ("compute", True),
        ("colour", "red"),
        ("memory_mib", 0),
        ("memory_mib", -1),
        ("memory_mib", True),
        ("memory_mib", "512"),
        ("memory_mib", 512.5),
        ("memory_mib", 10**12),
        ("cpu_fraction", float("nan")),
        ("cpu_fraction", float("inf")),
        ("tier", "pro"),
    ],
)
def test_a_malformed_override_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        resolve(Tier.PRO, Trust.SAAS, {field: value})  # type: ignore[dict-item]
    assert refused.value.field == field and refused.value.hint


def test_bounds_of_a_sandbox_can_be_set_by_number() -> None:
    sandbox = resolve(Tier.FREE, Trust.SAAS, {"memory_mib": 100, "cpu_fraction": 1}).sandbox
    assert (sandbox.memory_mib, sandbox.cpu_fraction) == (100, 1.0)


@given(tiers, tiers, trusts)
def test_a_plan_is_empty_only_for_equal_profiles_and_reverses(one: Tier, other: Tier, trust: Trust) -> None:
    there, back = (
        plan(resolve(one, trust), resolve(other, trust)),
        plan(resolve(other, trust), resolve(one, trust)),
    )
    assert bool(there) == (one is not other)
    assert [(m.aspect, m.before, m.after) for m in there] == [(m.aspect, m.after, m.before) for m in back]
    assert all(move.effect for move in there)


def test_rungs_are_ordered_weakest_first() -> None:
    words = LADDERS["compute"].words
    assert [Rung.named(word) for word in words] == sorted(Rung)
    assert all(low < high for low, high in itertools.pairwise(sorted(Rung)))
