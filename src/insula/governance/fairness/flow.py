"""A flow: the items of one application or agent in one lane, oldest first."""

from __future__ import annotations

from collections import deque

from insula.governance.fairness.item import Slip
from insula.governance.fairness.race import Contender, Race

_SLACK = 16


class Flow(Contender):
    """One flow of one lane. Its counter is in plain units of cost: flows of a tenant weigh the same.

    ``line[0]`` is the oldest item, if there is one. Behind it, items that were cancelled may still stand.
    """

    __slots__ = ("blocked", "in_flight", "line", "queued", "race")

    def __init__(self, name: str, race: Race[Flow], blocked: bool) -> None:
        super().__init__(name)
        self.race = race
        self.line: deque[Slip] = deque()
        self.queued = 0
        self.in_flight = 0
        self.blocked = blocked

    def append(self, slip: Slip) -> None:
        """Put an item at the end."""
        self.line.append(slip)
        self.queued += 1
        if self.entry is None:
            self.settle_in()

    def put_back(self, slip: Slip) -> None:
        """Put an item that was taken back to where it stood."""
        line = self.line
        at = next((n for n, other in enumerate(line) if other.place > slip.place), len(line))
        line.insert(at, slip)
        self.queued += 1
        self.settle_in()

    def take_head(self) -> None:
        """Take the oldest item out. The flow was not blocked."""
        line = self.line
        line.popleft()
        self.queued -= 1
        while line and not line[0].queued:
            line.popleft()
        if not line:
            self.race.leave(self)
            return
        since_us = line[0].since_us
        stepped_back = since_us < self.since_us
        self.since_us = since_us
        if stepped_back:
            self.race.moved(self)

    def cancel(self, slip: Slip) -> None:
        """Take an item out, wherever it stands; it is not ``queued`` any more."""
        self.queued -= 1
        line = self.line
        if line[0] is slip:
            while line and not line[0].queued:
                line.popleft()
            self.settle_in()
        elif len(line) > 2 * self.queued + _SLACK:
            self.line = deque(other for other in line if other.queued)

    def settle_in(self) -> None:
        """Contend or not, by whether anything may be served; and tell how long the head waits."""
        if not self.queued or self.blocked:
            self.race.leave(self)
            return
        self.since_us = self.line[0].since_us
        if self.entry is None:
            self.race.join(self)
        else:
            self.race.moved(self)

    def rest_if_idle(self) -> None:
        """Let the race forget a flow that has nothing to do."""
        if not self.queued and not self.in_flight and self.resting is None:
            self.race.rest(self)
