"""The two-register bucket: a rate limit that reservations cannot overshoot.

A bucket has a *level* (what has been earned and not used) and *pending* (what is promised to
reservations still running). A reservation is admitted against ``level - pending``, moves only
``pending``, and touches ``level`` only by what it really used. An unused promise leaves ``pending``;
nothing is ever added back to the level except by refill. So for every window, the use of what was
admitted in it is at most ``capacity + rate * elapsed`` (plus what calls used beyond their own
estimate). The obvious bucket, which debits the estimate and refunds the rest, breaks its own limit:
a refund that arrives after the refill has covered the debit is paid out twice.

All figures are integers. A unit (a request, a token, a slot) is ``UNIT`` ticks, chosen so that a rate
of *n* units per minute is exactly *n* ticks per microsecond: refill is never rounded, for any rate,
however often the bucket is read.

A bucket with rate 0 whose holds are released unused counts what is in flight.
"""

from __future__ import annotations

UNIT = 60_000_000
"""Ticks in one unit: microseconds in a minute."""


class Bucket:
    """One limit at one level. Time is passed in, in microseconds; a clock that steps back adds nothing."""

    __slots__ = ("capacity", "debt_cap", "level", "pending", "rate", "stamp_us")

    def __init__(self, capacity: int, per_minute: int, now_us: int, debt_cap: int = 0) -> None:
        """Start full: ``capacity`` units, refilled by ``per_minute`` units each minute (0 = never).

        ``debt_cap`` units of overrun are borne; beyond them the level is ``overdrawn``.
        """
        self.debt_cap = debt_cap * UNIT
        self.capacity = capacity * UNIT
        self.rate = per_minute
        self.level = self.capacity
        self.pending = 0
        self.stamp_us = now_us

    def free(self, now_us: int) -> int:
        """Ticks that a reservation may still take; negative while in debt. Writes nothing."""
        level = self.level
        if now_us > self.stamp_us:
            level += (now_us - self.stamp_us) * self.rate
            if level > self.capacity:
                level = self.capacity
        return level - self.pending

    def refresh(self, now_us: int) -> None:
        """Add the refill earned since the last write, up to the capacity."""
        elapsed = now_us - self.stamp_us
        if elapsed > 0:
            level = self.level + elapsed * self.rate
            self.level = level if level < self.capacity else self.capacity
            self.stamp_us = now_us

    def hold(self, ticks: int) -> None:
        """Promise ``ticks`` to a reservation. The caller has seen ``free() >= ticks``."""
        self.pending += ticks

    def use(self, ticks: int, promised: int, now_us: int) -> None:
        """Take ``ticks`` from the level, ``promised`` of them out of a hold. May leave a debt.

        The level is brought up to date first, so that a full bucket does not earn on what it lost.
        """
        elapsed = now_us - self.stamp_us
        if elapsed > 0:
            level = self.level + elapsed * self.rate
            self.level = level if level < self.capacity else self.capacity
            self.stamp_us = now_us
        self.level -= ticks
        self.pending -= promised

    def release(self, ticks: int) -> None:
        """Drop a promise that was not used. The level does not move."""
        self.pending -= ticks

    def wait_us(self, ticks: int, now_us: int) -> int | None:
        """Microseconds until ``ticks`` are free if nothing else happens; exact, 0 if free now.

        ``None`` when refill alone can never free them: what stands in the way are running reservations
        (or, when ``ticks`` exceed the capacity, the limit itself).
        """
        lacking = ticks - self.free(now_us)
        if lacking <= 0:
            return 0
        if self.rate == 0 or ticks > self.capacity - self.pending:
            return None
        return -(-lacking // self.rate) + max(0, self.stamp_us - now_us)

    def overdrawn(self, now_us: int) -> bool:
        """Whether overruns have left a larger debt than is borne."""
        return self.level < -self.debt_cap and self.free(now_us) + self.pending < -self.debt_cap

    def idle(self, now_us: int) -> bool:
        """Whether the bucket is as good as new: full and promised to nobody."""
        return self.pending == 0 and self.free(now_us) == self.capacity

    def resize(self, capacity: int, per_minute: int, now_us: int, debt_cap: int = 0) -> None:
        """Change the limit. What was used stays used; a level above the new capacity is cut to it."""
        self.refresh(now_us)
        self.debt_cap = debt_cap * UNIT
        self.capacity = capacity * UNIT
        self.rate = per_minute
        # What never refills is a plain count: nothing is used of it, so it is as full as it can be.
        self.level = min(self.level, self.capacity) if per_minute else self.capacity
