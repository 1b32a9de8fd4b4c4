"""Calls: each holds what it may use before it runs, so that many at once cannot all pass the same check."""

from __future__ import annotations

from insula.governance.ledger.answer import Held, Refusal, Settled, Stale
from insula.governance.ledger.desk import Desk
from insula.governance.ledger.memory import EndedCall
from insula.governance.ledger.reservation import Hold

CALL_TTL_US = 3_600_000_000
"""A call that nobody settled for so long is lost."""


class Calls(Desk):
    """The operations on running calls. ``call`` names one, for good: it is held once and settled once."""

    __slots__ = ()

    def hold(
        self,
        call: str,
        rid: str | None,
        want: int,
        least: int,
        now_us: int,
        *,
        sure: int = 0,
        ttl_us: int = CALL_TTL_US,
    ) -> Held | Refusal:
        """Let a call use up to ``want`` tokens: ``least`` of them or none (``1 <= least <= want``).

        Out of the reservation first, then what is free, then the overdraft. A ``rid`` that is not open is
        as good as none. ``sure`` (its input, as a rule) is debited if nobody settles within ``ttl_us``.
        """
        assert 0 < least <= want and sure >= 0
        known = self._known(call)
        if known is not None:
            return Held(known)
        book = self.book
        now = book.advance(now_us)
        who = book.touch(rid)
        granted = min(want, self._room(who, want))
        if granted < least:
            return self._refusal(least, book.overdraft)
        own = min(granted, who.unused) if who is not None else 0
        whose = who.rid if who is not None else None
        book.hold(Hold(call, whose, granted, own, granted - own, sure, now + ttl_us), who)
        return Held(granted)

    def raise_hold(self, call: str, more: int, now_us: int, *, seq: int | None = None) -> Held | Stale:
        """Let a running call use up to ``more`` on top; return what it got, which may be 0."""
        assert more > 0

        def grow() -> Held:
            book = self.book
            book.advance(now_us)
            hold = book.holds.get(call)
            if hold is None:
                return Held(0)
            who = book.touch(hold.rid)
            granted = min(more, self._room(who, more))
            book.enlarge(hold, granted, who)
            return Held(granted)

        return self._once(f"call {call}", seq, grow)

    def settle(self, call: str, used: int, now_us: int) -> Settled:
        """End a call at what it really used, to the token; the rest of its hold goes back.

        Use beyond the hold is debited as well: it has happened. The second settle of a call changes nothing
        and returns the first answer.
        """
        assert used >= 0
        self.book.advance(now_us)
        hold = self.book.holds.get(call)
        if hold is None:
            return self._settle_late(call, used)
        size = hold.size
        self.book.settle(hold, used)
        answer = Settled(used, max(0, size - used), max(0, used - size))
        self.memory.end_call(call, EndedCall(self.book.now_us, hold.first, 0, answer))
        return answer

    def release(self, call: str, now_us: int) -> Settled:
        """End a call that used nothing. A call that is not running is left as it is."""
        if call in self.book.holds:
            return self.settle(call, 0, now_us)
        ended = self.memory.calls.get(call)
        return (ended and ended.answer) or Settled(0, 0)

    def lapse(self, call: str, now_us: int) -> bool:
        """Free the hold of a call that nobody settled in time; what it used is debited if it turns up.

        ``False`` if it is not running. Unlike at the end of its time here, nothing is charged: whoever says
        so keeps the time himself, and counts a call when it is settled.
        """
        self.book.advance(now_us)
        hold = self.book.holds.get(call)
        if hold is None:
            return False
        hold.sure = 0
        self._lapse(hold)
        return True

    def abandon(self, now_us: int) -> tuple[str, ...]:
        """End every running call: the process that made them is dead. Return their ids."""
        self.book.advance(now_us)
        lost = tuple(self.book.holds)
        for call in lost:
            self._lapse(self.book.holds[call])
        return lost

    def _known(self, call: str) -> int | None:
        """The first answer to this call's hold, if it was held before."""
        running = self.book.holds.get(call)
        if running is not None:
            return running.first
        ended = self.memory.calls.get(call)
        return ended.granted if ended is not None else None

    def _lapse(self, hold: Hold) -> None:
        """Charge a lost call what it surely used; it may still turn up and settle the rest, once."""
        charged = min(hold.sure, hold.size)
        self.book.settle(hold, charged)
        self.memory.end_call(hold.call, EndedCall(self.book.now_us, hold.first, charged, None))

    def _settle_late(self, call: str, used: int) -> Settled:
        """Debit what a call used that expired before, or that nobody knows: no token is lost."""
        ended = self.memory.calls.get(call) or EndedCall(0, 0, 0, None)
        if ended.answer is not None:
            return ended.answer
        more = max(0, used - ended.charged)
        self.book.use(None, more)
        self.book.totals.late += more
        answer = Settled(more, 0, more, late=True)
        self.memory.end_call(call, EndedCall(self.book.now_us, ended.granted, ended.charged, answer))
        return answer
