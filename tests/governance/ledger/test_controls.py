"""Ledgers that are wrong in the ways that suggest themselves: the court must see each of them."""

from __future__ import annotations

from collections import Counter

import pytest
from ledger_trace import walk

from insula.governance.ledger import Held, Settled, TenantLedger
from insula.governance.ledger.book import Book
from insula.governance.ledger.reservation import Hold, Reservation


class Clawing(Book):
    """Takes back what was lent when its lender works again, whoever has it now."""

    __slots__ = ()

    def touch(self, rid: str | None) -> Reservation | None:
        who = super().touch(rid)
        if who is not None and who.donated:
            for other in self.open.values():
                taken = min(who.donated, other.unused if other is not who and not other.parent else 0)
                if taken and not who.parent:
                    other.granted -= taken
                    self._resize(who, taken)
            if not who.donated:
                self.queue.pop(who.rid, None)
        return who


class Draining(Book):
    """Lends everything, floor and all."""

    __slots__ = ()

    def donate(self, one: Reservation) -> int:
        one.floor, kept = 0, one.floor
        given = super().donate(one)
        one.floor = kept
        return given


class Forgetful(Book):
    """Grants anew before it pays what it owes."""

    __slots__ = ()

    def serve(self) -> None:
        """Later."""


class Generous(Book):
    """Gives the whole hold back and debits what was used from nowhere."""

    __slots__ = ()

    def settle(self, hold: Hold, used: int) -> None:
        super().settle(hold, used)
        self.free += min(used, hold.pool)


class Careless(Book):
    """Checks what is free without taking it: calls that come together all pass the same check."""

    __slots__ = ()

    def hold(self, hold: Hold, who: Reservation | None) -> None:
        hold.pool = 0
        super().hold(hold, who)


class Refunding(TenantLedger):
    """Debits a call that settles after its expiry again each time it does."""

    __slots__ = ()

    def _settle_late(self, call: str, used: int) -> Settled:
        ended = self.memory.calls.get(call)
        if ended is not None and ended.answer is not None and ended.answer.late:
            self.book.use(None, used)
        return super()._settle_late(call, used)


class Repeating(TenantLedger):
    """Does not know a call that it was asked about before."""

    __slots__ = ()

    def raise_hold(self, call: str, more: int, now_us: int, *, seq: int | None = None) -> Held:
        answer = super().raise_hold(call, more, now_us)
        assert isinstance(answer, Held)
        return answer


class Timid(TenantLedger):
    """Refuses although idle tasks could lend."""

    __slots__ = ()

    def _room(self, who: Reservation | None, want: int) -> int:
        return self.book.room(who)


def _with(book: type[Book]) -> type[TenantLedger]:
    class Made(TenantLedger):
        __slots__ = ()

        def __init__(self, period: str, limit: int, overdraft: int = 0) -> None:
            super().__init__(period, limit, overdraft)
            self.book = book(period, limit, overdraft, self.book.idle_us)

    return Made


@pytest.mark.parametrize(
    ("made", "law"),
    [
        (_with(Clawing), "L3"),
        (_with(Draining), "L3"),
        (_with(Forgetful), "L4"),
        (_with(Generous), "L1"),
        (_with(Careless), "L10"),
        (Refunding, "L6"),
        (Repeating, "L6"),
        (Timid, "L9"),
    ],
    ids=["clawing", "draining", "forgetful", "generous", "careless", "refunding", "repeating", "timid"],
)
def test_the_court_sees_a_wrong_ledger(made: type[TenantLedger], law: str) -> None:
    breaches: Counter[str] = Counter()
    for seed in range(1, 10):
        breaches += walk(seed, 200, made).breaches
        if breaches[law]:
            return
    raise AssertionError(f"{law} was not breached: {breaches}")
