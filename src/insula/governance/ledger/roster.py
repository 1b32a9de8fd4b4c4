"""Which tenants have a ledger, with which budget, in which period."""

from __future__ import annotations

from collections.abc import Callable

from insula.governance.ledger.chronicle import Chronicle
from insula.governance.ledger.period import Budget, next_day, period_of
from insula.governance.ledger.tenant_ledger import TenantLedger
from insula.kernel.clock import Clock


class Roster:
    """Makes a ledger when a tenant with a budget first needs one; keeps limits and periods up to date."""

    def __init__(
        self, chronicle: Chronicle, clock: Clock, budget_for: Callable[[str], Budget | None]
    ) -> None:
        self._chronicle = chronicle
        self._ledgers = chronicle.kept.ledgers
        self._clock = clock
        self._budget_for = budget_for
        self._without: set[str] = set()
        self._day_ends = 0.0
        self.freed: Callable[[str], None] = _nobody

    def find(self, tenant: str) -> TenantLedger | None:
        """Return a tenant's ledger; ``None`` without a budget."""
        ledger = self._ledgers.get(tenant)
        if ledger is not None or tenant in self._without:
            return ledger
        budget = self._budget_for(tenant)
        if budget is None:
            self._without.add(tenant)
            return None
        period = period_of(self._clock.now(), budget.window)
        given = {"period": period, "limit": budget.tokens, "overdraft": budget.overdraft}
        self._chronicle.note([tenant, "create", given])
        return self._ledgers[tenant]

    def changed(self, tenant: str) -> None:
        """Look at a tenant's budget again."""
        self._without.discard(tenant)
        ledger = self._ledgers.get(tenant)
        if ledger is None:
            return
        budget = self._budget_for(tenant)
        if budget is None:
            self._chronicle.note([tenant, "drop", {}])
            return
        if (ledger.book.limit, ledger.book.overdraft) != (budget.tokens, budget.overdraft):
            given = {"limit": budget.tokens, "overdraft": budget.overdraft}
            self._chronicle.note([tenant, "set_limit", given])
        self._roll(tenant, ledger, budget)
        self.freed(tenant)

    def forget(self, tenant: str) -> None:
        """Drop a deleted tenant's ledger and what was learned of its agents."""
        self._without.discard(tenant)
        self._chronicle.note([tenant, "drop", {"forget": True}])

    def keep_days(self) -> None:
        """Begin the periods that begin today; forget who used nothing in the last one."""
        now = self._clock.now()
        if now < self._day_ends:
            return
        self._day_ends = next_day(now)
        for tenant, ledger in list(self._ledgers.items()):
            budget = self._budget_for(tenant)
            if budget is not None and self._roll(tenant, ledger, budget):
                self.freed(tenant)
            if ledger.blank:
                self._chronicle.note([tenant, "drop", {}])

    def _roll(self, tenant: str, ledger: TenantLedger, budget: Budget) -> bool:
        period = period_of(self._clock.now(), budget.window)
        if not ledger.ends_before(period):
            return False
        self._chronicle.note([tenant, "roll", {"period": period}])
        return True


def _nobody(_tenant: str) -> None:
    """Whom it concerns when nobody waits."""
