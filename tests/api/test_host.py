"""What a host can isolate with, judged."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.api.host import LATER, judge
from insula.sandbox import Missing
from insula.tenancy import Rung, Trust, parse_tier, resolve

WORKS: Sequence[Missing] = ()
LACKS = (Missing("bubblewrap is not installed", "apt-get install bubblewrap"),)
HOSTS = st.fixed_dictionaries({rung: st.sampled_from([WORKS, LACKS]) for rung in Rung})


@given(HOSTS, st.sampled_from(Trust))
def test_a_tier_is_served_only_by_a_rung_that_works_at_or_above_its_floor(
    lacks: dict[Rung, Sequence[Missing]], trust: Trust
) -> None:
    report = judge(lacks, trust)
    for tier in report.tiers:
        floor = resolve(parse_tier(tier.tier), trust).compute_floor
        able = [rung for rung in Rung if rung >= floor and rung not in LATER and not lacks[rung]]
        assert tier.ok == bool(able)
        assert tier.backend == (str(max(able)) if able else None)
        assert tier.ok or tier.fix
    assert report.ok == any(tier.ok for tier in report.tiers)


@given(HOSTS, st.sampled_from(Trust))
def test_backends_are_told_strongest_first_with_what_is_missing(
    lacks: dict[Rung, Sequence[Missing]], trust: Trust
) -> None:
    backends = judge(lacks, trust).backends
    assert [backend.name for backend in backends] == [str(rung) for rung in sorted(Rung, reverse=True)]
    assert all((backend.status == "passed") == (not backend.missing) for backend in backends)


@pytest.mark.parametrize(
    ("trust", "fix"), [(Trust.SAAS, "--trust internal"), (Trust.INTERNAL, "apt-get install bubblewrap")]
)
def test_the_fix_is_the_nearest_one(trust: Trust, fix: str) -> None:
    lacks = dict.fromkeys(Rung, LACKS)
    assert fix in next(tier.fix for tier in judge(lacks, trust).tiers if tier.tier == "pro")
