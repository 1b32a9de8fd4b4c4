"""The rates at which one model's tokens are debited, and the exact arithmetic with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

MILLI = 1_000
"""Rates are whole thousandths of a quota token."""


class Confidence(StrEnum):
    """How well a rate is known."""

    VENDOR = "vendor"  # the vendor's own words
    QUOTED = "quoted"  # others quote the vendor
    WEAK = "weak"  # one thin source, or sources that disagree
    UNVERIFIED = "unverified"  # nobody says: the upper bound was chosen


@dataclass(frozen=True, slots=True)
class Burn:
    """Thousandths of a quota token for each token of a kind, and where they come from.

    ``version`` names the row and its date: write it beside every figure made with these rates. ``assumed``
    says that no row speaks of this very model; ``warning`` then says what was taken instead.
    """

    input: int
    cache_read: int
    cache_write: int
    output: int
    version: str
    source: str
    confidence: Confidence
    effective_from: date
    checked_on: date
    assumed: bool = False
    warning: str = ""

    def quota(self, input: int, cache_read: int = 0, cache_write: int = 0, output: int = 0) -> int:  # noqa: A002
        """Return the quota tokens of a call: the exact sum, rounded up once.

        ``input`` is everything that was read, cached or not; the two cached figures are parts of it. With
        ``max_tokens`` as ``output`` it is what to hold before the call: an upper bound.
        """
        assert cache_read >= 0 <= cache_write and cache_read + cache_write <= input and output >= 0
        milli = (input - cache_read - cache_write) * self.input
        milli += cache_read * self.cache_read + cache_write * self.cache_write + output * self.output
        return -(-milli // MILLI)

    def parts(
        self,
        input: int,  # noqa: A002
        cache_read: int = 0,
        cache_write: int = 0,
        output: int = 0,
    ) -> tuple[int, int, int]:
        """Return ``quota``, ``input_side`` and ``output_side`` of a call at once."""
        assert cache_read >= 0 <= cache_write and cache_read + cache_write <= input and output >= 0
        read = (input - cache_read - cache_write) * self.input
        read += cache_read * self.cache_read + cache_write * self.cache_write
        produced = output * self.output
        return -(-(read + produced) // MILLI), -(-read // MILLI), -(-produced // MILLI)

    def input_side(self, input: int, cache_read: int = 0, cache_write: int = 0) -> int:  # noqa: A002
        """Return what a limit on input tokens alone counts."""
        return self.quota(input, cache_read, cache_write)

    def output_side(self, output: int) -> int:
        """Return what a limit on output tokens alone counts."""
        return self.quota(0, output=output)
