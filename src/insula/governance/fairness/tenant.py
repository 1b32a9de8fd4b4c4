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
        "latest",
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
        self.batch_order: deque[Slip] | None = None
        self.head: Slip | None = None
        self.latest: Flow | None = None
        self.queued = 0
        self.in_flight = 0
        self.skipped = 0
        self.blocked = False
        self.blocked_flows: frozenset[str] = frozenset()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, in flight or blocked."""
        return not (self.queued or self.in_flight or self.blocked or self.blocked_flows)

    def flow(self, lane: Lane, name: str) -> Flow:
        """Return the flow of that name in a lane, which from now on has something to do."""
        latest = self.latest
        if latest is not None and latest.head is not None and latest.lane is lane and latest.name == name:
            return latest
        race = self.batch if lane is _BATCH else self.interactive
        latest = self.latest = (race or self._open_lane(lane)).awake(name)
        return latest

    def in_batch(self, slip: Slip) -> None:
        """Note an item of the batch lane, so that it is found when it is old. Kept in order of arrival."""
        order = self.batch_order
        if order is None:
            order = self.batch_order = deque()
        elif len(order) > 2 * self.queued + _SLACK:
            order = self.batch_order = deque(other for other in order if self._waits_in_batch(other))
        at = len(order)
        while at and order[at - 1].place > slip.place:
            at -= 1
        order.insert(at, slip)

    def find_head(self) -> Slip | None:
        """Choose what this tenant would run next: interactive before batch, then by flow."""
        race = self.interactive
        if race is None or not race.contending:
            race = self.batch
        flow = None if race is None else race.first()
        head = self.head = None if flow is None else flow.head
        if head is not None:
            self.since_us = head.since_us
        return head

    def age(self, before_us: int) -> bool:
        """Move batch items that wait since ``before_us`` or longer to the tail of the interactive lane."""
        order = self.batch_order
        moved = False
        while order and (order[0].since_us <= before_us or not self._waits_in_batch(order[0])):
            slip = order.popleft()
            if self._waits_in_batch(slip):
                old = slip.flow
                old.remove(slip)
                old.rest_if_idle()
                slip.flow = self.flow(_INTERACTIVE, slip.item.flow)
                slip.flow.append(slip)
                moved = True
        return moved

    def _waits_in_batch(self, slip: Slip) -> bool:
        return slip.queued and slip.flow.race is self.batch

    def block_flow(self, name: str, blocked: bool) -> None:
        """Keep a flow from being served in either lane, or let it be served again."""
        self.blocked_flows = self.blocked_flows | {name} if blocked else self.blocked_flows - {name}
        for race in (self.interactive, self.batch):
            flow = None if race is None else race.find(name)
            if flow is not None:
                flow.blocked = blocked
                flow.settle_in()

    def close(self) -> None:
        """Let go of the lanes, which know their tenant, for the sake of the garbage collector."""
        self.interactive = self.batch = self.latest = None

    def _open_lane(self, lane: Lane) -> _LaneRace:
        race = _LaneRace(self, lane)
        if lane is _BATCH:
            self.batch = race
        else:
            self.interactive = race
        return race


class _LaneRace(Race[Flow]):
    """The race between the flows of one lane."""

    __slots__ = ("_lane", "_tenant")

    def __init__(self, tenant: Tenant, lane: Lane) -> None:
        super().__init__()
        self._tenant = tenant
        self._lane = lane

    def make(self, name: str) -> Flow:
        return Flow(name, self, self._lane, name in self._tenant.blocked_flows)
