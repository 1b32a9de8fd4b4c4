"""Slots that serve what a queue gives them: the endpoint's slots, and the sandbox slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from insula.governance.fairness import Item, Lane
from insula.simulation.checks import Gap, OrderChecks, Violations
from insula.simulation.timeline import GatewayClock

Start = Callable[[Item], bool]
Fits = Callable[[Item], bool]


class Order(Protocol):
    """What a station asks of its queue; ``FairQueue`` and ``FifoQueue`` both do it."""

    def enqueue(self, item: Item, now_us: int) -> None: ...
    def pick(self, now_us: int, fits: Fits | None = None) -> Item | None: ...
    def progress(self, item_id: str, cost_so_far: int) -> None: ...
    def settle(self, item_id: str, cost: int) -> int: ...
    def requeue(self, item_id: str, now_us: int, *, keep_charge: bool) -> None: ...
    def block(self, tenant: str, flow: str | None = None) -> None: ...
    def unblock(self, tenant: str, now_us: int, flow: str | None = None) -> None: ...


class Station:
    """``start`` is asked to start an item and says whether it did; ``fits`` whether there is room for it.

    Q2 of the specification is checked whenever a slot stays free: nobody who could be served waits.
    """

    def __init__(
        self,
        name: str,
        slots: int,
        order: Order,
        clock: GatewayClock,
        violations: Violations,
        gap: Gap,
        lanes: OrderChecks | None,
        start: Start,
        fits: Fits | None = None,
    ) -> None:
        self.name = name
        self.order = order
        self.gap = gap
        self.paused = False
        self._free = slots
        self._clock = clock
        self._violations = violations
        self._lanes = lanes
        self._start = start
        self._fits = fits
        self._misfit = False
        self._dispatching = False

    def submit(self, item: Item) -> None:
        """Let an item wait for a slot."""
        self.order.enqueue(item, self._clock())
        self.gap.queued(item.tenant, 1)
        if self._lanes is not None:
            self._lanes.queued(item.id, item.tenant, item.flow, item.lane is Lane.BATCH, self._clock())
        self.dispatch()

    def dispatch(self) -> None:
        """Fill the free slots."""
        if self._dispatching:
            return
        self._dispatching = True
        while self._free and not self.paused:
            self._misfit = False
            item = self.order.pick(self._clock(), self._fitting if self._fits else None)
            if item is None:
                held = self._misfit or not self.gap.waiting()
                self._violations.check("Q2", held, "{}: a slot is free and somebody waits", self.name)
                break
            self.gap.passed_over |= self._misfit
            if self._start(item):
                self._dispatched(item)
        self._dispatching = False

    def release(self) -> None:
        """Take a slot back and serve the next."""
        self._free += 1
        self.dispatch()

    def settle(self, item: str, tenant: str, estimate: int, charged: int, actual: int) -> None:
        """End an item: what it was charged so far becomes what it really cost. C2: exactly that."""
        final = self.order.settle(item, actual)
        self._violations.check("C2", final == actual, "{} was charged {}, it cost {}", item, final, actual)
        self.gap.corrected(tenant, actual - charged)
        self.gap.ended(tenant, estimate, actual)

    def drop(self, item: Item) -> None:
        """Forget an item that was picked and cannot be served."""
        self.order.settle(item.id, 0)
        self.gap.queued(item.tenant, -1)
        if self._lanes is not None:
            self._lanes.left(item.id, item.tenant, item.lane is Lane.BATCH)

    def put_back(self, item: Item) -> None:
        """Let an item that was picked wait on at its old place, uncharged."""
        self.order.requeue(item.id, self._clock(), keep_charge=False)

    def block(self, tenant: str) -> None:
        """Pass a tenant over that its own limit keeps out."""
        self.order.block(tenant)
        self.gap.blocked(tenant, True)

    def unblock(self, tenant: str) -> None:
        """Serve a tenant again."""
        self.order.unblock(tenant, self._clock())
        self.gap.blocked(tenant, False)
        self.dispatch()

    def _dispatched(self, item: Item) -> None:
        self._free -= 1
        now = self._clock()
        self.gap.dispatched(item.tenant, item.cost)
        self.gap.queued(item.tenant, -1)
        if self._lanes is not None:
            self._lanes.dispatched(item.id, item.tenant, item.flow, item.lane is Lane.BATCH, now)

    def _fitting(self, item: Item) -> bool:
        assert self._fits is not None
        fits = self._fits(item)
        self._misfit |= not fits
        return fits
