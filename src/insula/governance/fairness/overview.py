"""All queues at once, and what other rooms know about fairness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from insula.governance.fairness.queue import FairQueue
from insula.governance.fairness.report import FairnessReport


@dataclass(frozen=True, slots=True)
class Lent:
    """What tenants gave and owe, in quota tokens; ``fail_open_seconds`` without the store of limits."""

    donated_tokens: int = 0
    reclaimed_tokens: int = 0
    debt_tokens: int = 0
    held_tokens: int = 0
    fail_open_seconds: float = 0.0


class FairnessSource(Protocol):
    """Tells what the ledgers and the store of limits know."""

    def __call__(self) -> Lent: ...


@dataclass(frozen=True, slots=True)
class QueueFairness:
    """One queue. ``kind``: "endpoint", or "sandboxes" for the slots of runs."""

    name: str
    kind: str
    report: FairnessReport


class FairnessOverview:
    """Reads the queues of all endpoints and that of the sandboxes. Belongs to their event loop.

    ``endpoints`` is read when asked, so a queue that is added later is shown. ``lent`` may be replaced.
    """

    def __init__(
        self, endpoints: Mapping[str, FairQueue], sandboxes: FairQueue, lent: FairnessSource = Lent
    ) -> None:
        self._endpoints = endpoints
        self._sandboxes = sandboxes
        self.lent = lent

    def queues(self) -> list[QueueFairness]:
        """Return every queue's figures: the endpoints by name, then the sandboxes."""
        endpoints = [
            QueueFairness(name, "endpoint", queue.fairness())
            for name, queue in sorted(self._endpoints.items())
        ]
        return [*endpoints, QueueFairness("sandboxes", "sandboxes", self._sandboxes.fairness())]
