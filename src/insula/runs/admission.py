"""Who gets the next sandbox slot: the tenant that has had the least slot time for its weight. Pure.

A bounded number of slots; each tenant may also carry a cap of its own. A tenant at its cap holds up nobody
and earns no claim meanwhile. Between tenants, and between the agents of a tenant, slot time is shared as
:mod:`insula.governance.fairness` says: charged by an estimate when the slot is granted, and corrected by
what the run really took. Inside a tenant, interactive runs go before batch runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from insula.governance.fairness import FairQueue, Item, Lane
from insula.kernel.ids import RunId, TenantId


@dataclass(slots=True)
class _Cap:
    """How many runs of a tenant hold a slot, and how many may."""

    held: int = 0
    most: int | None = None

    @property
    def reached(self) -> bool:
        return self.most is not None and self.held >= self.most


class Admission:
    """The book of slots. Calls only change the book; the caller wakes whom :meth:`admit` names."""

    def __init__(self, slots: int, queue: FairQueue | None = None) -> None:
        assert slots > 0
        self._slots = slots
        self._queue = queue or FairQueue()
        self._caps: dict[TenantId, _Cap] = {}
        self._holders: dict[RunId, TenantId] = {}

    @property
    def slots(self) -> int:
        """How many runs may hold a slot at once."""
        return self._slots

    @property
    def held(self) -> int:
        """How many runs hold a slot."""
        return len(self._holders)

    def waiting(self, tenant: TenantId) -> int:
        """How many runs of ``tenant`` wait."""
        return self._queue.waiting(tenant)

    def ask(
        self,
        tenant: TenantId,
        run: RunId,
        cap: int | None,
        *,
        flow: str = "",
        lane: Lane = Lane.INTERACTIVE,
        cost: int = 1,
        now_us: int = 0,
    ) -> None:
        """Put ``run`` at the end of its flow. ``cap``: most slots the tenant may hold (>= 1).

        ``cost``: what it will probably take, in nanoseconds of all slots together.
        """
        assert cap is None or cap > 0
        self._cap(tenant, cap, now_us)
        self._queue.enqueue(Item(run, tenant, flow, lane, cost), now_us)

    def withdraw(self, tenant: TenantId, run: RunId) -> bool:
        """Take a waiting run out of its line. False when it does not wait."""
        if not self._queue.cancel(run):
            return False
        self._forget_if_idle(tenant)
        return True

    def release(self, run: RunId, cost: int | None = None, now_us: int = 0) -> None:
        """Give a slot back. ``cost``: what the run took, if it differs from the estimate."""
        tenant = self._holders.pop(run)
        self._queue.settle(run, cost)
        cap = self._caps[tenant]
        cap.held -= 1
        if not cap.reached:
            self._queue.unblock(tenant, now_us)
        self._forget_if_idle(tenant)

    def admit(self, now_us: int = 0) -> list[RunId]:
        """Grant every slot that can be granted now; return the runs that got one, in order."""
        granted: list[RunId] = []
        while len(self._holders) < self._slots:
            item = self._queue.pick(now_us)
            if item is None:
                break
            granted.append(self._grant(TenantId(item.tenant), RunId(item.id)))
        return granted

    def _grant(self, tenant: TenantId, run: RunId) -> RunId:
        self._holders[run] = tenant
        cap = self._caps[tenant]
        cap.held += 1
        if cap.reached:
            self._queue.block(tenant)
        return run

    def _cap(self, tenant: TenantId, most: int | None, now_us: int) -> None:
        """Note how many slots a tenant may hold from now on."""
        cap = self._caps.setdefault(tenant, _Cap())
        was_reached, cap.most = cap.reached, most
        if cap.reached and not was_reached:
            self._queue.block(tenant)
        elif was_reached and not cap.reached:
            self._queue.unblock(tenant, now_us)

    def _forget_if_idle(self, tenant: TenantId) -> None:
        if not self._caps[tenant].held and not self._queue.waiting(tenant):
            del self._caps[tenant]
