"""Nano-dollars print exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.money import usd


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_no_nano_dollar_is_lost(nano: int) -> None:
    assert Decimal(usd(nano)) * 10**9 == nano


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0"), (10**9, "1"), (123_000, "0.000123"), (10 * 10**9, "10")]
)
def test_trailing_zeros_go(nano: int, text: str) -> None:
    assert usd(nano) == text
