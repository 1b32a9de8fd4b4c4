"""Waiting times in buckets that grow with the time: 12 % wide, whatever the time."""

from __future__ import annotations

_FINE = 3


class Histogram:
    """Counts of durations in microseconds. At most 512 buckets; a percentile is told 12 % high at most."""

    __slots__ = ("count", "counts", "largest")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.largest = 0

    def add(self, us: int) -> None:
        """Count one duration. A clock that stepped back makes it 0."""
        us = max(us, 0)
        shift = us.bit_length() - _FINE - 1
        bucket = us if shift <= 0 else (shift << _FINE) + (us >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.count += 1
        if us > self.largest:
            self.largest = us

    def percentile(self, percent: int) -> int:
        """Return a duration that ``percent`` % of those counted do not exceed; 0 when none was counted."""
        rank = -(-self.count * percent // 100)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(_upper(bucket), self.largest)
        return self.largest


def _upper(bucket: int) -> int:
    """Return the largest duration that falls into a bucket."""
    shift = max((bucket >> _FINE) - 1, 0)
    return ((bucket - (shift << _FINE) + 1) << shift) - 1
