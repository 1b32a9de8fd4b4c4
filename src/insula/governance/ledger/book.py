"""The accounts of one tenant in one period, and the moves between them.

Every token of the limit is in exactly one place::

    limit = settled + unused of the reservations + held by calls + free

``free`` is a register of its own, not what is left over: each move below takes from one account what it
puts into another, and the tests count all of them again after every move. ``free`` below zero is a debt.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from insula.governance.ledger.reservation import Hold, Reservation, State

IDLE_US = 20_000_000
"""A task that made no call for so long lends what it does not need."""


@dataclass(slots=True)
class Moved:
    """Tokens moved since the ledger was made: for display and metrics, never for a decision.

    ``late`` was settled after its hold or reservation had ended; ``overrun`` went below the overdraft.
    """

    donated: int = 0
    reclaimed: int = 0
    late: int = 0
    overrun: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Book:
    """Accounts in whole tokens; time in microseconds. Not a ledger yet: nobody here says no."""

    __slots__ = (
        "free",
        "holds",
        "idle_us",
        "limit",
        "now_us",
        "open",
        "overdraft",
        "period",
        "queue",
        "settled",
        "totals",
    )

    def __init__(self, period: str, limit: int, overdraft: int, idle_us: int) -> None:
        self.period = period
        self.limit = self.free = limit
        self.overdraft = overdraft
        self.idle_us = idle_us
        self.settled = 0
        self.now_us = 0
        self.open: dict[str, Reservation] = {}
        self.holds: dict[str, Hold] = {}
        self.queue: dict[str, None] = {}
        """Who works again and is owed what it donated, in the order of asking."""
        self.totals = Moved()

    def advance(self, now_us: int) -> int:
        """Return the time; a clock that steps back stands still."""
        if now_us > self.now_us:
            self.now_us = now_us
        return self.now_us

    def reserved(self) -> int:
        return sum(one.unused for one in self.open.values())

    def held(self) -> int:
        return sum(hold.size for hold in self.holds.values())

    def donatable(self) -> int:
        """What would come free if every reservation went idle now."""
        return sum(one.spare for one in self.open.values())

    def claimed(self) -> int:
        """What the reservations in the queue are owed."""
        return sum(self.open[rid].donated for rid in self.queue)

    def room(self, who: Reservation | None) -> int:
        """What a call may take: its reservation's unused, what is free, and the overdraft."""
        return (who.unused if who else 0) + max(0, self.free + self.overdraft)

    def touch(self, rid: str | None) -> Reservation | None:
        """Note a sign of life. Whoever had donated stands in line for it from here on."""
        who = self.open.get(rid) if rid is not None else None
        if who is None:
            return None
        who.seen_us = self.now_us
        who.state = State.RUNNING
        if who.donated:
            self.queue.setdefault(who.rid)
            self.serve()
        return who

    def add(self, one: Reservation) -> None:
        """Set a new reservation's tokens aside: out of its parent's, or out of what is free."""
        if one.parent is None:
            self.free -= one.granted
        else:
            self.open[one.parent].carved += one.granted
        self.open[one.rid] = one

    def remove(self, one: Reservation) -> int:
        """End a reservation; return its unused part, which its parent gets, or else everyone.

        Its running calls and its children go to the parent too. Without one, the calls hold from the pool
        and the children stand on their own.
        """
        returned = one.unused
        del self.open[one.rid]
        self.queue.pop(one.rid, None)
        parent = self.open.get(one.parent) if one.parent is not None else None
        if parent is not None:
            parent.carved += one.carved - one.granted
            parent.used += one.used
            parent.held += one.held
            parent.calls += one.calls
            parent.beyond += one.beyond
        else:
            self.free += returned
        self._rebind(one, parent)
        self.serve()
        return returned

    def hold(self, hold: Hold, who: Reservation | None) -> None:
        """Take a call's hold out of its two sources."""
        if who is not None:
            who.held += hold.own
            who.calls += 1
        self.free -= hold.pool
        self.holds[hold.call] = hold

    def enlarge(self, hold: Hold, more: int, who: Reservation | None) -> None:
        """Let a running call hold ``more``: its reservation's first, then the pool's."""
        own = min(more, who.unused) if who is not None else 0
        if who is not None:
            who.held += own
        hold.own += own
        hold.pool += more - own
        self.free -= more - own

    def settle(self, hold: Hold, used: int) -> None:
        """End a hold at ``used``: its own part is used first; what is not used goes back to its source."""
        del self.holds[hold.call]
        who = self.open.get(hold.rid) if hold.rid is not None else None
        own = min(used, hold.own)
        pool = min(used - own, hold.pool)
        self.settled += own + pool
        self.free += hold.pool - pool
        if who is not None:
            who.held -= hold.own
            who.calls -= 1
            who.used += own
            who.beyond += pool
            who.seen_us = self.now_us
        if used > hold.size:
            self.use(who, used - hold.size)
        self.serve()

    def use(self, who: Reservation | None, tokens: int) -> int:
        """Debit tokens, into debt if need be: the reservation's unused first. Return that part."""
        own = min(tokens, who.unused) if who is not None else 0
        pool = tokens - own
        self.settled += tokens
        if who is not None:
            who.used += own
            who.beyond += pool
        self.totals.overrun += min(pool, max(0, pool - self.free - self.overdraft))
        self.free -= pool
        return own

    def donate(self, one: Reservation) -> int:
        """Move what a task can spare to the pool; return it. Its own claim, if it has one, is dropped."""
        self.queue.pop(one.rid, None)
        spare = one.spare
        if spare:
            self._resize(one, -spare)
            self.free += spare
            self.totals.donated += spare
        return spare

    def sweep(self) -> int:
        """Let every idle task donate; return how much came together."""
        idle = [one for one in self.open.values() if one.idle(self.now_us, self.idle_us)]
        donated = sum(self.donate(one) for one in idle)
        self.serve()
        return donated

    def serve(self) -> None:
        """Pay what is owed out of what is free, first come first served."""
        while self.free > 0 and self.queue:
            one = self.open[next(iter(self.queue))]
            paid = min(self.free, one.donated)
            self._resize(one, paid)
            self.free -= paid
            self.totals.reclaimed += paid
            if not one.donated:
                del self.queue[one.rid]

    def resize(self, limit: int) -> None:
        """Change the limit: what was promised stays promised, only ``free`` moves."""
        self.free += limit - self.limit
        self.limit = limit
        self.serve()

    def align(self, settled: int) -> None:
        """Take over what is settled from books that know it better; only ``free`` moves with it."""
        self.free += self.settled - settled
        self.settled = settled
        self.serve()

    def renew(self, period: str) -> None:
        """Begin a period: nothing is settled yet, reservations and holds stay."""
        self.period = period
        self.free += self.settled
        self.settled = 0
        self.serve()

    def _resize(self, one: Reservation, by: int) -> None:
        """Change a reservation's size, and that of those it was carved from: they gave it away with it."""
        one.granted += by
        one.donated -= by
        above = one.parent
        while above is not None:
            parent = self.open[above]
            parent.granted += by
            parent.carved += by
            above = parent.parent

    def _rebind(self, one: Reservation, parent: Reservation | None) -> None:
        heir = parent.rid if parent is not None else None
        for child in self.open.values():
            if child.parent == one.rid:
                child.parent = heir
        for hold in self.holds.values() if one.calls else ():
            if hold.rid == one.rid:
                hold.rid = heir
                if parent is None:
                    hold.pool += hold.own
                    hold.own = 0
