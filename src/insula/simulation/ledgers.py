"""The tenants' real ledgers, for tenants with a budget for the period, and the checks beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from insula.governance.ledger import Opened, State, TenantLedger
from insula.simulation.checks import Violations
from insula.simulation.timeline import GatewayClock
from insula.simulation.work import Run, Tenant

CAUTION = (3, 2)
"""A run reserves one and a half times what it needs."""
NEVER_IDLE_US = 10**15


class LedgerPool:
    """One tenant's ledger as the governor asks it."""

    def __init__(self, ledger: TenantLedger, clock: GatewayClock, violations: Violations) -> None:
        self.ledger = ledger
        self._clock = clock
        self._violations = violations

    def available(self, run: str | None) -> int:
        """Return what a call of ``run`` may hold; idle reservations donate first if that is needed."""
        book = self.ledger.book
        book.advance(self._clock())
        book.sweep()
        return book.room(book.open.get(run) if run is not None else None)

    def hold(self, call: str, run: str | None, tokens: int, sure: int) -> None:
        """Promise ``tokens``; ``sure`` are charged if nobody settles."""
        now = self._clock()
        self.ledger.hold(call, run, tokens, tokens, now, sure=min(sure, tokens), ttl_us=NEVER_IDLE_US)
        self.check()

    def extend(self, call: str, tokens: int) -> None:
        self.ledger.raise_hold(call, tokens, self._clock())
        self.check()

    def settle(self, call: str, tokens: int) -> None:
        self.ledger.settle(call, tokens, self._clock())
        self.check()

    def release(self, call: str) -> None:
        self.ledger.release(call, self._clock())
        self.check()

    def lapse(self, call: str) -> None:
        """End a call that nobody settled: what it surely used is charged, the rest may still come."""
        hold = self.ledger.book.holds.get(call)
        if hold is not None:
            hold.expires_us = self._clock()
            self.ledger.tick(self._clock())
        self.check()

    def surely_used(self, call: str, tokens: int) -> None:
        """Note what a running call is charged at least."""
        hold = self.ledger.book.holds.get(call)
        if hold is not None:
            hold.sure = max(hold.sure, tokens)

    def check(self) -> None:
        """L1, L2 and L4: every token is in one place, no debt beyond what happened late, claims are paid."""
        book = self.ledger.book
        whole = book.settled + book.reserved() + book.held() + book.free
        self._violations.check(
            "L1", whole == book.limit, "{} tokens in the accounts of {}", whole, book.limit
        )
        debt = -book.free - book.overdraft - book.totals.late - book.totals.overrun
        self._violations.check("L2", debt <= 0, "{} tokens below the overdraft", debt)
        self._violations.check("L4", book.free <= 0 or not book.queue, "claims wait while tokens are free")


class Ledgers:
    """Reservations of runs. Without ``donation`` a run that waits keeps all it has."""

    def __init__(
        self,
        tenants: Mapping[str, Tenant],
        clock: GatewayClock,
        violations: Violations,
        *,
        donation: bool,
        make: Callable[[int], TenantLedger] | None = None,
    ) -> None:
        self._clock = clock
        self._donation = donation
        make = make or (
            lambda limit: TenantLedger("2026-11", limit, **({} if donation else {"idle_us": NEVER_IDLE_US}))
        )
        self._pools = {
            name: LedgerPool(make(tenant.period_tokens), clock, violations)
            for name, tenant in tenants.items()
            if tenant.period_tokens is not None
        }
        self._violations = violations

    def pool_of(self, tenant: str) -> LedgerPool | None:
        """Return a tenant's ledger, if it has a budget."""
        return self._pools.get(tenant)

    def open(self, run: Run) -> bool:
        """Reserve for a run: ``CAUTION`` times what it needs, a quarter of that at least."""
        pool = self._pools.get(run.tenant)
        if pool is None:
            return True
        want = max(4, sum(step.tokens for step in run.steps) * CAUTION[0] // CAUTION[1])
        answer = pool.ledger.open(run.id, want, want // 4, self._clock(), agent=run.agent)
        pool.check()
        return isinstance(answer, Opened)

    def waiting(self, run: Run) -> None:
        """Note that a run waits for a person."""
        pool = self._pools.get(run.tenant)
        if pool is not None and self._donation:
            pool.ledger.waiting(run.id, State.WAITING_HUMAN, self._clock())
            pool.check()

    def resumed(self, run: Run) -> None:
        """Note that a run works again."""
        pool = self._pools.get(run.tenant)
        if pool is not None:
            pool.ledger.heartbeat(run.id, self._clock())
            pool.check()

    def close(self, run: Run) -> None:
        """Give a run's reservation back."""
        pool = self._pools.get(run.tenant)
        if pool is not None:
            pool.ledger.close(run.id, self._clock())
            pool.check()

    def donated(self) -> int:
        """Tokens that changed hands."""
        return sum(pool.ledger.book.totals.donated for pool in self._pools.values())

    def settle_up(self, used: Mapping[str, int]) -> None:
        """C2: what each ledger debited is what the usage events say."""
        for name, pool in self._pools.items():
            book = pool.ledger.book
            told = "the ledger of {} debited {}, its events say {}"
            self._violations.check(
                "C2", book.settled == used.get(name, 0), told, name, book.settled, used.get(name, 0)
            )
            self._violations.check("L5", not book.open and not book.holds, "{} has reservations left", name)
