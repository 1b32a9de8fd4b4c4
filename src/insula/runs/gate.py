"""Waiting for a slot without losing one: the asynchronous side of :mod:`admission`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

from insula.governance.fairness import Capacity, Demand, FairQueue, Lane, dominant_ns
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.ids import RunId, TenantId
from insula.runs.admission import Admission
from insula.runs.slot_times import SlotTimes

_SHORTEST_US = 20_000
"""A slot that is given back sooner was no run: it found no tokens, or was called off."""

Weigh = Callable[[str], int | Fraction]


class Gate:
    """Hands out the slots of one event loop.

    ``queue`` decides whose turn it is; ``weight`` tells each tenant's share of the slots when they wait.
    """

    def __init__(
        self,
        slots: int,
        queue: FairQueue | None = None,
        weight: Weigh = lambda tenant: 1,
        clock: Clock | None = None,
    ) -> None:
        self._queue = queue or FairQueue()
        self._book = Admission(slots, self._queue)
        self._weight = weight
        self._clock = clock or SystemClock()
        self._times = SlotTimes()
        self._capacity = Capacity(held={"slots": slots})
        self._tickets: dict[RunId, asyncio.Future[int]] = {}
        self._open = True

    @property
    def held(self) -> int:
        """How many runs are inside."""
        return self._book.held

    def waiting(self, tenant: TenantId) -> int:
        """How many runs of ``tenant`` wait outside."""
        return self._book.waiting(tenant)

    def shut(self) -> None:
        """Grant nothing from now on; who is inside stays inside."""
        self._open = False

    @asynccontextmanager
    async def slot(
        self,
        tenant: TenantId,
        run: RunId,
        cap: int | None,
        given_up: asyncio.Event,
        agent: str = "",
        lane: Lane = Lane.INTERACTIVE,
    ) -> AsyncIterator[bool]:
        """Wait for a slot and hold it for the body; False when ``given_up`` was set first.

        A waiter that gives up or is cancelled leaves the line in order.
        """
        ticket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tickets[run] = ticket
        self._ask(tenant, run, cap, agent, lane)
        self._wake()
        try:
            yield await _first(ticket, given_up)
        finally:
            del self._tickets[run]
            # A waiter may give up in the very turn in which it was granted: then it waits no more, and
            # the slot is given back.
            if not self._book.withdraw(tenant, run):
                self._release(tenant, run, agent, ticket)
            self._wake()

    def _ask(self, tenant: TenantId, run: RunId, cap: int | None, agent: str, lane: Lane) -> None:
        if not self._book.waiting(tenant):
            self._queue.weigh(tenant, self._weight(tenant))
        cost = self._cost(self._times.expect_us(tenant, agent))
        now_us = self._clock.monotonic_us()
        self._book.ask(tenant, run, cap, flow=agent, lane=lane, cost=cost, now_us=now_us)

    def _release(self, tenant: TenantId, run: RunId, agent: str, ticket: asyncio.Future[int]) -> None:
        """Give the slot back, charged for the time it was held."""
        now_us = self._clock.monotonic_us()
        took_us = now_us - ticket.result() if ticket.done() and not ticket.cancelled() else 0
        if took_us >= _SHORTEST_US:
            self._times.learn(tenant, agent, took_us)
        self._book.release(run, self._cost(took_us), now_us)

    def _cost(self, held_us: int) -> int:
        return dominant_ns(Demand(held={"slots": held_us * 1_000}), self._capacity)

    def _wake(self) -> None:
        now_us = self._clock.monotonic_us()
        for run in self._book.admit(now_us) if self._open else ():
            ticket = self._tickets[run]
            if not ticket.done():
                ticket.set_result(now_us)


async def _first(ticket: asyncio.Future[int], given_up: asyncio.Event) -> bool:
    if not ticket.done():
        giving_up = asyncio.ensure_future(given_up.wait())
        try:
            await asyncio.wait((ticket, giving_up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()
    return ticket.done() and not given_up.is_set()
