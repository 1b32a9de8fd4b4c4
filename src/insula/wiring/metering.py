"""What levels used before anybody counted it, from the usage records; and meters that agree with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import reduce

from insula.governance import PLATFORM, Amounts, Governor, Scope
from insula.governance.quota.meter import HOUR_S, NOTHING, Use, day_of
from insula.governance.stores.contract import Ended
from insula.kernel.clock import Clock
from insula.usage import Recorder, Spent
from insula.usage.adapters.sql import SqlBooks

_REMEMBERED_S, _MOST = 90_000.0, 20_000
"""A store holds a call for ten minutes, and knows for a day more that nobody ended it."""

Hours = list[tuple[int, Use]]
"""Use by the hour, counted since the epoch."""


class Records:
    """The usage records, read by level."""

    def __init__(self, recorder: Recorder, books: SqlBooks) -> None:
        self._recorder = recorder
        self._books = books

    async def this_month(self, until: float) -> dict[str, Hours]:
        """Return what every level used this month up to a moment; every call that ended by then is in it."""
        await self._recorder.flush()
        return await asyncio.to_thread(lambda: by_level(self._books.spent(month_began(until), until)))

    async def ended_lately(self, now: float) -> list[Ended]:
        """Return the calls that a store may still hold though they ended here."""
        await self._recorder.flush()
        calls = await asyncio.to_thread(self._books.concluded, now - _REMEMBERED_S, _MOST)
        return [
            Ended(
                Scope(call.tenant, call.app or None, call.agent or None),
                call.request_id,
                Amounts(
                    0, call.quota_tokens, call.input_quota_tokens, call.output_quota_tokens, call.cost_nanousd
                ),
            )
            for call in calls
        ]

    async def used(self, levels: Iterable[str], until: float) -> dict[str, Use]:
        """Return what levels used this month up to a moment."""
        hours = await self.this_month(until)
        return {level: total(use for _, use in hours.get(level, ())) for level in levels}


class Metering:
    """Keeps the meters of the governor in this process in step with the records. Belongs to its loop."""

    def __init__(self, governor: Governor, records: Records, clock: Clock) -> None:
        self._governor = governor
        self._records = records
        self._clock = clock

    async def begin(self, levels: Iterable[str], *, everybody: bool = False) -> None:
        """Let levels count from this moment on, and tell them what the records say of the time before it.

        ``everybody``: all tenants that used anything this month, too.
        """
        now = self._clock.now()
        fresh = {level for level in levels if self._governor.begin_meter(name_of(level), level)}
        if not fresh and not everybody:
            return
        hours = await self._records.this_month(now)
        if everybody:
            tenants = (level for level in hours if name_of(level) == "tenant")
            fresh |= {tenant for tenant in tenants if self._governor.begin_meter("tenant", tenant)}
        for level in fresh:
            self._governor.load(name_of(level), level, hours.get(level, ()))

    async def correct(self, tenant: str) -> None:
        """Calls of a tenant were re-rated: its budgets count what they cost now."""
        moment = self._clock.now()
        keys = [key for key in self._governor.meters() if key.partition("/")[0] in (tenant, PLATFORM)]
        meters = {key: self._governor.meter(name_of(key), key) for key in keys}
        before = {key: (meter.used("day"), meter.used("month")) for key, meter in meters.items()}
        used = await self._records.this_month(moment)
        this_hour = int(moment) // HOUR_S
        for key, meter in meters.items():
            hours = used.get(key, [])
            today = total(use for hour, use in hours if day_of(hour) == day_of(this_hour))
            day = today.minus(before[key][0])
            earlier = total(use for _, use in hours).minus(before[key][1]).minus(day)
            meter.load([(this_hour, day), (int(month_began(moment)) // HOUR_S, earlier)])


def name_of(level: str) -> str:
    """Return what kind of level a key names."""
    if level == PLATFORM:
        return "platform"
    return ("tenant", "application", "agent")[level.count("/")]


def month_began(now: float) -> float:
    """Return when the UTC month of a moment began, in seconds since the epoch."""
    stamp = datetime.fromtimestamp(now, UTC)
    return datetime(stamp.year, stamp.month, 1, tzinfo=UTC).timestamp()


def by_level(rows: Iterable[Spent]) -> dict[str, Hours]:
    """Return what ``rows`` add to each level above them."""
    found: defaultdict[str, Hours] = defaultdict(list)
    for row in rows:
        use = Use(row.quota_tokens, row.cost_nanousd, row.calls)
        for _, level in Scope(row.tenant, row.app or None, row.agent or None).levels():
            found[level].append((row.hour, use))
    return dict(found)


def total(uses: Iterable[Use]) -> Use:
    """Return the sum of ``uses``."""
    return reduce(Use.plus, uses, NOTHING)
