"""Re-rating a tenant's calls by the prices of today: a correction beside each that costs something else."""

from __future__ import annotations

import asyncio
from typing import Protocol

from insula.identity import Usage, VerifiedContext, require
from insula.kernel.clock import Clock
from insula.kernel.errors import InvalidRequest
from insula.usage.event import UsageEvent
from insula.usage.period import parse_day, start_of
from insula.usage.prices import PriceBook
from insula.usage.rating import Rate, Rerated
from insula.usage.recorder import Recorder

_DAY_S = 86_400.0


class Corrected(Protocol):
    """Where corrections are written. Blocking."""

    def rerate(self, tenant: str, rate: Rate, since: float, until: float, now: float) -> Rerated: ...


class Rerating:
    """Corrects what calls cost. ``prices`` is best not the one that calls are priced by as they end.

    It remembers the rates of one moment for each model, and here the moments are long ago.
    """

    def __init__(self, recorder: Recorder, books: Corrected, prices: PriceBook, clock: Clock) -> None:
        self._recorder = recorder
        self._books = books
        self._prices = prices
        self._clock = clock

    async def rerate(self, ctx: VerifiedContext[Usage], since: str, until: str) -> Rerated:
        """Correct the calls from day ``since`` to day ``until`` (UTC, both included); return what changed.

        A call is rated as it was when it began, by the rates of that moment in the lists of today. Raises
        ``InvalidRequest`` naming the field, ``Denied`` for an expired context.
        """
        now = self._clock.now()
        tenant = require(ctx, Usage, now)
        begin, end = _moment("since", since), _moment("until", until) + _DAY_S
        if end <= begin:
            raise InvalidRequest("since is after until", hint="swap them", field="since")
        await self._recorder.flush()
        return await asyncio.to_thread(self._books.rerate, tenant, self._rate, begin, end, now)

    def _rate(self, event: UsageEvent) -> tuple[int, str]:
        return self._prices.cost_at(event.started_at, event.provider, event.model_id, event.tokens)


def _moment(name: str, value: str) -> float:
    day = parse_day(name, value)
    assert day is not None
    return start_of(day)
