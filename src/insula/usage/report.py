"""Reports: what a tenant used, to the last call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from insula.identity import Usage, VerifiedContext, require
from insula.kernel.clock import Clock
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import RunId
from insula.usage.period import Period, parse_day
from insula.usage.recorder import Recorder
from insula.usage.row import UsageRow


class Totals(Protocol):
    """What reports ask of the books. Blocking."""

    def periods(self, tenant: str, by: Period, since: str | None, until: str | None) -> list[UsageRow]: ...
    def run(self, tenant: str, run: str) -> UsageRow: ...


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Rows by period, app, agent and model, and their total."""

    rows: tuple[UsageRow, ...]
    total: UsageRow


class UsageReports:
    """Answers for one verified tenant at a time. Everything recorded before the question is in the answer."""

    def __init__(self, recorder: Recorder, totals: Totals, clock: Clock) -> None:
        self._recorder = recorder
        self._totals = totals
        self._clock = clock

    async def report(
        self,
        ctx: VerifiedContext[Usage],
        since: str | None = None,
        until: str | None = None,
        by: Period = Period.DAY,
    ) -> UsageReport:
        """Return usage from day ``since`` to day ``until`` (UTC, ``2026-11-23``, both included).

        A month that ``since`` or ``until`` cuts is added up over the days asked for.

        Raises ``InvalidRequest`` naming the field, ``Denied`` for an expired or foreign context.
        """
        tenant = require(ctx, Usage, self._clock.now())
        first, last = parse_day("since", since), parse_day("until", until)
        if first is not None and last is not None and first > last:
            raise InvalidRequest("since is after until", hint="swap them", field="since")
        await self._recorder.flush()
        rows = await asyncio.to_thread(self._totals.periods, tenant, by, first, last)
        return UsageReport(tuple(rows), sum(rows, UsageRow()))

    async def run_total(self, ctx: VerifiedContext[Usage], run: RunId) -> UsageRow:
        """Return the totals of one of the tenant's runs; zeros if it made no call."""
        tenant = require(ctx, Usage, self._clock.now())
        await self._recorder.flush()
        return await asyncio.to_thread(self._totals.run, tenant, run)
