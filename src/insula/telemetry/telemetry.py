"""What an operator's collector is told: spans, metrics, both, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from insula.runs import Invocation
from insula.telemetry.meters import Meters
from insula.telemetry.spans import Traces
from insula.usage import UsageEvent


class Telemetry:
    """Shows each call, and each run, to those that want to see them."""

    def __init__(self, *watchers: Traces | Meters) -> None:
        self._watchers = watchers

    @classmethod
    def to(cls, traces: str | None, metrics: str | None) -> Self:
        """Return what sends to these OTLP/HTTP addresses; ``None`` sends nothing.

        Raises ``Misconfigured`` when the extra ``tracing`` is not installed.
        """
        watchers: list[Traces | Meters] = []
        if traces:
            watchers.append(Traces(traces))
        if metrics:
            watchers.append(Meters(metrics))
        return cls(*watchers)

    @property
    def observe(self) -> Callable[[UsageEvent], None] | None:
        """What the recorder shows each event; ``None`` when nobody watches, so that it costs nothing."""
        if len(self._watchers) == 1:
            return self._watchers[0].call
        return self._show if self._watchers else None

    def ended(self, run: Invocation) -> None:
        """Show a run that ended."""
        for watcher in self._watchers:
            watcher.run(run)

    def stop(self) -> None:
        """Send what waits. Blocking."""
        for watcher in self._watchers:
            watcher.stop()

    def _show(self, event: UsageEvent) -> None:
        for watcher in self._watchers:
            watcher.call(event)
