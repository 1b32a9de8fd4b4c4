"""The fair queue: weighted fair queuing between tenants, then between the flows of a tenant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from insula.governance.fairness.backfill import first_that_fits, inherit, pass_over
from insula.governance.fairness.flow import Flow
from insula.governance.fairness.item import Item, Slip
from insula.governance.fairness.lane import Lane
from insula.governance.fairness.meter import Meter
from insula.governance.fairness.race import ALONE, Race
from insula.governance.fairness.refine import refine
from insula.governance.fairness.report import FairnessReport, report
from insula.governance.fairness.tenant import Tenant
from insula.governance.fairness.weight import FEW, UNITS, Weight, shared_weight, units_for

_BATCH = Lane.BATCH


class FairQueue:
    """Orders work in front of something scarce. Pure and synchronous; time is passed in, in microseconds.

    The tenant with the least normalised service goes first. An item is charged by its estimate when it is
    dispatched, and corrected, either way, when its real cost is known. For any two tenants that both have
    work waiting, the normalised service received differs by at most 2 (U + E): U is the largest estimate
    over its tenant's weight, E the largest total by which a tenant's items in flight can be misjudged (the
    largest too low plus the largest too high, if both happen). With a skip budget of sigma and items that do
    not fit, 2 (1 + sigma) (U + E).

    A tenant inside costs memory only while it has something queued, in flight or blocked, or a counter
    that its return would not lift. Only its weight is remembered, if it is not 1.
    """

    def __init__(
        self,
        *,
        skip_budget: int = 1,
        batch_age_us: int = 900_000_000,
        label_of: Callable[[str], str] = lambda tenant: "",
    ) -> None:
        """``skip_budget``: sigma, 0 for no backfill. A batch item older than ``batch_age_us`` is interactive.

        ``label_of`` names the group (a tier, say) under which a tenant's waiting times are counted.
        """
        assert skip_budget >= 0 and batch_age_us >= 0
        self._skip_budget = skip_budget
        self._batch_age_us = batch_age_us
        self._units = FEW
        self._weights: dict[str, Weight] = {}
        self._slips: dict[str, Slip] = {}
        self._meter = Meter(label_of)
        self._race = _TenantRace(self._weights, self._meter)
        self._places = 0
        self._queued = 0

    def weigh(self, tenant: str, weight: int | Fraction) -> None:
        """Set a tenant's weight, from its next charge on. Raises ``ValueError`` (see ``Weight``)."""
        held = self._weights.get(tenant)
        if weight == (1 if held is None else held.value):
            return
        new = Weight(weight)
        if units_for(weight) > self._units:
            self._count_finer()
        new = shared_weight(new.value, self._units)
        if weight == 1:
            del self._weights[tenant]
        else:
            self._weights[tenant] = new
        known = self._race.find(tenant)
        if known is None:
            return
        known.weight = new
        if known.entry is not None:
            self._meter.leaves(known)
            self._meter.joins(known)

    def enqueue(self, item: Item, now_us: int) -> None:
        """Put an item at the end of its flow. Raises ``ValueError`` for an id in use or a cost below 1."""
        if item.cost < 1:
            raise ValueError(f"the cost of {item.id} is {item.cost}, below 1")
        if item.id in self._slips:
            raise ValueError(f"{item.id} is in the queue already")
        self._meter.now_us = now_us
        tenant = self._race.awake(item.tenant)
        flow = tenant.flow(item.lane, item.flow)
        self._places += 1
        slip = self._slips[item.id] = Slip(item, tenant, flow, self._places, now_us)
        behind_others = tenant.entry is not None and flow.entry is not None
        flow.append(slip)
        tenant.queued += 1
        self._queued += 1
        if item.lane is _BATCH:
            tenant.in_batch(slip)
        if not behind_others:
            self._review(tenant)

    def pick(self, now_us: int, fits: Callable[[Item], bool] | None = None) -> Item | None:
        """Take out the item that goes next, charged; ``None`` when there is none, or none that may go now.

        ``fits`` tells whether there is room for an item. When the first has none, others are let past
        within the skip budget. It is asked once about each head, and an item it accepts is taken.
        """
        self._meter.now_us = now_us
        tenant = self._race.first()
        if tenant is None:
            return None
        if fits is None:
            if tenant.batch_order:
                self._refresh(tenant)
            return self._dispatch(tenant)
        budget = self._skip_budget * self._meter.largest
        found = first_that_fits(self._race, fits, budget, self._refresh)
        return None if found is None else self._dispatch(*found)

    def progress(self, item_id: str, cost_so_far: int) -> None:
        """Charge what an item in flight has used beyond its estimate (cumulative)."""
        slip = self._slips.get(item_id)
        if slip is not None and not slip.queued and cost_so_far > slip.charged:
            self._correct(slip, cost_so_far)

    def settle(self, item_id: str, cost: int | None) -> int:
        """End an item in flight: what it was charged is corrected to ``cost``. Return what it was charged.

        ``None`` leaves it at what it was charged. Unknown ids are ignored: they were charged nothing.
        """
        slip = self._slips.get(item_id)
        if slip is None or slip.queued:
            return 0
        del self._slips[item_id]
        if cost is not None:
            self._correct(slip, cost)
        self._land(slip)
        self._rest_if_idle(slip)
        return slip.charged

    def requeue(self, item_id: str, now_us: int, *, keep_charge: bool) -> None:
        """Put an item in flight back to its place in the line, because it could not run after all.

        With ``keep_charge`` it is not charged again when its turn comes; without, the charge is undone.
        """
        slip = self._slips.get(item_id)
        if slip is None or slip.queued:
            return
        self._meter.now_us = now_us
        if not keep_charge:
            self._correct(slip, 0)
        self._land(slip)
        slip.queued = True
        tenant = slip.tenant
        slip.flow.put_back(slip)
        tenant.queued += 1
        self._queued += 1
        if slip.flow.race is tenant.batch:
            tenant.in_batch(slip)
        self._review(tenant)

    def cancel(self, item_id: str) -> bool:
        """Take a queued item out. It has cost nothing. ``False`` when it is not queued."""
        slip = self._slips.get(item_id)
        if slip is None or not slip.queued:
            return False
        del self._slips[item_id]
        slip.queued = False
        slip.flow.remove(slip)
        slip.tenant.queued -= 1
        self._queued -= 1
        if slip.charged:
            self._correct(slip, 0)
        self._review(slip.tenant)
        self._rest_if_idle(slip)
        return True

    def block(self, tenant: str, flow: str | None = None) -> None:
        """Serve nothing of a tenant, or of one of its flows, until unblocked. Meanwhile it earns no debt."""
        known = self._race.awake(tenant)
        if flow is None:
            known.blocked = True
        else:
            known.block_flow(flow, True)
        self._review(known)

    def unblock(self, tenant: str, now_us: int, flow: str | None = None) -> None:
        """Serve a tenant, or a flow, again. It is lifted as one that comes back."""
        known = self._race.find(tenant)
        if known is None or known.resting is not None:
            return
        self._meter.now_us = now_us
        if flow is None:
            known.blocked = False
        else:
            known.block_flow(flow, False)
        self._review(known)
        self._rest_tenant_if_idle(known)

    def waiting(self, tenant: str | None = None) -> int:
        """Return how many items are queued, blocked ones included."""
        if tenant is None:
            return self._queued
        known = self._race.find(tenant)
        return 0 if known is None else known.queued

    def fairness(self) -> FairnessReport:
        """Return the figures of this queue so far."""
        return report(self._meter, self._race, self._skip_budget, self._units)

    def _dispatch(self, tenant: Tenant, passed: Sequence[Tenant] = ()) -> Item:
        slip = tenant.head
        assert slip is not None
        flow, item = slip.flow, slip.item
        slip.queued = False
        tenant.in_flight += 1
        flow.in_flight += 1
        tenant.start = tenant.counter
        flow.start = flow.counter
        paid = slip.charged > 0
        if paid:
            self._meter.served(tenant, slip, 0, 0)
        else:
            units = self._charge(slip, tenant, flow, item.cost)
            if tenant.skipped:
                tenant.skipped = max(0, tenant.skipped - units)
            if passed:
                pass_over(self._race, passed, units)
        self._remove(tenant, flow, paid)
        return item

    def _charge(self, slip: Slip, tenant: Tenant, flow: Flow, cost: int) -> int:
        """Charge a dispatch; return the units on the tenant's counter."""
        slip.charged = cost
        weight = slip.weight = tenant.weight
        units = cost * weight.rate
        tenant.counter += units
        flow.counter += cost
        self._meter.served(tenant, slip, cost, units)
        return units

    def _remove(self, tenant: Tenant, flow: Flow, paid: bool) -> None:
        """Take what was dispatched out of the lines.

        If it was ``paid`` before, its tenant's counter did not rise, and its entry may stand too far back.
        """
        flow.take_head()
        tenant.queued -= 1
        self._queued -= 1
        race = self._race
        head = flow.head
        if head is not None and flow.entry is ALONE:
            tenant.head = head
            tenant.since_us = head.since_us
        elif not tenant.queued or tenant.find_head() is None:
            race.leave(tenant)
            self._meter.leaves(tenant)
        if paid:
            race.moved(tenant)
        self._meter.compare(tenant, race.first())

    def _correct(self, slip: Slip, cost: int) -> None:
        """Make the charge ``cost`` in all."""
        tenant, flow = slip.tenant, slip.flow
        difference = cost - slip.charged
        if not difference:
            return
        self._meter.erred(tenant, (cost - slip.item.cost) * slip.weight.rate)
        slip.charged = cost
        tenant.counter += difference * slip.weight.rate
        flow.counter += difference
        self._meter.corrected(tenant, difference)
        flow.race.moved(flow)
        self._review(tenant)
        if tenant.entry is not None:
            self._meter.compare(tenant, self._race.first())

    def _count_finer(self) -> None:
        """A weight has come that needs finer units: recount everything, once. The order stays as it is."""
        self._units = UNITS
        self._race.one = shared_weight(1, UNITS)
        refine(self._race, self._meter, self._slips.values(), self._weights)

    def _review(self, tenant: Tenant) -> None:
        """Let a tenant contend or not, by whether anything of it may be served."""
        race = self._race
        if tenant.blocked or tenant.find_head() is None:
            if tenant.entry is not None:
                race.leave(tenant)
                self._meter.leaves(tenant)
        elif tenant.entry is None:
            first = race.first()
            race.join(tenant)
            tenant.skipped = 0
            if first is not None and first.skipped:
                inherit(tenant, first)
            self._meter.joins(tenant)
        else:
            race.moved(tenant)

    def _refresh(self, tenant: Tenant) -> None:
        """Bring a tenant's head up to date: batch items may have become old enough to be interactive."""
        if tenant.batch_order and tenant.age(self._meter.now_us - self._batch_age_us):
            tenant.find_head()

    def _land(self, slip: Slip) -> None:
        slip.tenant.in_flight -= 1
        slip.flow.in_flight -= 1

    def _rest_if_idle(self, slip: Slip) -> None:
        slip.flow.rest_if_idle()
        self._rest_tenant_if_idle(slip.tenant)

    def _rest_tenant_if_idle(self, tenant: Tenant) -> None:
        if tenant.idle:
            self._race.rest(tenant)


class _TenantRace(Race[Tenant]):
    """The race between the tenants of a queue."""

    __slots__ = ("_meter", "_weights", "one")

    def __init__(self, weights: dict[str, Weight], meter: Meter) -> None:
        super().__init__()
        self.one = shared_weight(1, FEW)
        self._weights = weights
        self._meter = meter

    def make(self, name: str) -> Tenant:
        return Tenant(name, self._weights.get(name) or self.one, self._meter.account(name))

    def gone(self, member: Tenant) -> None:
        self._meter.part(member)
        member.close()
