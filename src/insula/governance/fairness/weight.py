"""Weights as whole numbers, so that no counter is ever rounded.

A counter is service divided by weight. Service is an integer and a weight is a rational n/d with n at
most 1,000, so service / weight is a multiple of 1/n. Counted in units of 1/``UNITS``, where ``UNITS`` is
the least common multiple of 1..1,000, every counter is an integer: sums and comparisons are exact, in
any order and on every replica. Such integers have 433 digits more than the service. A queue therefore
counts in units of 1/``FEW``, which is enough for the usual weights, until it is told another one.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import lcm

from insula.kernel.errors import InvalidRequest

LARGEST = 1000
UNITS = lcm(*range(1, LARGEST + 1))
"""Counter units in one unit of cost at weight 1, enough for every weight."""

FEW = lcm(*range(1, 11))
"""The same, enough for n up to 10, and some others."""


class Weight:
    """How large a tenant's share is. ``rate``: counter units for each unit of cost."""

    __slots__ = ("rate", "value")

    def __init__(self, value: int | Fraction, units: int = UNITS) -> None:
        """``units``: a multiple of n, if ``value`` is n/d in lowest terms.

        Raises ``ValueError`` unless n and d are in 1..1,000.
        """
        value = Fraction(value)
        if not (1 <= value.numerator <= LARGEST and value.denominator <= LARGEST):
            raise ValueError(f"a weight is n/d with n and d from 1 to {LARGEST}, not {value}")
        self.value = value
        self.rate = units * value.denominator // value.numerator


@lru_cache(maxsize=4096)
def shared_weight(value: int | Fraction, units: int) -> Weight:
    """Return a weight; the same one to all who ask for it."""
    return Weight(value, units)


def units_for(value: int | Fraction) -> int:
    """Return in which units a counter must be kept for that weight: few, or all."""
    return UNITS if FEW % Fraction(value).numerator else FEW


def parse_weight(value: object) -> Fraction:
    """Return ``value`` (2, 1.5, "1/2", "1.5") as a weight. Raises ``InvalidRequest``."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
            raise ValueError
        return Weight(Fraction(str(value))).value
    except (ValueError, ZeroDivisionError):
        raise InvalidRequest(
            f"weight {str(value)[:40]!r} is not a share",
            hint=f"use a whole number or a fraction, such as 2, 1.5 or 1/2, of numbers from 1 to {LARGEST}",
            field="weight",
        ) from None
