"""Time. The only module that reads a clock; everything else is handed one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for stamps, one that never steps back."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic_us(self) -> int:
        """Microseconds from an arbitrary start; never decreases."""
        ...


class SystemClock:
    """The host's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000


class ManualClock:
    """A clock that moves only when told to: for tests and simulation."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self._now = now
        self._monotonic_us = 0

    def now(self) -> float:
        return self._now

    def monotonic_us(self) -> int:
        return self._monotonic_us

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by ``seconds`` (>= 0)."""
        assert seconds >= 0
        self._now += seconds
        self._monotonic_us += int(seconds * 1_000_000)


def rfc3339(seconds: float) -> str:
    """Return ``2026-11-23T19:00:00.000Z`` for seconds since the epoch."""
    stamp = datetime.fromtimestamp(seconds, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{stamp.microsecond // 1000:03d}Z"
