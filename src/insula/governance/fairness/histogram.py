"""Durations in buckets that grow with the duration: 12 % wide, whatever it is."""

from __future__ import annotations

_FINE = 3
_BUCKETS = 64 << _FINE
_LONGEST = (1 << 63) - 1


class Histogram:
    """Counts of durations in microseconds, in 4 KB. A percentile is told 12 % high at most."""

    __slots__ = ("_counts", "largest")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.largest = 0

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self._counts)

    def add(self, us: int) -> None:
        """Count one duration. A clock that stepped back makes it 0."""
        if us > self.largest:
            us = self.largest = min(us, _LONGEST)
        shift = us.bit_length() - _FINE - 1
        if shift > 0:
            self._counts[(shift << _FINE) + (us >> shift)] += 1
        else:
            self._counts[us if us > 0 else 0] += 1

    def percentile(self, percent: int) -> int:
        """Return a duration that ``percent`` % of those counted do not exceed; 0 when none was counted."""
        rank = -(-self.count * percent // 100)
        for bucket, count in enumerate(self._counts):
            rank -= count
            if rank <= 0:
                return min(_upper(bucket), self.largest)
        return self.largest


def _upper(bucket: int) -> int:
    """Return the largest duration that falls into a bucket."""
    shift = max((bucket >> _FINE) - 1, 0)
    return ((bucket - (shift << _FINE) + 1) << shift) - 1
