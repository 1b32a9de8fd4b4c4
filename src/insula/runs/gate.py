"""Waiting for a slot without losing one: the asynchronous side of :mod:`admission`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from insula.kernel.ids import RunId, TenantId
from insula.runs.admission import Admission


class Gate:
    """Hands out the slots of one event loop."""

    def __init__(self, slots: int) -> None:
        self._book = Admission(slots)
        self._tickets: dict[RunId, asyncio.Future[None]] = {}
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
        self, tenant: TenantId, run: RunId, cap: int | None, given_up: asyncio.Event
    ) -> AsyncIterator[bool]:
        """Wait for a slot and hold it for the body; False when ``given_up`` was set first.

        A waiter that gives up or is cancelled leaves the line in order.
        """
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tickets[run] = ticket
        self._book.ask(tenant, run, cap)
        self._wake()
        try:
            yield await _first(ticket, given_up)
        finally:
            del self._tickets[run]
            # A waiter may give up in the very turn in which it was granted: then it waits no more, and
            # the slot is given back.
            if not self._book.withdraw(tenant, run):
                self._book.release(run)
            self._wake()

    def _wake(self) -> None:
        for run in self._book.admit() if self._open else ():
            ticket = self._tickets[run]
            if not ticket.done():
                ticket.set_result(None)


async def _first(ticket: asyncio.Future[None], given_up: asyncio.Event) -> bool:
    if not ticket.done():
        giving_up = asyncio.ensure_future(given_up.wait())
        try:
            await asyncio.wait((ticket, giving_up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            giving_up.cancel()
    return ticket.done() and not given_up.is_set()
