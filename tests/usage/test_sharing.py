"""A shared amount is split to the unit, fairly, and the same way by everybody."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest
from insula.usage.period import Month
from insula.usage.shared_cost import Basis, SharedCost, Weights, nano_of
from insula.usage.sharing import share

NAMES = st.text("abcdef", min_size=1, max_size=3)
WEIGHTS = st.dictionaries(NAMES, st.integers(0, 10**15), min_size=1, max_size=12).filter(
    lambda weights: any(weights.values())
)
AMOUNT = st.integers(-(10**18), 10**18)


@given(AMOUNT, WEIGHTS)
def test_the_parts_are_the_whole_and_each_is_its_share_to_the_unit(
    amount: int, weights: dict[str, int]
) -> None:
    parts = share(amount, weights)
    assert sum(parts.values()) == amount
    for name, weight in weights.items():
        assert abs(parts[name] - Fraction(amount * weight, sum(weights.values()))) < 1
        assert weight or not parts[name]


@given(AMOUNT, WEIGHTS, st.randoms())
def test_the_order_of_tenants_does_not_matter(amount: int, weights: dict[str, int], draw: Any) -> None:
    shuffled = list(weights.items())
    draw.shuffle(shuffled)
    assert share(amount, dict(shuffled)) == share(amount, weights)


@given(st.integers(0, 10**18), WEIGHTS)
def test_who_used_more_never_pays_less(amount: int, weights: dict[str, int]) -> None:
    parts = share(amount, weights)
    ranked = sorted(weights, key=lambda name: weights[name])
    for less, more in itertools.pairwise(ranked):
        assert weights[less] == weights[more] or parts[less] <= parts[more]


def test_rounding_each_part_alone_would_lose_money() -> None:
    """The negative control: what most spreadsheets do."""
    weights = {"a": 1, "b": 1, "c": 1}
    assert sum(round(100 * weight / 3) for weight in weights.values()) == 99
    assert share(100, weights) == {"a": 34, "b": 33, "c": 33}


def test_a_credit_is_split_like_a_cost() -> None:
    assert share(-100, {"a": 1, "b": 2}) == {"a": -33, "b": -67}


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": 2, "b": -1}])
def test_there_is_nothing_to_share_by(weights: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest):
        share(1, weights)


def test_a_shared_cost_goes_by_what_it_says() -> None:
    weights = {"a": Weights(cost=3, usage=0), "b": Weights(cost=1, usage=5)}
    month = Month.parse("2026-11")
    assert SharedCost("gpu", month, 100, Basis.COST).parts(weights) == {"a": 75, "b": 25}
    assert SharedCost("gpu", month, 100, Basis.USAGE).parts(weights) == {"a": 0, "b": 100}
    assert SharedCost("gpu", month, 100, Basis.USAGE).parts({"a": Weights(1, 0)}) == {}


@pytest.mark.parametrize("text", ["12.50", "0.000000001", "1000", 7])
def test_dollars_become_nano_dollars_exactly(text: Any) -> None:
    assert Fraction(nano_of(text), 10**9) == Fraction(text)


@pytest.mark.parametrize("text", ["", "a", "NaN", "inf", "-inf", "0.0000000001", "1e30", 1.5, None, True])
def test_what_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        nano_of(text)
    assert refused.value.field == "usd"


@pytest.mark.parametrize(
    ("name", "nano", "field"),
    [("", 1, "name"), ("Big GPU", 1, "name"), ("gpu", 0, "usd"), ("gpu", -5, "usd")],
)
def test_a_bad_shared_cost_is_refused_by_field(name: str, nano: int, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        SharedCost(name, Month.parse("2026-11"), nano, Basis.COST)
    assert refused.value.field == field


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-1", "26-01", "2026-11-01", "", None, 202611])
def test_what_is_no_month_is_refused(text: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Month.parse(text)
    assert refused.value.field == "month"


@given(st.floats(0, 4e9))
def test_a_moment_lies_in_its_month(moment: float) -> None:
    month = Month.of(moment)
    assert month.begin <= moment < month.next.begin
    assert Month.parse(str(month)) == month
