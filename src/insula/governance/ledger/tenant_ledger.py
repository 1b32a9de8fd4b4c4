"""The shared ledger of one tenant in one period: soft reservations, exact settlement, lending while idle.

A task sets tokens aside when it starts, its calls draw from them, and what it does not need while it waits
is lent to the others; when it works again it stands first in line to get it back.

Deterministic: time is passed in (microseconds), amounts are whole tokens, and the same operations in the
same order give the same answers. Any operation may come twice: calls are known by their id, all others by
``(rid, seq)``.
"""

from __future__ import annotations

from typing import Any, Self

from insula.governance.ledger.answer import Ticked
from insula.governance.ledger.book import IDLE_US, Book
from insula.governance.ledger.calls import Calls
from insula.governance.ledger.memory import Memory
from insula.governance.ledger.snapshot import pack, unpack
from insula.governance.ledger.tasks import Tasks


class TenantLedger(Tasks, Calls):
    """``limit`` tokens for one period, of which calls may go ``overdraft`` below.

    Refusals are returned, not raised: ``Exhausted`` (the period is over) or ``Full`` (running work holds
    what is left).
    """

    __slots__ = ()

    def __init__(self, period: str, limit: int, overdraft: int = 0, *, idle_us: int = IDLE_US) -> None:
        super().__init__(Book(period, limit, overdraft, idle_us), Memory())

    def tick(self, now_us: int) -> Ticked:
        """End what is overdue, let the idle donate, serve the claims. Called about once a second."""
        book = self.book
        now = book.advance(now_us)
        lapsed = tuple(hold.call for hold in book.holds.values() if hold.expires_us <= now)
        for call in lapsed:
            self._lapse(book.holds[call])
        expired = tuple(one.rid for one in book.open.values() if one.dead(now))
        for rid in expired:
            self._end(book.open[rid])
        self.memory.forget_old(now)
        return Ticked(book.sweep(), expired, lapsed)

    def due(self, now_us: int) -> bool:
        """Whether a tick would do anything now."""
        book = self.book
        return (
            self.memory.has_old(now_us)
            or any(hold.expires_us <= now_us for hold in book.holds.values())
            or any(
                one.dead(now_us) or (one.idle(now_us, book.idle_us) and (one.spare or one.rid in book.queue))
                for one in book.open.values()
            )
        )

    def set_limit(self, limit: int, overdraft: int | None = None) -> None:
        """Change the limit from now on. What was promised stays so: ``free`` may become negative."""
        assert limit >= 0
        if overdraft is not None:
            self.book.overdraft = overdraft
        self.book.resize(limit)

    def align(self, settled: int) -> None:
        """Take over what the usage records say was used in this period."""
        assert settled >= 0
        self.book.align(settled)

    @property
    def blank(self) -> bool:
        """Whether nothing was used in this period and nothing runs: a new ledger would do as well."""
        return not (self.book.settled or self.book.open or self.book.holds)

    def ends_before(self, period: str) -> bool:
        """Whether ``period`` comes after the ledger's own."""
        own = self.book.period
        return len(period) != len(own) or period > own

    def roll(self, period: str) -> bool:
        """Begin a later period: nothing is settled in it yet, what runs carries over.

        Periods of one kind, days or months, are compared as text; one of the other kind is always new.
        """
        if not self.ends_before(period):
            return False
        self.book.renew(period)
        return True

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state in plain types, for JSON."""
        return pack(self.book, self.memory)

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the ledger that :meth:`snapshot` was taken of."""
        made = cls.__new__(cls)
        made.book, made.memory = unpack(state)
        return made
