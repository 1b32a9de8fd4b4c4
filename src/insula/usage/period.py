"""Stretches of time that usage is added up by: hours, days and months, all in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Self

from insula.kernel.errors import InvalidRequest

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MONTH = re.compile(r"\d{4}-\d{2}", re.ASCII)
_EPOCH = date(1970, 1, 1)


class Period(StrEnum):
    """What one row of a report spans."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def parse_day(name: str, value: str | None) -> str | None:
    """Return ``value`` if it is a day, ``2026-11-23``. Raises ``InvalidRequest`` naming the field."""
    if value is None:
        return None
    try:
        if not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        hint = "write a day as 2026-11-23"
        raise InvalidRequest(f"{name} is {str(value)[:40]!r}, not a day", hint=hint, field=name) from None


def start_of(day: str) -> float:
    """Return the first moment of a day, in seconds since the epoch."""
    return hours_since_epoch(day) * 3_600.0


def hours_since_epoch(day: str) -> int:
    """Return the number of the first hour of a day."""
    return (date.fromisoformat(day) - _EPOCH).days * 24


def hour_name(number: int) -> str:
    """Return ``2026-11-23T14`` for the hours since the epoch."""
    return datetime.fromtimestamp(number * 3_600, UTC).strftime("%Y-%m-%dT%H")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One calendar month, ``2026-11``."""

    first: date

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the month of its name. Raises ``InvalidRequest`` with the field ``month``."""
        try:
            if not isinstance(value, str) or not _MONTH.fullmatch(value):
                raise ValueError
            return cls(date.fromisoformat(f"{value}-01"))
        except ValueError:
            hint = "write a month as 2026-11"
            raise InvalidRequest(
                f"month is {str(value)[:40]!r}, not a month", hint=hint, field="month"
            ) from None

    @classmethod
    def of(cls, moment: float) -> Self:
        """Return the month that holds ``moment``, seconds since the epoch."""
        return cls(datetime.fromtimestamp(moment, UTC).date().replace(day=1))

    @property
    def last(self) -> date:
        """The last day."""
        return self.next.first - timedelta(days=1)

    @property
    def next(self) -> Month:
        return Month((self.first + timedelta(days=31)).replace(day=1))

    @property
    def begin(self) -> float:
        """The first moment, in seconds since the epoch; the end is the next month's."""
        return float((self.first - _EPOCH).days * 86_400)

    def __str__(self) -> str:
        return self.first.strftime("%Y-%m")
