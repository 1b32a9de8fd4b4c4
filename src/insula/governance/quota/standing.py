"""Where a caller stands: the figures that go into the headers of every response."""

from __future__ import annotations

from typing import NamedTuple

from insula.governance.quota.bucket import UNIT, Bucket
from insula.governance.quota.level import Path


class Quota(NamedTuple):
    """The tightest limit of one kind: per minute, left now (reservations counted), and until full."""

    limit: int
    remaining: int
    reset_us: int


class Standing(NamedTuple):
    """Requests and tokens; ``None`` where no level limits them."""

    requests: Quota | None
    tokens: Quota | None


def standing_of(path: Path, now_us: int) -> Standing:
    """Return where a path stands."""
    return Standing(tightest(path.requests, now_us), tightest(path.tokens, now_us))


def tightest(buckets: tuple[Bucket, ...], now_us: int) -> Quota | None:
    """Return the quota of the bucket with the least left."""
    if not buckets:
        return None
    least, free = buckets[0], buckets[0].free(now_us)
    for bucket in buckets[1:]:
        other = bucket.free(now_us)
        if other < free:
            least, free = bucket, other
    missing = least.capacity - free
    return Quota(least.rate, free // UNIT if free > 0 else 0, -(-missing // least.rate))
