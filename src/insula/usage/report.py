"""Reports: what a tenant used, to the last call."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from insula.identity import Usage, VerifiedContext, require
from insula.kernel.clock import Clock
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import RunId
from insula.usage.recorder import Recorder
from insula.usage.row import UsageRow

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Ledger(Protocol):
    """What reports ask of the books. Blocking."""

    def days(self, tenant: str, since: str | None, until: str | None) -> list[UsageRow]: ...
    def run(self, tenant: str, run: str) -> UsageRow: ...


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Rows by day, model and agent, and their total."""

    rows: tuple[UsageRow, ...]
    total: UsageRow


class UsageReports:
    """Answers for one verified tenant at a time. Everything recorded before the question is in the answer."""

    def __init__(self, recorder: Recorder, ledger: Ledger, clock: Clock) -> None:
        self._recorder = recorder
        self._ledger = ledger
        self._clock = clock

    async def report(
        self, ctx: VerifiedContext[Usage], since: str | None = None, until: str | None = None
    ) -> UsageReport:
        """Return usage from day ``since`` to day ``until`` (UTC, ``2026-11-23``, both included).

        Raises ``InvalidRequest`` naming the field, ``Denied`` for an expired or foreign context.
        """
        tenant = require(ctx, Usage, self._clock.now())
        first, last = _day("since", since), _day("until", until)
        if first is not None and last is not None and first > last:
            raise InvalidRequest("since is after until", hint="swap them", field="since")
        await self._recorder.flush()
        rows = await asyncio.to_thread(self._ledger.days, tenant, first, last)
        return UsageReport(tuple(rows), sum(rows, UsageRow()))

    async def run_total(self, ctx: VerifiedContext[Usage], run: RunId) -> UsageRow:
        """Return the totals of one of the tenant's runs; zeros if it made no call."""
        tenant = require(ctx, Usage, self._clock.now())
        await self._recorder.flush()
        return await asyncio.to_thread(self._ledger.run, tenant, run)


def _day(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        if not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        hint = "write a day as 2026-11-23"
        raise InvalidRequest(f"{name} is {str(value)[:40]!r}, not a day", hint=hint, field=name) from None
