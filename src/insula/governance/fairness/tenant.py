"""A tenant of the queue: two lanes, each a race between its flows."""

from __future__ import annotations

from collections import deque

from insula.governance.fairness.account import Account
from insula.governance.fairness.flow import Flow
from insula.governance.fairness.item import Slip
from insula.governance.fairness.lane import Lane
from insula.governance.fairness.race import Contender, Race
from insula.governance.fairness.weight import Weight

_INTERACTIVE, _BATCH = Lane  # finding a member by name takes longer than queueing an item
_SLACK = 16


class Tenant(Contender):
    """What is queued and in flight for one tenant.

    ``skipped``: counter units by which others were let past while its head did not fit.
    """

    __slots__ = (
        "account",
        "batch",
        "batch_order",
        "blocked",
        "blocked_flows",
        "head",
        "in_flight",
        "interactive",
        "queued",
        "skipped",
        "weight",
    )

    def __init__(self, name: str, weight: Weight, account: Account) -> None:
        super().__init__(name)
        self.weight = weight
        self.account = account
        self.interactive: Race[Flow] | None = None
        self.batch: Race[Flow] | None = None
        self.batch_order: deque[Slip] = deque()
        self.head: Slip | None = None
        self.queued = 0
        self.in_flight = 0
        self.skipped = 0
        self.blocked = False
        self.blocked_flows: set[str] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, in flight or blocked."""
        return not (self.queued or self.in_flight or self.blocked or self.blocked_flows)

    def flow(self, lane: Lane, name: str) -> Flow:
        """Return the flow of that name in a lane, which from now on has something to do."""
        race = self.batch if lane is _BATCH else self.interactive
        return (race or self._open_lane(lane)).awake(name)

    def enqueue(self, slip: Slip) -> None:
        """Put an item at the end of its flow."""
        slip.flow.append(slip)
        self.queued += 1
        if slip.item.lane is _BATCH:
            self.batch_order.append(slip)
            if len(self.batch_order) > 2 * self.queued + _SLACK:
                self.batch_order = deque(slip for slip in self.batch_order if _waits(slip, self.batch))

    def put_back(self, slip: Slip) -> None:
        """Put an item that was taken back to where it stood."""
        slip.flow.put_back(slip)
        self.queued += 1
        if slip.flow.race is self.batch:
            order = self.batch_order
            at = next((i for i, other in enumerate(order) if other.place > slip.place), len(order))
            order.insert(at, slip)

    def find_head(self) -> Slip | None:
        """Choose what this tenant would run next: interactive before batch, then by flow."""
        race = self.interactive
        if race is None or not race.contending:
            race = self.batch
        flow = None if race is None else race.first()
        if flow is None:
            self.head = None
            return None
        head = self.head = flow.line[0]
        self.since_us = head.since_us
        return head

    def age(self, before_us: int) -> bool:
        """Move batch items that wait since ``before_us`` or longer to the tail of the interactive lane."""
        order = self.batch_order
        moved = False
        while order and (order[0].since_us <= before_us or not _waits(order[0], self.batch)):
            slip = order.popleft()
            if not _waits(slip, self.batch):
                continue
            old = slip.flow
            old.take_head()
            old.rest_if_idle()
            slip.flow = self.flow(_INTERACTIVE, slip.item.flow)
            slip.flow.append(slip)
            moved = True
        return moved

    def block_flow(self, name: str, blocked: bool) -> None:
        """Keep a flow from being served in either lane, or let it be served again."""
        if blocked:
            self.blocked_flows.add(name)
        else:
            self.blocked_flows.discard(name)
        for race in (self.interactive, self.batch):
            flow = None if race is None else race.find(name)
            if flow is not None:
                flow.blocked = blocked
                if flow.queued:
                    flow.settle_in()

    def _open_lane(self, lane: Lane) -> Race[Flow]:
        race: Race[Flow] = Race(lambda name: Flow(name, race, name in self.blocked_flows))
        if lane is _BATCH:
            self.batch = race
        else:
            self.interactive = race
        return race


def _waits(slip: Slip, batch: Race[Flow] | None) -> bool:
    return slip.queued and slip.flow.race is batch
