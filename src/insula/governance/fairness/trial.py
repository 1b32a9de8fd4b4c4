"""A random trial of a queue: everything that may happen to it, in an order that a seed decides.

Tenants of different weights send bursts, pause and come back; items cost more or less than estimated, are
cancelled, put back, do not fit; tenants are blocked and change their weight. A `GapWatch` keeps count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Protocol

from insula.governance.fairness.gap import GapWatch
from insula.governance.fairness.item import Item
from insula.governance.fairness.lane import Lane
from insula.governance.fairness.weight import Weight


class Queue(Protocol):
    """What a trial needs of a queue."""

    def weigh(self, tenant: str, weight: int | Fraction) -> None: ...
    def enqueue(self, item: Item, now_us: int) -> None: ...
    def pick(self, now_us: int, fits: Callable[[Item], bool] | None = None) -> Item | None: ...
    def progress(self, item_id: str, cost_so_far: int) -> None: ...
    def settle(self, item_id: str, cost: int) -> None: ...
    def requeue(self, item_id: str, now_us: int, *, keep_charge: bool) -> None: ...
    def cancel(self, item_id: str) -> bool: ...
    def block(self, tenant: str, flow: str | None = None) -> None: ...
    def unblock(self, tenant: str, now_us: int, flow: str | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What may happen in a trial. ``misjudged``: costs differ from estimates; ``room``: items may not fit."""

    steps: int = 150
    tenants: int = 5
    slots: int = 8
    largest: int = 100
    misjudged: bool = True
    room: bool = False
    skip_budget: int = 0
    disturbed: bool = True


@dataclass(slots=True)
class _Running:
    item: Item
    weight: Weight
    charged: int
    real: int


@dataclass(slots=True)
class Trial:
    """One trial. ``log`` holds the ids in the order of dispatch."""

    queue: Queue
    seed: int
    terms: Terms = Terms()
    watch: GapWatch = field(default_factory=GapWatch)
    log: list[str] = field(default_factory=list)
    waiting: dict[str, list[Item]] = field(default_factory=dict)
    running: dict[str, _Running] = field(default_factory=dict)
    _random: Random = field(init=False)
    _weights: dict[str, Weight] = field(default_factory=dict)
    _blocked: set[str] = field(default_factory=set)
    _paid: dict[str, tuple[int, Weight]] = field(default_factory=dict)
    _slots: int = 0
    _now_us: int = 0
    _sent: int = 0

    def run(self) -> GapWatch:
        """Run to the end; return what was seen."""
        random = self._random = Random(self.seed)  # noqa: S311 - a trial must be repeatable
        self._slots = random.randint(1, self.terms.slots)
        names = [f"t{n}" for n in range(random.randint(2, self.terms.tenants))]
        for name in names:
            self.waiting[name] = []
            self._weigh(name, random.randint(1, 4))
        for _ in range(self.terms.steps):
            self._now_us += random.randrange(2000)
            self._step(random.choice(names))
            self._fill()
        return self.watch

    def _step(self, tenant: str) -> None:
        chance = self._random.random()
        if self.terms.disturbed and chance < 0.15:
            self._disturb(tenant)
        elif chance < 0.5:
            self._burst(tenant)
        else:
            for _ in range(self._random.randint(1, 4)):
                self._finish_one()

    def _burst(self, tenant: str) -> None:
        for _ in range(self._random.choice((1, 1, 2, 5, 12))):
            self._sent += 1
            cost = self._random.choice((1, self._random.randint(1, self.terms.largest), self.terms.largest))
            lane = self._random.choice((Lane.INTERACTIVE, Lane.BATCH))
            size = self._random.randint(1, self._slots)
            item = Item(f"i{self._sent}", tenant, self._random.choice("xyz"), lane, cost, payload=size)
            self.waiting[tenant].append(item)
            self.queue.enqueue(item, self._now_us)
        self._told(tenant)

    def _disturb(self, tenant: str) -> None:
        waiting = self.waiting[tenant]
        match self._random.randrange(5):
            case 0:
                self._weigh(tenant, self._random.randint(1, 4))
            case 1:
                self._block(tenant)
            case 2 if waiting:
                self._cancel(self._random.choice(waiting))
            case 3 if self.running:
                self._put_back(self._random.choice(list(self.running.values())))
            case 4 if self.running and self.terms.misjudged:
                self._progress(self._random.choice(list(self.running.values())))

    def _weigh(self, tenant: str, weight: int) -> None:
        self._weights[tenant] = Weight(weight)
        self.queue.weigh(tenant, weight)

    def _block(self, tenant: str) -> None:
        if tenant in self._blocked:
            self._blocked.discard(tenant)
            self.queue.unblock(tenant, self._now_us)
        else:
            self._blocked.add(tenant)
            self.queue.block(tenant)
        self._told(tenant)

    def _cancel(self, item: Item) -> None:
        assert self.queue.cancel(item.id)
        self.waiting[item.tenant].remove(item)
        charged, weight = self._paid.pop(item.id, (0, self._weights[item.tenant]))
        if charged:
            self.watch.corrected(item.tenant, -charged, -charged, weight)
        self._told(item.tenant)

    def _put_back(self, running: _Running) -> None:
        item, keep = running.item, self._random.random() < 0.5
        del self.running[item.id]
        self.queue.requeue(item.id, self._now_us, keep_charge=keep)
        if keep:
            self._paid[item.id] = (running.charged, running.weight)
        else:
            self.watch.corrected(item.tenant, -running.charged, -running.charged, running.weight)
        self.watch.landed(item.tenant)
        self.waiting[item.tenant].append(item)
        self._told(item.tenant)

    def _progress(self, running: _Running) -> None:
        item, so_far = running.item, self._random.randint(1, max(1, running.real))
        self.queue.progress(item.id, so_far)
        if so_far > running.charged:
            difference, running.charged = so_far - running.charged, so_far
            self.watch.corrected(item.tenant, difference, so_far - item.cost, running.weight)

    def _finish_one(self) -> None:
        if not self.running:
            return
        running = self._random.choice(list(self.running.values()))
        item = running.item
        del self.running[item.id]
        real = max(running.real, running.charged) if running.charged > item.cost else running.real
        self.queue.settle(item.id, real)
        self.watch.corrected(item.tenant, real - running.charged, real - item.cost, running.weight)
        self.watch.landed(item.tenant)

    def _fill(self) -> None:
        while len(self.running) < self._slots:
            item = self.queue.pick(self._now_us, self._fits if self.terms.room else None)
            if item is None:
                return
            self._dispatched(item)

    def _fits(self, item: Item) -> bool:
        taken: int = sum(running.item.payload for running in self.running.values())
        return taken + int(item.payload) <= self._slots

    def _dispatched(self, item: Item) -> None:
        self.waiting[item.tenant].remove(item)
        self.log.append(item.id)
        paid = self._paid.pop(item.id, None)
        charged, weight = paid or (item.cost, self._weights[item.tenant])
        self.running[item.id] = _Running(item, weight, charged, self._real(item.cost))
        self.watch.dispatched(item.tenant, 0 if paid else item.cost, weight)
        self._told(item.tenant)

    def _real(self, estimate: int) -> int:
        if not self.terms.misjudged:
            return estimate
        return max(1, int(estimate * self._random.choice((0.1, 0.5, 1, 1, 2, 4))))

    def _told(self, tenant: str) -> None:
        self.watch.waits(tenant, bool(self.waiting[tenant]) and tenant not in self._blocked)
