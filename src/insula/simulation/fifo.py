"""First come, first served: what most gateways do, and what fair queuing is compared with."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from insula.governance.fairness import Item


class FifoQueue:
    """Has the methods of ``FairQueue`` and ignores tenants, weights, lanes and costs.

    Only a tenant that its own limit keeps out is passed over. A head that does not fit holds everybody up.
    """

    def __init__(self) -> None:
        self._arrived = 0
        self._lines: dict[str, deque[tuple[int, Item]]] = {}
        self._heads: list[tuple[int, str]] = []
        self._blocked: set[str] = set()
        self._out: dict[str, tuple[int, Item]] = {}

    def enqueue(self, item: Item, now_us: int) -> None:
        self._arrived += 1
        line = self._lines.setdefault(item.tenant, deque())
        line.append((self._arrived, item))
        if len(line) == 1:
            self._show(item.tenant)

    def pick(self, now_us: int, fits: Callable[[Item], bool] | None = None) -> Item | None:
        while self._heads:
            number, tenant = self._heads[0]
            line = self._lines[tenant]
            if tenant in self._blocked or not line or line[0][0] != number:
                heapq.heappop(self._heads)
                continue
            if fits is not None and not fits(line[0][1]):
                return None
            heapq.heappop(self._heads)
            entry = line.popleft()
            self._out[entry[1].id] = entry
            self._show(tenant)
            return entry[1]
        return None

    def progress(self, item_id: str, cost_so_far: int) -> None:
        """Costs do not matter here."""

    def settle(self, item_id: str, cost: int) -> int:
        return cost if self._out.pop(item_id, None) else 0

    def requeue(self, item_id: str, now_us: int, *, keep_charge: bool) -> None:
        entry = self._out.pop(item_id)
        self._lines[entry[1].tenant].appendleft(entry)
        self._show(entry[1].tenant)

    def block(self, tenant: str, flow: str | None = None) -> None:
        self._blocked.add(tenant)

    def unblock(self, tenant: str, now_us: int, flow: str | None = None) -> None:
        self._blocked.discard(tenant)
        self._show(tenant)

    def _show(self, tenant: str) -> None:
        line = self._lines[tenant]
        if line and tenant not in self._blocked:
            heapq.heappush(self._heads, (line[0][0], tenant))
