"""The recorder: from the call to the books. Durable at once, booked soon, each event exactly once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from insula.usage.event import UsageEvent
from insula.usage.outbox import Outbox, unwritten

_log = structlog.get_logger()
_BATCH = 500
_RETRY_S = 1.0


class Books(Protocol):
    """Where events are kept for good. ``add`` is atomic and ignores events it already has. Blocking."""

    def add(self, events: Sequence[UsageEvent]) -> int:
        """Book ``events``; return how many were new."""
        ...


class Recorder:
    """Takes events into the outbox and moves them to the books in the background.

    ``linger_s`` is how long events gather before they are booked together. ``observe`` is shown each event,
    on the path of its call: it must be quick and must not fail.
    """

    def __init__(
        self,
        outbox: Outbox,
        books: Books,
        *,
        linger_s: float = 0.25,
        observe: Callable[[UsageEvent], None] | None = None,
    ) -> None:
        self._observe = observe
        self._outbox = outbox
        self._books = books
        self._linger_s = linger_s
        self._moving = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def failure(self) -> str | None:
        """Why events cannot be made durable at present, or ``None``. Tried again every second."""
        return self._outbox.failure

    def check(self) -> None:
        """Raise ``UnavailableError`` while events cannot be recorded.

        Asked before a call is sent, so that no tokens are spent that could not be metered.
        """
        if self._outbox.failure is not None:
            raise unwritten(self._outbox.failure)

    async def start(self) -> None:
        """Book what an earlier process left behind, then begin."""
        await asyncio.to_thread(self._recover)
        self._outbox.start()
        self._task = asyncio.create_task(self._move_forever(), name="usage-recorder")

    async def stop(self) -> None:
        """Book what is left. What cannot be booked stays in the outbox for the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            try:
                await self.flush()
            except Exception:
                _log.exception("usage_left_for_next_start")
        await self._outbox.stop()

    def record(self, event: UsageEvent) -> asyncio.Future[None]:
        """Return a future that is done when ``event`` will survive anything short of losing the disk.

        It fails with ``UnavailableError`` (or ``Overloaded``) when it will not, and then it is not counted.
        """
        if self._observe is not None:
            self._observe(event)
        return self._outbox.append(event)

    async def flush(self) -> None:
        """Return when everything recorded so far is in the books. Raises what the books raise."""
        await self._outbox.sync()
        async with self._moving:
            while await self._move():
                pass

    async def _move_forever(self) -> None:
        while True:
            await self._outbox.arrived.wait()
            await asyncio.sleep(self._linger_s)
            self._outbox.arrived.clear()
            try:
                async with self._moving:
                    while await self._move():
                        pass
            except Exception:
                _log.exception("usage_not_booked")
                self._outbox.arrived.set()
                await asyncio.sleep(_RETRY_S)
            if self._outbox.failure is not None:
                await asyncio.sleep(_RETRY_S)
                await self._outbox.sync()  # tries the disk, and wakes this loop again

    async def _move(self) -> int:
        """Book one batch and drop it from the outbox; return its size.

        A caller that leaves between the two costs nothing: the batch is booked again, which adds nothing.
        """
        batch = self._outbox.peek(_BATCH)
        if batch:
            await asyncio.to_thread(self._books.add, [durable.event for durable in batch])
            self._outbox.drop(len(batch))
        return len(batch)

    def _recover(self) -> None:
        for path, events in self._outbox.leftovers():
            fresh = 0
            for start in range(0, len(events), _BATCH):
                fresh += self._books.add(events[start : start + _BATCH])
            self._outbox.discard(path)
            if events:
                _log.info("usage_recovered", segment=path.name, events=len(events), fresh=fresh)
