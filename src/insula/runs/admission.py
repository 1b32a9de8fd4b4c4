"""Who gets the next sandbox slot: first come first served inside a tenant, round robin between tenants. Pure.

A bounded number of slots; each tenant may also carry a cap of its own. A tenant at its cap is passed
over and keeps its turn, so it never holds up the others. Between two tenants that both wait and are
both below their cap, the numbers of slots granted never differ by more than one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from insula.kernel.ids import RunId, TenantId


@dataclass(slots=True)
class _Line:
    """One tenant's waiting runs, oldest first, and how many of its runs hold a slot."""

    waiting: deque[RunId] = field(default_factory=deque)
    held: int = 0
    cap: int | None = None

    @property
    def ready(self) -> bool:
        return bool(self.waiting) and (self.cap is None or self.held < self.cap)


class Admission:
    """The book of slots. Calls only change the book; the caller wakes whom :meth:`admit` names."""

    def __init__(self, slots: int) -> None:
        assert slots > 0
        self._slots = slots
        self._lines: OrderedDict[TenantId, _Line] = OrderedDict()
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
        line = self._lines.get(tenant)
        return len(line.waiting) if line else 0

    def ask(self, tenant: TenantId, run: RunId, cap: int | None) -> None:
        """Put ``run`` at the end of its tenant's line. ``cap``: most slots the tenant may hold (>= 1)."""
        assert cap is None or cap > 0
        line = self._lines.setdefault(tenant, _Line())
        line.cap = cap
        line.waiting.append(run)

    def withdraw(self, tenant: TenantId, run: RunId) -> bool:
        """Take a waiting run out of its line. False when it does not wait."""
        line = self._lines.get(tenant)
        if line is None or run not in line.waiting:
            return False
        line.waiting.remove(run)
        self._forget_if_idle(tenant)
        return True

    def release(self, run: RunId) -> None:
        """Give a slot back."""
        tenant = self._holders.pop(run)
        self._lines[tenant].held -= 1
        self._forget_if_idle(tenant)

    def admit(self) -> list[RunId]:
        """Grant every slot that can be granted now; return the runs that got one, in order."""
        granted: list[RunId] = []
        while len(self._holders) < self._slots:
            tenant = next((name for name, line in self._lines.items() if line.ready), None)
            if tenant is None:
                break
            granted.append(self._grant(tenant))
        return granted

    def _grant(self, tenant: TenantId) -> RunId:
        line = self._lines[tenant]
        run = line.waiting.popleft()
        line.held += 1
        self._holders[run] = tenant
        self._lines.move_to_end(tenant)
        return run

    def _forget_if_idle(self, tenant: TenantId) -> None:
        line = self._lines[tenant]
        if not line.waiting and not line.held:
            del self._lines[tenant]
