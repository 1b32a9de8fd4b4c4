"""Reservations come free with nobody asking."""

from __future__ import annotations

import asyncio
import contextlib

from insula.governance import Governor, Limits, Scope, keep_sweeping
from insula.kernel.clock import ManualClock


def test_the_sweeper_frees_what_is_overdue() -> None:
    async def scenario() -> int:
        clock = ManualClock()
        governor = Governor(clock.monotonic_us, lambda _key: Limits(in_flight=1))
        governor.reserve(Scope("acme"), "lost", ttl_s=5)
        task = asyncio.create_task(keep_sweeping(governor, interval_s=0.001))
        clock.advance(5)
        while governor.in_flight():
            await asyncio.sleep(0.001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return governor.in_flight()

    assert asyncio.run(asyncio.wait_for(scenario(), 10)) == 0
