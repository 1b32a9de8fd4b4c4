"""Simulated time: what happens next, and nothing in between."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Timeline:
    """A heap of events. Events of the same microsecond happen in the order they were planned."""

    def __init__(self) -> None:
        self.now_us = 0
        self._planned = 0
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time_us: int, action: Callable[..., None], *args: Any) -> None:
        """Plan ``action(*args)`` for a time that is not past."""
        assert time_us >= self.now_us
        self._planned += 1
        heapq.heappush(self._heap, (time_us, self._planned, action, args))

    def after(self, delay_us: int, action: Callable[..., None], *args: Any) -> None:
        """Plan ``action(*args)`` for ``delay_us`` from now."""
        self.at(self.now_us + delay_us, action, *args)

    def now(self) -> int:
        """Return the simulated time."""
        return self.now_us

    def run(self) -> None:
        """Let everything happen that is planned, and what that plans."""
        while self._heap:
            self.now_us, _, action, args = heapq.heappop(self._heap)
            action(*args)


class GatewayClock:
    """The clock that gateways read: simulated time, put forward or back by faults."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._offset_us = 0
        self.set_back_us = 0

    def __call__(self) -> int:
        return self._timeline.now_us + self._offset_us

    def jump(self, by_us: int) -> None:
        """Put the clock forward, or back if negative."""
        self._offset_us += by_us
        self.set_back_us += max(0, -by_us)
