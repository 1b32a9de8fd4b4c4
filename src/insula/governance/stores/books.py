"""What gateways used before the store counted: each tells it once, from its usage records.

The store counts every call of a gateway from the moment the two met, budget or not. So what a level used is
what its calls used since, and what the records of every gateway say of the time before. A level with a budget
admits nothing until so many gateways have told as there are said to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from insula.governance.quota.meter import Use
from insula.governance.stores.contract import ReadBooks
from insula.governance.stores.exchange import Exchange
from insula.governance.stores.membership import Membership
from insula.governance.stores.record import write_windows
from insula.governance.stores.wire import ReplyError

_log = structlog.get_logger()
_AT_ONCE: Final = 200
_PAUSE_S: Final = 1.0


async def no_books(_until: float) -> dict[str, list[tuple[int, Use]]]:
    """Nothing was used."""
    return {}


class Books:
    """Tells the store what the books say, and tries again until it has it."""

    def __init__(self, exchange: Exchange, membership: Membership, read: ReadBooks) -> None:
        self._exchange = exchange
        self._membership = membership
        self._read = read
        self._telling: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self.told = False

    def tell(self) -> None:
        """There is a store that may not have the books: tell it, in the background."""
        self.stop()
        self.told = False
        self._attempt = asyncio.get_running_loop().create_future()
        self._telling = asyncio.create_task(self._keep_telling(), name="limits-books")

    def attempt(self) -> asyncio.Future[None]:
        """Return what is done when the books were told, or could not be for now."""
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
            self._attempt.set_result(None)
        return asyncio.shield(self._attempt)

    def stop(self) -> None:
        """Tell no more."""
        if self._telling is not None:
            self._telling.cancel()
        self._tried()

    async def _keep_telling(self) -> None:
        while self._exchange.up and not self.told:
            try:
                await self._tell()
                self.told = True
            except (ConnectionError, ReplyError):
                pass  # heard of elsewhere; the next connection begins anew
            except Exception as error:
                _log.warning("limits_books_unread", error=str(error)[:200])
            self._tried()
            if not self.told:
                await asyncio.sleep(_PAUSE_S)

    async def _tell(self) -> None:
        gateway = self._membership.gateway
        if await self._exchange.joined(gateway):
            return
        books = await self._read(self._membership.until)
        written = await asyncio.to_thread(_written, books)
        for at in range(0, len(written), _AT_ONCE):
            await self._exchange.tell_books(gateway, written[at : at + _AT_ONCE])
        await self._exchange.join(gateway)

    def _tried(self) -> None:
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_result(None)


def _written(books: Mapping[str, Sequence[tuple[int, Use]]]) -> list[tuple[bytes, bytes]]:
    return [(level.encode(), write_windows(hours)) for level, hours in books.items()]
