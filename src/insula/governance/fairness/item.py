"""What waits in a fair queue, and the slip that follows it through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insula.governance.fairness.lane import Lane

if TYPE_CHECKING:
    from insula.governance.fairness.flow import Flow
    from insula.governance.fairness.tenant import Tenant
    from insula.governance.fairness.weight import Weight


@dataclass(slots=True)
class Item:
    """One piece of work. ``flow`` is who asks inside the tenant: an application or an agent.

    ``cost`` is an estimate in dominant nanoseconds, at least 1 (any whole unit works, if all use it).
    """

    id: str
    tenant: str
    flow: str
    lane: Lane
    cost: int
    payload: Any = None


class Slip:
    """An item's place in the line, and what it has been charged.

    ``weight`` is the tenant's at the charge, if there was one: a later correction is made at the same rate.
    ``after`` and ``before`` are its neighbours in the line of its flow; a line of its own for each flow would
    take more memory than all the rest.
    """

    __slots__ = (
        "after",
        "before",
        "charged",
        "flow",
        "item",
        "place",
        "queued",
        "since_us",
        "tenant",
        "weight",
    )

    weight: Weight

    def __init__(self, item: Item, tenant: Tenant, flow: Flow, place: int, since_us: int) -> None:
        self.item = item
        self.tenant = tenant
        self.flow = flow
        self.place = place
        self.since_us = since_us
        self.before: Slip | None = None
        self.after: Slip | None = None
        self.queued = True
        self.charged = 0

    @property
    def price(self) -> int:
        """Counter units that its dispatch will charge: none if it was charged before it was put back."""
        return 0 if self.charged else self.item.cost * self.tenant.weight.rate
