"""The ledgers of all tenants of one process, over one journal: what was answered survives its death.

A tenant has a ledger when it has a token budget; where it has none, every operation here answers ``None``
and nothing is counted.

Ledger time runs only while a process keeps the ledgers: it starts where the journal ended, so that no
downtime and no clock that jumps makes anybody idle or late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import structlog

from insula.governance.ledger.answer import Claimed, Closed, Donated, Held, Opened, Refusal, Settled, Stale
from insula.governance.ledger.calls import CALL_TTL_US
from insula.governance.ledger.chronicle import COMPACT_BYTES, Chronicle
from insula.governance.ledger.journal import Contents
from insula.governance.ledger.period import Budget
from insula.governance.ledger.reservation import DAY_US, State
from insula.governance.ledger.roster import Roster
from insula.governance.ledger.standing import LedgerStanding, Totals, standing_of, totals_of
from insula.kernel.clock import Clock
from insula.kernel.errors import Misconfigured

_log = structlog.get_logger()


class Ledgers:
    """Belongs to one event loop and owns ``directory``. ``budget_for`` says what a tenant may use.

    Opening is blocking. Each call that was running when an earlier process died is charged its ``sure``
    part. Raises ``Misconfigured`` when another process keeps these ledgers, when another version wrote
    them, or when they cannot be written. What asks for tokens raises ``UnavailableError`` while the journal
    cannot be written; what settles, ends or frees never fails.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        budget_for: Callable[[str], Budget | None],
        *,
        compact_bytes: int = COMPACT_BYTES,
    ) -> None:
        self._clock = clock
        self._refused: Counter[str] = Counter()
        self._chronicle = Chronicle(directory, compact_bytes)
        self._kept = self._chronicle.kept
        self._roster = Roster(self._chronicle, clock, budget_for)
        self._from_us = self._kept.now_us - clock.monotonic_us()
        for ledger in self._kept.ledgers.values():
            ledger.abandon(self._kept.now_us)
        self._begin_journal()
        for tenant in list(self._kept.ledgers):
            self.changed(tenant)

    @property
    def found(self) -> Contents:
        """What the journal held when it was opened: which lines were broken, whether its end was torn."""
        return self._chronicle.found

    def stop(self) -> None:
        """Write a short journal and let go of the directory. Blocking."""
        self._kept.now_us = self._now()
        self._chronicle.tidy(now=True)
        self._chronicle.close()

    def tick(self) -> None:
        """Let time pass: expiry, donation, a new day, a shorter journal. Once a second, traffic or not."""
        now = self._now()
        for tenant in [name for name, ledger in self._kept.ledgers.items() if ledger.due(now)]:
            ticked = self._chronicle.note([tenant, "tick", {"now_us": now}])
            if ticked.expired or ticked.lapsed:
                tasks, calls = len(ticked.expired), len(ticked.lapsed)
                _log.warning("ledger_expired", tenant=tenant, tasks=tasks, calls=calls)
            self._roster.freed(tenant)
        self._chronicle.tidy()

    def flusher(self) -> Callable[[], None] | None:
        """Return a blocking function that makes the journal durable; ``None`` if there is nothing new."""
        return self._chronicle.flusher()

    # Tenants

    def has(self, tenant: str) -> bool:
        """Whether this tenant has a token budget, and so a ledger."""
        return self._roster.find(tenant) is not None

    def changed(self, tenant: str) -> None:
        """Look at a tenant's budget again: it was set, changed or taken away."""
        self._roster.changed(tenant)

    def align(self, tenant: str, settled: int) -> None:
        """Take over what the usage records say a tenant used in its period, if the ledger says otherwise.

        After a crash, and for a budget that is set in the middle of a period: the records are the truth.
        """
        ledger = self._roster.find(tenant)
        if ledger is not None and ledger.book.settled != settled:
            _log.info("ledger_aligned", tenant=tenant, was=ledger.book.settled, settled=settled)
            self._chronicle.note([tenant, "align", {"settled": settled}])

    def forget(self, tenant: str) -> None:
        """Drop a deleted tenant's ledger and what was learned of its agents."""
        self._roster.forget(tenant)

    def tell_freed(self, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with a tenant of which tokens may have come free, when it is done."""
        self._roster.freed = heard

    def keep_only(self, tasks: Collection[str]) -> int:
        """Close the reservations of all other tasks: they ended while nobody looked. Return how many."""
        books = [(tenant, ledger.book) for tenant, ledger in self._kept.ledgers.items()]
        ended = [(tenant, rid) for tenant, book in books for rid in book.open if rid not in tasks]
        for tenant, rid in ended:
            self.close(tenant, rid)
        return len(ended)

    # Tasks

    def want(self, tenant: str, agent: str) -> tuple[int, int]:
        """Return the tokens that a task of this agent should set aside, and the least to start with."""
        return self._kept.wants.want(tenant, agent)

    def learn(self, tenant: str, agent: str, tokens: int) -> None:
        """Take in what a task that came to its end used in all."""
        self._chronicle.note([tenant, "learn", {"agent": agent, "tokens": tokens}])

    def open(
        self, tenant: str, rid: str, agent: str, want: int, least: int, *, seq: int = 0, ttl_us: int = DAY_US
    ) -> Opened | Refusal | Stale | None:
        """See :meth:`TenantLedger.open`."""
        given = {"rid": rid, "agent": agent, "want": want, "least": least, "seq": seq, "ttl_us": ttl_us}
        answer: Opened | Refusal | Stale | None = self._ask(tenant, "open", given)
        return answer

    def child(
        self,
        tenant: str,
        rid: str,
        parent: str,
        agent: str,
        want: int,
        least: int,
        *,
        seq: int = 0,
        ttl_us: int = DAY_US,
    ) -> Opened | Refusal | Stale | None:
        """See :meth:`TenantLedger.child`."""
        given = {"rid": rid, "parent": parent, "agent": agent, "want": want, "least": least}
        answer: Opened | Refusal | Stale | None = self._ask(
            tenant, "child", given | {"seq": seq, "ttl_us": ttl_us}
        )
        return answer

    def waiting(self, tenant: str, rid: str, state: State) -> Donated | None:
        """Say what a task does: whoever waits lends, whoever works claims back."""
        answer: Donated | None = self._note(tenant, "waiting", {"rid": rid, "state": str(state)})
        return answer

    def heartbeat(self, tenant: str, rid: str) -> Claimed | None:
        """Say that a task works, calls or no calls."""
        answer: Claimed | None = self._note(tenant, "heartbeat", {"rid": rid})
        return answer

    def close(self, tenant: str, rid: str, *, with_children: bool = False) -> Closed | None:
        """End a task's reservation, and those of its children if they end with it."""
        if with_children and (ledger := self._kept.ledgers.get(tenant)) is not None:
            for child in [one.rid for one in ledger.book.open.values() if one.parent == rid]:
                self.close(tenant, child, with_children=True)
        answer: Closed | None = self._note(tenant, "close", {"rid": rid})
        return answer

    # Calls

    def room(self, tenant: str, rid: str | None) -> int | None:
        """Return the most that a call of a task could hold now; ``None`` without a budget. Holds nothing."""
        ledger = self._roster.find(tenant)
        if ledger is None:
            return None
        now = self._now()
        if ledger.due(now):
            self._chronicle.note([tenant, "tick", {"now_us": now}])  # the idle lend before anybody is refused
        book = ledger.book
        return book.room(book.open.get(rid) if rid is not None else None)

    def hold(
        self,
        tenant: str,
        call: str,
        rid: str | None,
        want: int,
        least: int,
        *,
        sure: int = 0,
        ttl_us: int = CALL_TTL_US,
    ) -> Held | Refusal | None:
        """See :meth:`TenantLedger.hold`."""
        given = {"call": call, "rid": rid, "want": want, "least": least, "sure": sure, "ttl_us": ttl_us}
        answer: Held | Refusal | None = self._ask(tenant, "hold", given)
        return answer

    def raise_hold(self, tenant: str, call: str, more: int, *, seq: int | None = None) -> Held | Stale | None:
        """See :meth:`TenantLedger.raise_hold`."""
        answer: Held | Stale | None = self._ask(
            tenant, "raise_hold", {"call": call, "more": more, "seq": seq}
        )
        return answer

    def settle(self, tenant: str, call: str, used: int) -> Settled | None:
        """End a call at what it used, to the token."""
        answer: Settled | None = self._note(tenant, "settle", {"call": call, "used": used})
        return answer

    def lapse(self, tenant: str, call: str) -> None:
        """Free the hold of a call that nobody settled in time. It may still be settled, late."""
        self._note(tenant, "lapse", {"call": call})

    def release(self, tenant: str, call: str) -> Settled | None:
        """End a call that used nothing."""
        answer: Settled | None = self._note(tenant, "release", {"call": call})
        return answer

    # Display

    def standing(self, tenant: str) -> LedgerStanding | None:
        """Return where a tenant stands; ``None`` without a budget."""
        ledger = self._roster.find(tenant)
        return standing_of(ledger.book) if ledger is not None else None

    def totals(self) -> Totals:
        """Return sums over all tenants, for metrics."""
        books = [ledger.book for ledger in self._kept.ledgers.values()]
        return totals_of(books, self._refused["Exhausted"], self._refused["Full"])

    def _begin_journal(self) -> None:
        try:
            self._chronicle.compact()
        except OSError as error:
            self._chronicle.close()
            raise Misconfigured(
                f"the token ledgers cannot be written: {error.strerror}",
                hint="free space on the disk that holds the platform's home",
                field="home",
            ) from error

    def _ask(self, tenant: str, name: str, given: dict[str, Any]) -> Any:
        given["now_us"] = self._now()
        if self._roster.find(tenant) is None:
            return None
        answer = self._chronicle.ask([tenant, name, given])
        if isinstance(answer, Refusal):
            self._refused[type(answer).__name__] += 1
        return answer

    def _note(self, tenant: str, name: str, given: dict[str, Any]) -> Any:
        given["now_us"] = self._now()
        if self._roster.find(tenant) is None:
            return None
        answer = self._chronicle.note([tenant, name, given])
        self._roster.freed(tenant)
        return answer

    def _now(self) -> int:
        self._roster.keep_days()
        return self._from_us + self._clock.monotonic_us()
