"""The bound of a rate limit, checked for every window at once.

In every window a limit admits at most ``capacity + rate * elapsed``. A leaky pail that drains at the rate
and takes in every use holds, at any time, the most by which some window that ends now exceeds
``rate * elapsed``: so the bound holds for all windows exactly if the pail never holds more than the capacity.
"""

from __future__ import annotations

UNITS = 60_000_000
"""Ticks in a unit, so that a rate of n a minute is n ticks a microsecond."""


class BucketBound:
    """One limit as it was promised. Integers only."""

    __slots__ = ("_capacity", "_pail", "_rate", "_stamp_us", "worst")

    def __init__(self, capacity: int, per_minute: int) -> None:
        self._capacity = capacity * UNITS
        self._rate = per_minute
        self._pail = 0
        self._stamp_us = 0
        self.worst = -self._capacity

    def use(self, units: int, elapsed_us: int) -> int:
        """Take in a use; return by how many ticks some window has now exceeded the bound (0: none)."""
        self._pail = max(0, self._pail - (elapsed_us - self._stamp_us) * self._rate)
        self._stamp_us = elapsed_us
        self._pail += units * UNITS
        self.worst = max(self.worst, self._pail - self._capacity)
        return max(0, self._pail - self._capacity)
