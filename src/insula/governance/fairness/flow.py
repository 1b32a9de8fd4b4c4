"""A flow: the items of one application or agent in one lane, oldest first."""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile

from insula.governance.fairness.item import Slip
from insula.governance.fairness.race import Contender, Race


class Flow(Contender):
    """One flow of one lane. Its counter is in plain units of cost: flows of a tenant weigh the same."""

    __slots__ = ("blocked", "in_flight", "line", "race")

    def __init__(self, name: str, race: Race[Flow]) -> None:
        super().__init__(name)
        self.race = race
        self.line: OrderedDict[str, Slip] = OrderedDict()
        self.in_flight = 0
        self.blocked = False

    @property
    def head(self) -> Slip:
        """The oldest item. There is one."""
        return next(iter(self.line.values()))

    def append(self, slip: Slip) -> None:
        """Put an item at the end."""
        self.line[slip.item.id] = slip
        if self.entry is None:
            self.settle_in()

    def put_back(self, slip: Slip) -> None:
        """Put an item that was taken back to where it stood."""
        before = [other.item.id for other in takewhile(lambda s: s.place < slip.place, self.line.values())]
        self.line[slip.item.id] = slip
        for name in (slip.item.id, *reversed(before)):
            self.line.move_to_end(name, last=False)
        self.settle_in()

    def remove(self, slip: Slip) -> None:
        """Take an item out of the line."""
        del self.line[slip.item.id]
        self.settle_in()

    def settle_in(self) -> None:
        """Contend or not, by whether anything may be served; and tell how long the head waits."""
        if not self.line or self.blocked:
            self.race.leave(self)
            return
        self.since_us = self.head.since_us
        if self.entry is None:
            self.race.join(self)
        else:
            self.race.moved(self)

    def rest_if_idle(self) -> None:
        """Let the race forget a flow that has nothing to do."""
        if not self.line and not self.in_flight and self.resting is None:
            self.race.rest(self)
