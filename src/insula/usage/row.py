"""Totals of many calls: what a report shows in one line."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from insula.kernel.money import usd
from insula.usage.event import UNPRICED, UsageEvent

HOUR_S = 3_600
_DAY_S = 86_400
_DAY_WIDTH = len("2026-11-23")

SUMS = (
    "calls",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "quota_tokens",
    "fair_cost",
    "cost_nanousd",
    "estimated_calls",
    "unpriced_calls",
)
"""The figures that add up."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums over calls; ``period``, ``app``, ``agent``, ``model`` are ``None`` where the row spans them all.

    ``period`` is an hour (``2026-11-23T14``), a day (``2026-11-23``) or a month (``2026-11``), in UTC.

    ``estimated_calls`` are those whose tokens the provider did not state in full, ``unpriced_calls`` those
    whose model has no known price: they count as cost 0, and the row says how many.
    """

    period: str | None = None
    model: str | None = None
    agent: str | None = None
    app: str | None = None
    calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    quota_tokens: int = 0
    fair_cost: int = 0
    cost_nanousd: int = 0
    estimated_calls: int = 0
    unpriced_calls: int = 0

    def __add__(self, other: UsageRow) -> UsageRow:
        added: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in SUMS}
        return UsageRow(**added)

    def sums(self) -> dict[str, int]:
        """Return the figures that add up, by name."""
        return {name: getattr(self, name) for name in SUMS}

    @property
    def day(self) -> str | None:
        """The day that the row lies in; ``None`` if it spans more."""
        return self.period[:_DAY_WIDTH] if self.period and len(self.period) >= _DAY_WIDTH else None

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the row for the wire; ``cost_usd`` is the exact decimal of ``cost_nanousd``."""
        where = {"period": self.period, "day": self.day}
        who = {"model": self.model, "agent": self.agent, "app": self.app}
        return {**where, **who, **self.sums(), "cost_usd": usd(self.cost_nanousd)}


def figures_of(event: UsageEvent) -> tuple[int, ...]:
    """Return what one event adds to a row, in the order of ``SUMS``."""
    estimated = event.usage_source != "provider"
    return (1, *_summed(event), int(estimated), int(event.price_version == UNPRICED))


_summed = attrgetter(*SUMS[1:-2])


def hour_of(moment: float) -> int:
    """Return the number of whole hours since the epoch (UTC) at ``moment``."""
    return int(moment // HOUR_S)


def day_of(moment: float) -> str:
    """Return the UTC day, ``2026-11-23``, of seconds since the epoch."""
    return _day(int(moment // _DAY_S))


@functools.lru_cache(maxsize=64)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * _DAY_S, UTC).date().isoformat()
