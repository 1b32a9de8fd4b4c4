"""The runs that this process carries: how to stop one, and how to follow it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from insula.kernel.ids import RunId, TenantId
from insula.runs.journal import Journal
from insula.runs.verdict import Cause


@dataclass(slots=True)
class LiveRun:
    """One run on its way. ``stop`` may be called at any moment; the first cause stands.

    ``gone`` is set when it is carried no more and its end, if it came to one, can be read.
    """

    tenant: TenantId
    run: RunId
    journal: Journal
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    cause: Cause | None = None
    admitted: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self, cause: Cause) -> None:
        """Ask the run to end for ``cause``."""
        if self.cause is None:
            self.cause = cause
            self.stopped.set()


class LiveRuns:
    """Who is on the way now."""

    def __init__(self) -> None:
        self._runs: dict[RunId, LiveRun] = {}

    def enter(self, live: LiveRun) -> None:
        """Add a run. A run is carried by one body at a time."""
        assert live.run not in self._runs, "a run is carried twice"
        self._runs[live.run] = live

    def leave(self, run: RunId) -> None:
        """Drop a run that is carried no more."""
        self._runs.pop(run).gone.set()

    def get(self, run: RunId) -> LiveRun | None:
        """Return a run on its way, or ``None``."""
        return self._runs.get(run)

    def of(self, tenant: TenantId) -> list[LiveRun]:
        """Return a tenant's runs."""
        return [live for live in self._runs.values() if live.tenant == tenant]

    def running(self) -> list[LiveRun]:
        """Return the runs that hold a slot."""
        return [live for live in self._runs.values() if live.admitted]
