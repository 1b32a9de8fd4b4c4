"""A flow: the items of one application or agent in one lane, oldest first."""

from __future__ import annotations

from insula.governance.fairness.item import Slip
from insula.governance.fairness.lane import Lane
from insula.governance.fairness.race import Contender, Race


class Flow(Contender):
    """One flow of one lane. Its counter is in plain units of cost: flows of a tenant weigh the same."""

    __slots__ = ("blocked", "head", "in_flight", "lane", "race", "tail")

    def __init__(self, name: str, race: Race[Flow], lane: Lane, blocked: bool) -> None:
        super().__init__(name)
        self.race = race
        self.lane = lane
        self.head: Slip | None = None
        self.tail: Slip | None = None
        self.in_flight = 0
        self.blocked = blocked

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return self.head is None and not self.in_flight

    def append(self, slip: Slip) -> None:
        """Put an item at the end."""
        tail = self.tail
        self.tail = slip
        if tail is None:
            self.head = slip
            self.settle_in()
        else:
            slip.before = tail
            tail.after = slip

    def put_back(self, slip: Slip) -> None:
        """Put an item that was taken back to where it stood."""
        before, after = None, self.head
        while after is not None and after.place < slip.place:
            before, after = after, after.after
        slip.before, slip.after = before, after
        if before is None:
            self.head = slip
        else:
            before.after = slip
        if after is None:
            self.tail = slip
        else:
            after.before = slip
        self.settle_in()

    def take_head(self) -> None:
        """Take the oldest item out. The flow is not blocked."""
        slip = self.head
        assert slip is not None
        head = self.head = slip.after
        if head is None:
            self.tail = None
            self.race.leave(self)
            return
        slip.after = head.before = None
        stepped_back = head.since_us < self.since_us
        self.since_us = head.since_us
        if stepped_back:
            self.race.moved(self)

    def remove(self, slip: Slip) -> None:
        """Take an item out, wherever it stands."""
        before, after = slip.before, slip.after
        slip.before = slip.after = None
        if before is None:
            self.head = after
        else:
            before.after = after
        if after is None:
            self.tail = before
        else:
            after.before = before
        self.settle_in()

    def settle_in(self) -> None:
        """Contend or not, by whether anything may be served; and tell how long the head waits."""
        if self.head is None or self.blocked:
            self.race.leave(self)
            return
        self.since_us = self.head.since_us
        if self.entry is None:
            self.race.join(self)
        else:
            self.race.moved(self)

    def rest_if_idle(self) -> None:
        """Let the race forget a flow that has nothing to do."""
        if self.idle and self.resting is None:
            self.race.rest(self)
