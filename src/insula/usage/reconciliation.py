"""Reconciliation: every account that a call touched must say the same, to the unit.

For each call: what its limits were debited is the quota of its tokens, what the tenant's ledger was debited
is the same, what the fair queue charged is what the call cost. For each hour, each day and each invoice: the
sum is that of the events. Works through one tenant and month at a time, so that big books block nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from insula.usage.burning import Rates
from insula.usage.period import Month
from insula.usage.recorder import Recorder

MOST_DETAILS = 200

RatesOf = Callable[[str, str, float], Rates | None]
"""From a burndown version, a model and the moment a call began, to the rates it was debited at."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One figure that another contradicts.

    ``account`` is the one that is wrong: ``event``, ``limits``, ``ledger``, ``fairness``, ``hour``, ``day``
    or ``invoice``. ``where`` is the call's id, or the period with app, agent and model.
    """

    account: str
    tenant: str
    where: str
    field: str
    expected: int | str
    found: int | str

    def as_dict(self) -> dict[str, Any]:
        """Return it for the wire."""
        return {
            "account": self.account,
            "tenant": self.tenant,
            "where": self.where,
            "field": self.field,
            "expected": self.expected,
            "found": self.found,
        }


@dataclass(slots=True)
class Checked:
    """What was found so far. ``unverified`` calls name a burndown row that is gone: nothing to check by."""

    calls: int = 0
    unverified: int = 0
    mismatches: int = 0
    details: list[Mismatch] = field(default_factory=list)

    def note(self, found: Iterable[Mismatch]) -> None:
        """Count mismatches; keep the first of them in detail."""
        for one in found:
            self.mismatches += 1
            if len(self.details) < MOST_DETAILS:
                self.details.append(one)

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for the wire."""
        return {
            "calls": self.calls,
            "mismatches": self.mismatches,
            "unverified": self.unverified,
            "details": [one.as_dict() for one in self.details],
        }


class Accounts(Protocol):
    """What can be checked of the books. Blocking."""

    def slices(self, tenant: str | None) -> list[tuple[str, Month]]:
        """Return each tenant's months with anything in the books."""
        ...

    def check(self, tenant: str, month: Month, rates: RatesOf, into: Checked) -> None:
        """Check one slice on one snapshot."""
        ...


class Reconciliation:
    """Checks the books against themselves."""

    def __init__(self, recorder: Recorder, accounts: Accounts, rates: RatesOf) -> None:
        self._recorder = recorder
        self._accounts = accounts
        self._rates = rates

    async def check(self, tenant: str | None = None) -> Checked:
        """Return what the books say of one tenant, or of all, up to the last call."""
        await self._recorder.flush()
        checked = Checked()
        for whose, month in await asyncio.to_thread(self._accounts.slices, tenant):
            await asyncio.to_thread(self._accounts.check, whose, month, self._rates, checked)
        return checked
