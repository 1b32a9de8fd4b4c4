"""What was used before the store counted is in the books: they are read once for each level with a budget.

A level that the store does not know admits nothing until then. What ended before the books were read is in
them, what ends later is counted by the store; the moment decides, by the store's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from insula.governance.quota.meter import HOUR_S, Meter, Use
from insula.governance.stores.exchange import Code, Exchange
from insula.governance.stores.fallback import unavailable
from insula.governance.stores.known import Known
from insula.governance.stores.record import write_meter

_log = structlog.get_logger()
_HOUR_US = HOUR_S * 1_000_000

Rows = Iterable[tuple[int, Use]]
Seed = Callable[[str], Awaitable[Rows]]
"""Reads what a level used, ``(hour, use)``. Every call that ended by now must be in it."""


async def no_books(_key: str) -> Rows:
    """Nothing was used."""
    return ()


class Books:
    """Sows what the books say, one level at a time, however many calls wait for it."""

    def __init__(self, exchange: Exchange, known: Known, seed: Seed) -> None:
        self._exchange = exchange
        self._known = known
        self._seed = seed
        self._under_way: dict[str, asyncio.Task[bool]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def sow(self, keys: Iterable[str]) -> asyncio.Future[list[bool]]:
        """Tell the store what the books say of these levels; whether each was told, or the store is away.

        Raises ``EnforcementUnavailable`` if the books cannot be read.
        """
        return asyncio.gather(*(self._one(key) for key in keys))

    def adjust(self, key: str) -> None:
        """Tell the store of a level's new limits; of its books too, if it now needs them."""

        def take(reply: object) -> None:
            found = self._exchange.read(reply)
            if found is not None and found[0] == Code.UNREAD:
                self._one(key)
            elif found is not None and found[0] == Code.DONE:
                self._known.learn_one(key, found[2] if len(found) > 2 else None)

        if self._exchange.up:
            self._exchange.adjust(key, b"", take)

    def stop(self) -> None:
        """Read no more."""
        for task in self._under_way.values():
            task.cancel()

    def _one(self, key: str) -> asyncio.Task[bool]:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(self._read(key))
            task.add_done_callback(lambda task: self._end(key, task))
        return task

    def _end(self, key: str, task: asyncio.Task[bool]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever waits has it too; after a mere change of limits nobody does

    async def _read(self, key: str) -> bool:
        read_us = self._exchange.moment_us()
        try:
            rows = await self._seed(key)
        except Exception as error:
            _log.warning("limits_books_unread", level=key, error=str(error)[:200])
            raise unavailable("what was used so far cannot be read from the books") from error
        meter = Meter(read_us // _HOUR_US)
        meter.load(rows)
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def take(reply: object) -> None:
            found = self._exchange.read(reply)
            sown = found is not None and found[0] == Code.DONE
            if found is not None and sown:
                self._known.learn_one(key, found[2])
            if not told.done():
                told.set_result(sown)

        if not self._exchange.up:
            return False
        self._exchange.adjust(key, write_meter(meter, read_us), take)
        return await told
