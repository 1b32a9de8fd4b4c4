"""Chargeback: who owes what for a month, and what is shared by all. Complete up to the last call."""

from __future__ import annotations

import asyncio
from typing import Protocol

from insula.identity import Usage, VerifiedContext, require
from insula.kernel.clock import Clock
from insula.kernel.errors import InvalidRequest
from insula.usage.focus import FocusRow, Group, direct_row, shared_row
from insula.usage.invoice import Invoice, draw_up
from insula.usage.period import Month, Period
from insula.usage.recorder import Recorder
from insula.usage.row import UsageRow
from insula.usage.shared_cost import SharedCost, Weights


class Totals(Protocol):
    """What invoices ask of the books. Blocking."""

    def periods(self, tenant: str, by: Period, since: str | None, until: str | None) -> list[UsageRow]: ...
    def groups(self, tenant: str, month: Month) -> list[Group]: ...


class Costs(Protocol):
    """Where shared costs are kept. Blocking."""

    def add(self, cost: SharedCost, now: float) -> None: ...
    def remove(self, month: Month, name: str) -> None: ...
    def of_month(self, month: Month) -> list[SharedCost]: ...
    def weights(self, month: Month) -> dict[str, Weights]: ...


class Chargeback:
    """Answers for one verified tenant at a time; shared costs belong to the operator."""

    def __init__(self, recorder: Recorder, totals: Totals, costs: Costs, clock: Clock) -> None:
        self._recorder = recorder
        self._totals = totals
        self._costs = costs
        self._clock = clock

    async def invoice(self, ctx: VerifiedContext[Usage], month: Month) -> Invoice:
        """Return what the tenant owes for ``month``; preliminary while it is not over.

        Raises ``InvalidRequest`` for a month that has not begun, ``Denied`` for an expired context.
        """
        tenant = require(ctx, Usage, self._clock.now())
        await self._settle(month)
        return await asyncio.to_thread(self._invoice, tenant, month)

    async def focus(self, ctx: VerifiedContext[Usage], month: Month) -> list[FocusRow]:
        """Return the month as rows of the FOCUS format: they add up to the invoice. Raises as it does."""
        tenant = require(ctx, Usage, self._clock.now())
        await self._settle(month)
        return await asyncio.to_thread(self._focus, tenant, month)

    async def share(self, cost: SharedCost) -> None:
        """Record a shared cost. Raises ``AlreadyExists``, ``InvalidRequest``."""
        self._begun(cost.month)
        await asyncio.to_thread(self._costs.add, cost, self._clock.now())

    async def unshare(self, month: Month, name: str) -> None:
        """Take a shared cost back. Raises ``NotFound``."""
        await asyncio.to_thread(self._costs.remove, month, name)

    async def shared(self, month: Month) -> list[tuple[SharedCost, dict[str, int]]]:
        """Return what is shared in ``month``, each with the tenants' parts as of now."""
        await self._recorder.flush()
        costs = await asyncio.to_thread(self._costs.of_month, month)
        weights = await asyncio.to_thread(self._costs.weights, month)
        return [(cost, cost.parts(weights)) for cost in costs]

    def month(self, value: str | None) -> Month:
        """Return the month named ``2026-11``; without a name, the one that runs."""
        return Month.of(self._clock.now()) if value is None else Month.parse(value)

    async def _settle(self, month: Month) -> None:
        self._begun(month)
        await self._recorder.flush()

    def _begun(self, month: Month) -> None:
        if self._clock.now() < month.begin:
            hint = "choose the month that runs, or one before it"
            raise InvalidRequest(f"{month} has not begun", hint=hint, field="month")

    def _invoice(self, tenant: str, month: Month) -> Invoice:
        first, last = month.first.isoformat(), month.last.isoformat()
        days = self._totals.periods(tenant, Period.DAY, first, last)
        costs = self._costs.of_month(month)
        weights = self._costs.weights(month) if costs else {}
        return draw_up(tenant, month, days, costs, weights, now=self._clock.now())

    def _focus(self, tenant: str, month: Month) -> list[FocusRow]:
        rows = [direct_row(tenant, month, group) for group in self._totals.groups(tenant, month)]
        shared = self._invoice(tenant, month).shared
        return rows + [shared_row(tenant, month, line) for line in shared if line.nanousd]
