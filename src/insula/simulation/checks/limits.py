"""Every limit on every level, as it was promised: no window above its bound, no hold outliving its ttl."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from insula.governance import Limits
from insula.simulation.checks.bound import BucketBound
from insula.simulation.checks.violations import Violations


@dataclass(slots=True)
class _Hold:
    keys: tuple[str, ...]
    held: int
    used: int
    given: int
    until_us: int
    counted: bool = False
    live: bool = True


class LimitChecks:
    """P1, P9 and C4: follows the same calls as the governor and trusts nothing it says.

    ``limits_for`` returns the limits of a level. What a call uses beyond its own hold is an overrun: it is
    debt, not overshoot, and is counted apart. Elapsed time is how far the gateways' clock moved forward, all
    its moves together: going back takes nothing away.
    """

    def __init__(self, violations: Violations, limits_for: Callable[[str], Limits]) -> None:
        self._violations = violations
        self._limits_for = limits_for
        self._bounds: dict[str, tuple[BucketBound | None, BucketBound | None]] = {}
        self._holds: dict[str, _Hold] = {}
        self._due: list[tuple[int, str]] = []
        self._read_us = 0
        self._elapsed_us = 0
        self.overshoot = 0
        self.overrun_tokens = 0

    def reserved(self, rid: str, keys: tuple[str, ...], tokens: int, given: int, until_us: int) -> None:
        """Note an admission: ``tokens`` held, ``given`` of them charged if it expires at ``until_us``."""
        self._holds[rid] = _Hold(keys, tokens, 0, given, until_us)
        heapq.heappush(self._due, (until_us, rid))

    def sent(self, rid: str, now_us: int) -> None:
        """Note that the request counts."""
        hold = self._holds.get(rid)
        if hold is not None and not hold.counted:
            hold.counted = True
            for key in hold.keys:
                self._take(key, 0, 1, now_us)

    def used(self, rid: str, total: int, now_us: int) -> int:
        """Note what the call has used so far; return what that adds."""
        hold = self._holds.get(rid)
        more = total - hold.used if hold is not None else 0
        if hold is None or more <= 0:
            return 0
        promised = min(more, hold.held) if hold.live else 0
        hold.used = total
        hold.held -= promised
        self.overrun_tokens += more - promised
        for key in hold.keys if promised else ():
            self._take(key, 1, promised, now_us)
        return more

    def ended(self, rid: str) -> None:
        """Note that the hold is gone."""
        self._holds.pop(rid, None)

    def overdue(self, now_us: int) -> bool:
        """Whether some hold's time is up."""
        self._read(now_us)
        while self._due and not self._lives(self._due[0][1]):
            heapq.heappop(self._due)
        return bool(self._due) and self._due[0][0] <= now_us

    def expired(self, rid: str, now_us: int) -> int:
        """Note an expiry: the input is charged, the rest is free, a settlement may still come."""
        hold = self._holds[rid]
        self._violations.check("P9", hold.until_us <= now_us, "{} expired before its time", rid)
        self.sent(rid, now_us)
        self.used(rid, hold.given, now_us)
        hold.live = False
        return hold.used

    def used_by(self, rid: str) -> int:
        """Return what a call has used so far."""
        return self._holds[rid].used

    def until_us(self, rid: str) -> int | None:
        """Return when a hold expires; ``None`` if it is gone."""
        return self._holds[rid].until_us if self._lives(rid) else None

    def still_held(self, now_us: int) -> int:
        """Return how many holds outlived their time."""
        self._read(now_us)
        return sum(hold.live and hold.until_us <= now_us for hold in self._holds.values())

    def _read(self, now_us: int) -> None:
        self._elapsed_us += max(0, now_us - self._read_us)
        self._read_us = now_us

    def _lives(self, rid: str) -> bool:
        hold = self._holds.get(rid)
        return hold is not None and hold.live

    def _take(self, key: str, which: int, units: int, now_us: int) -> None:
        self._read(now_us)
        bounds = self._bounds.get(key)
        if bounds is None:
            bounds = self._bounds[key] = _promised(self._limits_for(key))
        bound = bounds[which]
        if bound is not None:
            over = bound.use(units, self._elapsed_us)
            self.overshoot = max(self.overshoot, over)
            self._violations.check("P1", over == 0, "{} is {} ticks above its bound", key, over)


def _promised(limits: Limits) -> tuple[BucketBound | None, BucketBound | None]:
    rpm, tpm = limits.rpm, limits.tpm
    return (
        None if rpm is None else BucketBound(limits.rpm_burst or rpm, rpm),
        None if tpm is None else BucketBound(limits.tpm_burst or tpm, tpm),
    )
