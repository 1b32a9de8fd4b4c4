"""Reservations: a task sets tokens aside, lends them while it waits, claims them back, gives them up."""

from __future__ import annotations

from insula.governance.ledger.answer import Claimed, Closed, Donated, Drawn, Opened, Refusal, Stale
from insula.governance.ledger.desk import Desk
from insula.governance.ledger.reservation import DAY_US, Reservation, State

_FLOOR_DIVISOR = 10
_POOL = ""
"""Under this name the answers to draws without a reservation are remembered."""


class Tasks(Desk):
    """The operations on reservations. ``rid`` names one; ``(rid, seq)`` names an operation on it."""

    __slots__ = ()

    def open(
        self,
        rid: str,
        want: int,
        least: int,
        now_us: int,
        *,
        agent: str = "",
        ttl_us: int = DAY_US,
        seq: int = 0,
    ) -> Opened | Refusal | Stale:
        """Set up to ``want`` tokens aside for a task: ``least`` of them or none (``1 <= least <= want``).

        A ``rid`` that is open keeps what it has. One that was closed may be opened anew under another
        ``seq``. It expires ``ttl_us`` after its last sign of life. The overdraft is never reserved.
        """
        assert 0 < least <= want
        return self._once(rid, seq, lambda: self._open(rid, want, least, now_us, agent, ttl_us))

    def child(
        self,
        rid: str,
        parent: str,
        want: int,
        least: int,
        now_us: int,
        *,
        agent: str = "",
        ttl_us: int = DAY_US,
        seq: int = 0,
    ) -> Opened | Refusal | Stale:
        """Carve a sub-task's reservation out of what its parent has unused, never out of the pool."""
        assert 0 < least <= want and rid != parent
        return self._once(rid, seq, lambda: self._child(rid, parent, want, least, now_us, agent, ttl_us))

    def heartbeat(self, rid: str, now_us: int, *, seq: int | None = None) -> Claimed | Stale:
        """Say that a task works; it claims back what it donated. Return what it still waits for."""

        def beat() -> Claimed:
            self.book.advance(now_us)
            who = self.book.touch(rid)
            return Claimed(who.donated if who is not None else 0)

        return self._once(rid, seq, beat)

    def waiting(self, rid: str, state: State, now_us: int, *, seq: int | None = None) -> Donated | Stale:
        """Say what a task is doing. Anything but ``RUNNING`` donates at once; running is a heartbeat."""

        def enter() -> Donated:
            self.book.advance(now_us)
            who = self.book.touch(rid) if state is State.RUNNING else self.book.open.get(rid)
            if who is None or state is State.RUNNING:
                return Donated(0)
            who.state = state
            return self._give(who)

        return self._once(rid, seq, enter)

    def donate(self, rid: str, now_us: int, *, seq: int | None = None) -> Donated | Stale:
        """Let a task lend what it does not need now, above its floor, whether it is idle or not."""

        def give() -> Donated:
            self.book.advance(now_us)
            who = self.book.open.get(rid)
            return self._give(who) if who is not None else Donated(0)

        return self._once(rid, seq, give)

    def draw(
        self, rid: str | None, tokens: int, now_us: int, *, seq: int | None = None
    ) -> Drawn | Refusal | Stale:
        """Debit tokens that are being used: all of them or none.

        Out of the reservation first, then what is free, then the overdraft. A draw on a reservation that
        has ended is use that has happened: it is debited whatever is left, and flagged.
        """
        assert tokens > 0
        return self._once(rid or _POOL, seq, lambda: self._draw(rid, tokens, now_us))

    def close(self, rid: str, now_us: int, *, seq: int | None = None) -> Closed | Stale:
        """End a reservation. What is unused goes to its parent if that is open, or else is free."""

        def shut() -> Closed:
            self.book.advance(now_us)
            who = self.book.open.get(rid)
            return self._end(who) if who is not None else self.memory.closed(rid) or Closed(0, 0)

        return self._once(rid, seq, shut)

    def _open(
        self, rid: str, want: int, least: int, now_us: int, agent: str, ttl_us: int
    ) -> Opened | Refusal:
        book = self.book
        book.advance(now_us)
        known = book.touch(rid)
        if known is not None:
            return Opened(known.first)
        if book.free < want:
            book.sweep()
        granted = min(want, max(0, book.free))
        if granted < least:
            return self._refusal(least, 0)
        return self._add(rid, None, granted, agent, ttl_us)

    def _child(
        self, rid: str, parent: str, want: int, least: int, now_us: int, agent: str, ttl_us: int
    ) -> Opened | Refusal:
        book = self.book
        book.advance(now_us)
        known = book.touch(rid)
        if known is not None:
            return Opened(known.first)
        above = book.touch(parent)
        granted = min(want, above.unused if above is not None else 0)
        if granted < least:
            return self._full(least, granted, of_parent=True)
        return self._add(rid, parent, granted, agent, ttl_us)

    def _add(self, rid: str, parent: str | None, granted: int, agent: str, ttl_us: int) -> Opened:
        floor = granted // _FLOOR_DIVISOR
        self.book.add(Reservation(rid, agent, parent, granted, granted, floor, self.book.now_us, ttl_us))
        self.memory.begin(rid)
        return Opened(granted)

    def _give(self, who: Reservation) -> Donated:
        given = self.book.donate(who)
        self.book.serve()
        return Donated(given)

    def _draw(self, rid: str | None, tokens: int, now_us: int) -> Drawn | Refusal:
        book = self.book
        book.advance(now_us)
        if rid is not None and self.memory.closed(rid) is not None:
            book.use(None, tokens)
            book.totals.late += tokens
            return Drawn(0, tokens, late=True)
        who = book.touch(rid)
        if self._room(who, tokens) < tokens:
            return self._refusal(tokens, book.overdraft)
        own = book.use(who, tokens)
        return Drawn(own, tokens - own)

    def _end(self, who: Reservation) -> Closed:
        returned = self.book.remove(who)
        closed = Closed(who.used + who.beyond, returned)
        self.memory.end(who.rid, closed, self.book.now_us)
        return closed
