"""The order inside one tenant: interactive before batch, first come first served in a lane."""

from __future__ import annotations

from dataclasses import dataclass, field

from insula.simulation.checks.violations import Violations


@dataclass(slots=True)
class _Lane:
    waiting: dict[str, int] = field(default_factory=dict)
    newest: int = -1


class OrderChecks:
    """Q3 and Q4 of the specification. Numbers count arrivals; an item that comes again keeps its number."""

    def __init__(self, violations: Violations, batch_age_us: int) -> None:
        self._violations = violations
        self._batch_age_us = batch_age_us
        self._lanes: dict[tuple[str, str, bool], _Lane] = {}
        self._interactive: dict[str, int] = {}
        self._arrived: dict[str, tuple[int, int]] = {}
        self._count = 0

    def queued(self, item: str, tenant: str, flow: str, batch: bool, now_us: int) -> None:
        """Note an arrival; ``now_us`` is what the queue was told."""
        self._count += 1
        self._arrived[item] = (self._count, now_us)
        self._interactive[tenant] = self._interactive.get(tenant, 0) + (not batch)

    def left(self, item: str, tenant: str, batch: bool) -> None:
        """Note that an item left without being served."""
        self._arrived.pop(item, None)
        self._interactive[tenant] -= not batch

    def dispatched(self, item: str, tenant: str, flow: str, batch: bool, now_us: int) -> None:
        """Check a dispatch against what the tenant has waiting."""
        number, since_us = self._arrived.pop(item)
        lane = self._lanes.setdefault((tenant, flow, batch), _Lane())
        self._violations.check(
            "Q4", number > lane.newest, "{} was served after a later one of {}/{}", item, tenant, flow
        )
        lane.newest = max(lane.newest, number)
        self._interactive[tenant] -= not batch
        if batch:
            aged = now_us - since_us >= self._batch_age_us
            held = aged or self._interactive[tenant] == 0
            self._violations.check(
                "Q3", held, "batch item {} went before interactive ones of {}", item, tenant
            )
