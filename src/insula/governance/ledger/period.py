"""A tenant's budget and the calendar it runs by: days and months of UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Window = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Budget:
    """``tokens`` (quota tokens) per ``window``, of which calls may go ``overdraft`` below."""

    tokens: int
    window: Window = "month"
    overdraft: int = 0


def period_of(seconds: float, window: Window) -> str:
    """Return the period that a moment (seconds since the epoch) is in: ``2026-11`` or ``2026-11-25``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%d" if window == "day" else "%Y-%m")


def next_day(seconds: float) -> float:
    """Return when the next day begins, as seconds since the epoch: no period ends between two days."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return (moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).timestamp()
