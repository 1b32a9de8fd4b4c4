"""What a tenant owes for a month, line by line. Pure: from totals and shared costs, in integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from insula.kernel.money import usd
from insula.usage.period import Month
from insula.usage.row import UsageRow
from insula.usage.shared_cost import SharedCost, Weights


@dataclass(frozen=True, slots=True)
class DirectLine:
    """What calls of one app, agent and model cost; ``row`` sums them from ``first_day`` to ``last_day``."""

    first_day: str
    last_day: str
    row: UsageRow

    def as_dict(self) -> dict[str, Any]:
        """Return the line for the wire."""
        row = self.row
        who = {"app": row.app, "agent": row.agent, "model": row.model}
        days = {"first_day": self.first_day, "last_day": self.last_day}
        return {**who, **days, **row.sums(), "cost_usd": usd(row.cost_nanousd)}


@dataclass(frozen=True, slots=True)
class SharedLine:
    """A tenant's part of one shared cost; 0 while nobody used anything to split it by."""

    cost: SharedCost
    nanousd: int

    def as_dict(self) -> dict[str, Any]:
        """Return the line for the wire."""
        cost = self.cost
        return {
            "name": cost.name,
            "by": str(cost.by),
            "whole_nanousd": cost.nanousd,
            "whole_usd": usd(cost.nanousd),
            "cost_nanousd": self.nanousd,
            "cost_usd": usd(self.nanousd),
        }


@dataclass(frozen=True, slots=True)
class Invoice:
    """``preliminary`` while the month is not over: calls, shared costs and parts may still change."""

    tenant: str
    month: Month
    preliminary: bool
    direct: tuple[DirectLine, ...]
    shared: tuple[SharedLine, ...]

    @property
    def used(self) -> UsageRow:
        """The sum of all direct lines."""
        return sum((line.row for line in self.direct), UsageRow())

    @property
    def shared_nanousd(self) -> int:
        """The sum of all shared lines."""
        return sum(line.nanousd for line in self.shared)

    @property
    def total_nanousd(self) -> int:
        """What is owed."""
        return self.used.cost_nanousd + self.shared_nanousd

    def as_dict(self) -> dict[str, Any]:
        """Return the invoice for the wire; each ``..._usd`` is the exact decimal of its nano-dollars."""
        sums = {"direct": self.used.cost_nanousd, "shared": self.shared_nanousd, "total": self.total_nanousd}
        return {
            "tenant": self.tenant,
            "month": str(self.month),
            "preliminary": self.preliminary,
            "lines": [line.as_dict() for line in self.direct],
            "shared_lines": [line.as_dict() for line in self.shared],
            **{f"{name}_nanousd": nano for name, nano in sums.items()},
            **{f"{name}_usd": usd(nano) for name, nano in sums.items()},
            "unpriced_calls": self.used.unpriced_calls,
        }


def draw_up(
    tenant: str,
    month: Month,
    days: Iterable[UsageRow],
    costs: Iterable[SharedCost],
    weights: Mapping[str, Weights],
    *,
    now: float,
) -> Invoice:
    """Return the invoice of ``tenant`` for ``month``.

    ``days`` are its daily rows of that month, ``costs`` what was recorded to be shared, ``weights`` what
    every tenant weighs in the month.
    """
    lines: dict[tuple[str, str, str], DirectLine] = {}
    for row in days:
        key = (row.app or "", row.agent or "", row.model or "")
        lines[key] = _with(lines.get(key), row)
    direct = tuple(lines[key] for key in sorted(lines))
    shared = tuple(SharedLine(cost, cost.parts(weights).get(tenant, 0)) for cost in costs)
    return Invoice(tenant, month, now < month.next.begin, direct, shared)


def _with(line: DirectLine | None, row: UsageRow) -> DirectLine:
    day = row.day or ""
    if line is None:
        return DirectLine(day, day, row)
    whole = replace(line.row + row, app=row.app, agent=row.agent, model=row.model)
    return DirectLine(min(line.first_day, day), max(line.last_day, day), whole)
