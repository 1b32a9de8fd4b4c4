"""How much a level has used in the hours, days and months of UTC.

A window is known by its number, so a clock that steps back or jumps comes back to the figures of the
window it names: nothing is counted twice, and no budget is given twice for one day. Only a few windows of
each kind are kept, the least recently used go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Self

HOUR_S: Final = 3_600
_KEPT = 4

Window = Literal["hour", "day", "month"]


class Use(NamedTuple):
    """Sums over calls."""

    quota: int = 0
    nanousd: int = 0
    calls: int = 0

    def plus(self, other: Use) -> Use:
        return Use(self[0] + other[0], self[1] + other[1], self[2] + other[2])

    def minus(self, other: Use) -> Use:
        return Use(self[0] - other[0], self[1] - other[1], self[2] - other[2])


NOTHING = Use()


@lru_cache(maxsize=256)
def month_of(hour: int) -> int:
    """Return the number of the month (12 a year) of an hour since the epoch."""
    stamp = datetime.fromtimestamp(hour * HOUR_S, UTC)
    return stamp.year * 12 + stamp.month - 1


def day_of(hour: int) -> int:
    """Return the number of the day since the epoch."""
    return hour // 24


@lru_cache(maxsize=256)
def ends_at(window: Window, hour: int) -> int:
    """Return when the window that holds ``hour`` ends, in seconds since the epoch."""
    if window == "hour":
        return (hour + 1) * HOUR_S
    if window == "day":
        return (day_of(hour) + 1) * 24 * HOUR_S
    year, month = divmod(month_of(hour) + 1, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())


class Meter:
    """The figures of the hour that runs, and of the day and month around it.

    ``quota``, ``nanousd`` and ``calls`` are those of the present hour; ``day`` and ``month`` are what the
    rest of their windows holds. ``at`` must be told the hour before anything is read or added.
    """

    __slots__ = ("_days", "_hours", "_months", "calls", "day", "hour", "month", "nanousd", "quota")

    def __init__(self, hour: int) -> None:
        self.hour = hour
        self.quota = self.nanousd = self.calls = 0
        self.day = self.month = NOTHING
        self._hours: dict[int, Use] = {}
        self._days: dict[int, Use] = {}
        self._months: dict[int, Use] = {}

    def at(self, hour: int) -> None:
        """Turn to ``hour``, later or earlier."""
        if hour != self.hour:
            self._put_away()
            self._take_up(hour)

    def add(self, quota: int, nanousd: int) -> None:
        """Count one call in the present hour."""
        self.quota += quota
        self.nanousd += nanousd
        self.calls += 1

    def used(self, window: Window) -> Use:
        """Return what was used in the present hour, its day or its month, up to now."""
        present = Use(self.quota, self.nanousd, self.calls)
        if window == "hour":
            return present
        return present.plus(self.day if window == "day" else self.month)

    def load(self, rows: Iterable[tuple[int, Use]]) -> None:
        """Count what books say of hours, on top of what is here."""
        self._put_away()
        for when, use in rows:
            _count(self._hours, when, use)
            _count(self._days, day_of(when), use)
            _count(self._months, month_of(when), use)
        self._take_up(self.hour)

    def asleep(self) -> bytes:
        """Return the figures in as few bytes as possible, for a level that nobody uses at present."""
        self._put_away()
        windows = [list(kept.items()) for kept in (self._hours, self._days, self._months)]
        self._take_up(self.hour)
        return json.dumps([self.hour, *windows], separators=(",", ":")).encode()

    @classmethod
    def awake(cls, figures: bytes) -> Self:
        """Return the meter that ``asleep`` put to sleep."""
        hour, *windows = json.loads(figures)
        meter = cls(hour)
        meter._hours, meter._days, meter._months = (
            {number: Use(*use) for number, use in kept} for kept in windows
        )
        meter._take_up(hour)
        return meter

    @property
    def empty(self) -> bool:
        """Whether nothing was used in this month."""
        return not self.calls and self.month == NOTHING

    def _take_up(self, hour: int) -> None:
        self.hour = hour
        present = self._hours.pop(hour, NOTHING)
        self.quota, self.nanousd, self.calls = present
        self.day = self._days.get(day_of(hour), NOTHING).minus(present)
        self.month = self._months.get(month_of(hour), NOTHING).minus(present)

    def _put_away(self) -> None:
        present = self.used("hour")
        if present != NOTHING:
            self._hours[self.hour] = present
        _keep(self._days, day_of(self.hour), self.used("day"))
        _keep(self._months, month_of(self.hour), self.used("month"))
        for windows in (self._hours, self._days, self._months):
            while len(windows) > _KEPT:
                del windows[next(iter(windows))]


def windows_of(rows: Iterable[tuple[int, Use]]) -> tuple[dict[int, Use], ...]:
    """Return the sums of the latest hours, days and months of ``rows``, by number, oldest first."""
    hours: dict[int, Use] = {}
    days: dict[int, Use] = {}
    months: dict[int, Use] = {}
    for hour, use in rows:
        _count(hours, hour, use)
        _count(days, day_of(hour), use)
        _count(months, month_of(hour), use)
    return tuple(dict(sorted(windows.items())[-_KEPT:]) for windows in (hours, days, months))


def _count(windows: dict[int, Use], number: int, use: Use) -> None:
    windows[number] = windows.get(number, NOTHING).plus(use)


def _keep(windows: dict[int, Use], number: int, use: Use) -> None:
    windows.pop(number, None)
    if use != NOTHING:
        windows[number] = use
