"""The arithmetic of quota tokens: exact, rounded up once, never smaller for more use."""

from datetime import date
from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from insula.governance.burndown import Burn, Confidence

RATE = st.integers(0, 1_000_000)
COUNT = st.integers(0, 10**12)
DAY = date(2026, 1, 1)


def burn(rates: tuple[int, int, int, int]) -> Burn:
    return Burn(*rates, "v", "nobody", Confidence.WEAK, DAY, DAY)


@given(st.tuples(RATE, RATE, RATE, RATE), COUNT, COUNT, COUNT, COUNT)
def test_a_quota_is_the_exact_sum_rounded_up_once(
    rates: tuple[int, int, int, int], fresh: int, read: int, write: int, out: int
) -> None:
    exact = sum(
        Fraction(rate * count, 1000) for rate, count in zip(rates, (fresh, read, write, out), strict=True)
    )
    found = burn(rates)
    assert found.quota(fresh + read + write, read, write, out) == ceil(exact)
    sides = found.input_side(fresh + read + write, read, write) + found.output_side(out)
    assert ceil(exact) <= sides <= ceil(exact) + 1


@given(st.tuples(RATE, RATE, RATE, RATE), st.tuples(COUNT, COUNT, COUNT, COUNT), st.integers(0, 3), COUNT)
def test_more_of_a_kind_never_costs_less(
    rates: tuple[int, int, int, int], counts: tuple[int, int, int, int], which: int, more: int
) -> None:
    def quota(fresh: int, read: int, write: int, out: int) -> int:
        return burn(rates).quota(fresh + read + write, read, write, out)

    raised = [count + (more if at == which else 0) for at, count in enumerate(counts)]
    assert quota(*raised) >= quota(*counts)


@given(COUNT, COUNT)
def test_at_one_for_one_a_quota_is_the_plain_sum(read: int, out: int) -> None:
    assert burn((1000, 1000, 1000, 1000)).quota(read, output=out) == read + out
