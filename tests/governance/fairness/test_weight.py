"""Weights: exact, bounded, and refused with a hint when they are none; kept across a restart."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.governance.adapters.weights import SqlWeights
from insula.governance.fairness import FairQueue, Item, Lane, Weight, parse_weight
from insula.governance.fairness.weight import UNITS
from insula.kernel.errors import InvalidRequest
from insula.storage import ControlDatabase

WEIGHTS = st.builds(Fraction, st.integers(1, 1000), st.integers(1, 1000))


@given(WEIGHTS)
def test_a_counter_is_never_rounded(weight: Fraction) -> None:
    assert Fraction(Weight(weight).rate, UNITS) == 1 / weight


@pytest.mark.parametrize("wrong", [0, -1, 1001, Fraction(1, 1001), Fraction(1.1)])
def test_what_a_counter_could_not_hold_is_no_weight(wrong: int | Fraction) -> None:
    with pytest.raises(ValueError, match="from 1 to 1000"):
        FairQueue().weigh("a", wrong)


@given(WEIGHTS)
def test_a_weight_is_read_as_it_is_written(weight: Fraction) -> None:
    assert parse_weight(str(weight)) == weight


def test_decimals_are_weights_too() -> None:
    assert parse_weight(1.5) == parse_weight("1.5") == Fraction(3, 2)
    assert parse_weight(4) == 4


@pytest.mark.parametrize("wrong", [0, -2, "1/0", "x", "", None, True, 1e-9, float("nan"), float("inf"), [1]])
def test_what_is_no_weight_is_refused_with_a_hint(wrong: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_weight(wrong)
    assert refused.value.field == "weight" and "1/2" in refused.value.hint


def test_weights_survive_and_go(tmp_path: Path) -> None:
    control = ControlDatabase(tmp_path / "control.db")
    weights = SqlWeights(control)
    weights.put("a", Fraction(3, 2))
    weights.put("a", Fraction(1, 3))
    weights.put("b", Fraction(2))
    weights.drop("b")
    again = SqlWeights(control)
    assert (again.get("a"), again.get("b"), again.get("c")) == (Fraction(1, 3), None, None)
    control.close()


@given(st.lists(WEIGHTS, min_size=2, max_size=5))
def test_service_is_in_proportion_to_any_weights(weights: list[Fraction]) -> None:
    queue = FairQueue()
    received = dict.fromkeys(map(str, range(len(weights))), 0)
    for tenant, weight in zip(received, weights, strict=True):
        queue.weigh(tenant, weight)
        for n in range(40):
            queue.enqueue(Item(f"{tenant}/{n}", tenant, "f", Lane.INTERACTIVE, 7), 0)
    while all(queue.waiting(tenant) for tenant in received):
        item = queue.pick(0)
        assert item is not None
        received[item.tenant] += item.cost
    normalised = [received[t] / weight for t, weight in zip(received, weights, strict=True)]
    assert max(normalised) - min(normalised) <= 2 * max(7 / weight for weight in weights)
